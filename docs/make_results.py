"""Write reference/results.md from evaluations: every figure on the page stands in one of them.

    python docs/make_results.py NAME=FOLDER ... > docs/reference/results.md

FOLDER is what `tumorlens evaluate --out FOLDER` wrote. Rows come in the order given.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tumorlens.models.bundle import load_bundle
from tumorlens.reports.page import figure, share

HEAD = """# Results

!!! warning "Research use only"
    Not a medical device.

Written by `docs/make_results.py` from `evaluation.json` files. Thresholds are chosen on validation;
a test part is read once for each model. Intervals: {intervals}.
"""


def main() -> None:
    """Print the page."""
    rows = []
    for argument in sys.argv[1:]:
        name, folder = argument.split("=", 1)
        text = (Path(folder) / "evaluation.json").read_text(encoding="utf-8")
        rows.append((name, json.loads(text)))
    bundle = load_bundle()
    print(HEAD.format(intervals=rows[0][1]["intervals"]))
    print_card(bundle)
    print_detection(rows)
    print_rest(rows)


def print_card(bundle: Any) -> None:
    """Say which bundle ships and how it was made."""
    recipe, validation = bundle.details["recipe"], bundle.details["validation"]
    print(
        f"Shipped bundle: `{bundle.version}`, {bundle.details['parameters']:,} parameters, recipe "
        f"`{recipe['name']}`, seed {recipe['seed']}, epoch {validation['epoch']} chosen on "
        f"{validation['n']} validation pictures, split `{bundle.details['data']['split']}`.\n"
    )


def print_detection(rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Print detection, one line for each evaluation and modality."""
    print("## Detection\n")
    print("| | scans | AUC | sensitivity | specificity | F1 |\n|---|---|---|---|---|---|")
    for name, found in rows:
        for modality, row in found["detection"].items():
            if modality == "all" and len(found["detection"]) == 2:
                continue
            cells = (
                figure(row, "auc"),
                figure(row, "sensitivity", "n_tumor"),
                figure(row, "specificity", "n_healthy"),
                figure(row, "f1"),
            )
            print(f"| {name} | {modality} | {' | '.join(cells)} |")
    print()


def print_rest(rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Print type, calibration, localisation, decisions and leaks."""
    print("## Type, calibration, place, decisions\n")
    print(
        "| | type accuracy | macro F1 | ECE | Brier | pointing (middle of the head) | leak share |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in rows:
        kind, place = found["type"], found["localisation"]
        cells = (
            figure(kind, "accuracy") if kind else "-",
            figure(kind, "macro_f1") if kind else "-",
            f"{found['calibration']['ece']:.3f}",
            f"{found['calibration']['brier']:.3f}",
            f"{figure(place, 'pointing')} ({place['centre_prior']:.3f})" if place else "-",
            share(found["split"]["share"] or 0.0) if found["split"]["fingerprint"] else "no split",
        )
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| | decisions at the bundle's operating point |\n|---|---|")
    for name, found in rows:
        listed = ", ".join(f"{what} {count}" for what, count in found["decisions"].items())
        print(f"| {name} | {listed} |")
    print()


if __name__ == "__main__":
    main()
