"""Describe the slices of planes.csv again, after a change of how scans are prepared or described.

    python docs/make_planes.py FIGSHARE

FIGSHARE is the folder `tumorlens data fetch figshare` made. Keys and planes stay as they are; what
a person saw is not computed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tumorlens.files import write_table
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import prepare
from tumorlens.records import Scan
from tumorlens.study.evaluation.planes import (
    EXAMPLES,
    FEATURES,
    PHANTOM,
    Example,
    plane_features,
    read_examples,
)
from tumorlens.study.phantom import draw_phantom


def main() -> None:
    """Write planes.csv again."""
    folder = Path(sys.argv[1])
    described = []
    for example in read_examples():
        features = plane_features(prepare(_scan(example, folder)).pixels)
        described.append(Example(example.key, example.plane, tuple(features.tolist())))
    write_examples(described, EXAMPLES)


def _scan(example: Example, folder: Path) -> Scan:
    if not example.key.startswith(PHANTOM):
        return read_scan(folder / example.key.split("/", 1)[1])
    _, modality, finding, seed = example.key.split("/")
    drawn = draw_phantom(modality, finding, seed=int(seed), plane=example.plane, side=96)
    return Scan(drawn.pixels.astype(np.float32), example.key)


def write_examples(examples: Sequence[Example], path: Path) -> None:
    """Write a table of examples."""
    rows = ([e.key, e.plane, *(f"{x:.4f}" for x in e.features)] for e in examples)
    write_table(path, ["key", "plane", *FEATURES], rows)


if __name__ == "__main__":
    main()
