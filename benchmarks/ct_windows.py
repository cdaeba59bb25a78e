"""What other windows do to a bundle's answers on one CT series in Hounsfield units.

Example: python benchmarks/ct_windows.py DIR [--bundle BUNDLE]
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from tumorlens.images.listing import list_series
from tumorlens.images.readers import find_scans, read_scan
from tumorlens.inputs.prepare import prepare_scan
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.records import Prediction, Scan

# Width and level; the first is the one that others are compared with.
WINDOWS = ((80, 40), (80, 30), (100, 40), (120, 40), (150, 50), (200, 60), (40, 40), (350, 50),
           (2000, 350), (4000, 1000))  # fmt: skip


def read_ct(folder: Path) -> list[Scan]:
    """Return the CT slices of a folder, series by series, in order."""
    series = list_series(find_scans([folder])).series
    return [
        read_scan(header.path, frame=header.frame)
        for one in series
        if one.modality == "ct"
        for header in one.slices
    ]


def answers(predictor: Predictor, scans: list[Scan], window: tuple[int, int]) -> list[Prediction]:
    """Predict slices seen through a window of width and level."""
    width, level = window
    spec = replace(predictor.bundle.spec, ct_window=(float(level), float(width)))
    return predictor.predict_prepared([prepare_scan(scan, spec) for scan in scans])


def main() -> None:
    """Print a row a window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", default="")
    options = parser.parse_args()
    predictor, scans = load_predictor(options.bundle), read_ct(options.folder)
    print(f"{predictor.bundle.version}, n={len(scans)} slices")
    print("| window | median p | mean dp | largest dp | called CT | decisions |")
    print("|---|---|---|---|---|---|")
    reference: list[float] = []
    for width, level in WINDOWS:
        found = answers(predictor, scans, (width, level))
        p = [np.nan if one.tumor_probability is None else one.tumor_probability for one in found]
        reference = reference or p
        change = np.abs(np.subtract(p, reference))
        called = sum(one.seen_modality == "ct" for one in found)
        decisions = ", ".join(
            f"{n} {name}" for name, n in Counter(one.decision for one in found).most_common()
        )
        print(
            f"| W{width} L{level} | {np.nanmedian(p):.2f} | {np.nanmean(change):.2f} | "
            f"{np.nanmax(change):.2f} | {called} | {decisions} |"
        )


if __name__ == "__main__":
    main()
