"""What `evaluate` takes from a split, and what it prints."""

from pathlib import Path
from typing import Any

from tumorlens.cli.progress import console, counting
from tumorlens.errors import SplitError
from tumorlens.reports.page import figure
from tumorlens.study.audit.duplicates.groups import group_cases
from tumorlens.study.data import splits
from tumorlens.study.evaluation.context import Context, read_context


def part_of(
    cases: list[Any], split_file: Path | None, part: str, allow_leaks: bool
) -> tuple[list[Any], dict[str, Any], Any]:
    """Give the cases of a part with their groups, and what is known of the split and by it."""
    if split_file is None:
        with counting("looking for copies") as report:
            groups = group_cases(cases, progress=report)
        nothing = {"fingerprint": None, "n": 0, "share": None}
        return splits.with_groups(cases, groups), nothing, Context()
    made = splits.read_split(split_file)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    chosen = [case for case in parted if part in ("all", case.split)]
    if not chosen:
        known = ", ".join((*splits.PARTS, "all"))
        raise SplitError(split_file, f"has no cases in part {part!r}", f"Parts: {known}.")
    leak = splits.leaks_of(made)
    about = {"fingerprint": made.fingerprint, "n": leak.n, "share": leak.share}
    return chosen, about, read_context(parted, made, part=part)


def print_figures(figures: Any) -> None:
    """Print what `evaluate` found; figures are those of evaluation.json."""
    for name, found in figures["detection"].items():
        console.print(
            f"{name:4} AUC {figure(found, 'auc')}  "
            f"sensitivity {figure(found, 'sensitivity', 'n_tumor')}  "
            f"specificity {figure(found, 'specificity', 'n_healthy')}"
        )
    if figures["type"]:
        console.print(f"type accuracy {figure(figures['type'], 'accuracy')}")
    if figures["localisation"]:
        console.print(f"pointing {figure(figures['localisation'], 'pointing')}")
    _print_controls(figures["controls"])
    _print_comparison(figures["against"])
    _print_looks(figures["looks"])
    if figures["split"]["share"]:
        console.print(f"this split leaks: {figures['split']['share']:.1%} of its test scans")


def _print_controls(rows: Any) -> None:
    """Print shuffled labels, blanked brains and the trees on all facts as stored."""
    for row in rows or ():
        is_tree = row["control"].startswith("tree on ")
        if row["auc"] is None or (is_tree and row["control"] != "tree on all facts of the file"):
            continue
        detail = f", {row['detail']}" if is_tree else ""
        console.print(f"control {row['task']}: {row['control']}{detail}: AUC {figure(row, 'auc')}")


def _print_comparison(found: Any) -> None:
    for name, row in found["rows"].items() if found else ():
        console.print(f"{name:4} AUC minus that of {found['bundle']}: "
                      f"{figure(row, 'auc_difference')}, "
                      f"McNemar p {row['mcnemar']['all']['p']:.3g}")  # fmt: skip


def _print_looks(found: Any) -> None:
    console.print(
        f"look {found['same_scans']} at these scans ({found['same_part']} at this part of the "
        f"split), counted in looks.csv of the {found['folder']} folder"
    )
