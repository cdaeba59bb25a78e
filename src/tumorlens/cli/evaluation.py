"""`tumorlens evaluate`: a bundle measured on one part of a split, or on a whole folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import console, counting
from tumorlens.cli.runs import AllowLeaks, Folders, SplitFile
from tumorlens.settings import load_settings

Out = Annotated[Path, typer.Option(help="Folder for json, html and csv.")]
BundleName = Annotated[str, typer.Option(help="A bundle or run folder; default: shipped.")]
Part = Annotated[str, typer.Option(help="Of the split: train, val, test, or all.")]
Against = Annotated[
    str, typer.Option(metavar="BUNDLE", help="Another bundle, compared on the same scans.")
]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls/--no-controls",
        help="Also measure shuffled labels, blanked brains and facts of the files.",
    ),
]
Robustness = Annotated[
    bool,
    typer.Option(
        "--robustness/--no-robustness",
        help="Also measure a sample after noise, blur, rotation and other damage.",
    ),
]
Explanations = Annotated[
    bool,
    typer.Option(
        "--explanations/--no-explanations",
        help="Also test whether heatmaps say what moved the answer.",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Default: one per core.")]


def evaluate(
    folders: Folders,
    out: Out,
    bundle: BundleName = "",
    split_file: SplitFile = None,
    part: Part = "test",
    against: Against = "",
    controls: Controls = True,
    robustness: Robustness = True,
    explanations: Explanations = True,
    workers: Workers = None,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Measure a bundle on one part of a split, or on a whole folder without one.

    Each look is counted in the bundle's run folder. Example:
    `tumorlens evaluate scans/ --bundle runs/default --split split.csv --out results`
    """
    from datetime import UTC, datetime

    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.study.data.index import read_cases
    from tumorlens.study.evaluation.run import evaluate as run_evaluation
    from tumorlens.study.evaluation.run import write_evaluation
    from tumorlens.study.evaluation.test_access_log import counted

    settings = load_settings(workers=workers)
    predictor = load_predictor(bundle, settings)
    rival = load_predictor(against, settings) if against else None
    cases, about, context = _part_of(read_cases(folders), split_file, part, allow_leaks)
    found = run_evaluation(
        cases, predictor, part=part if split_file else "all", split=about, context=context,
        against=rival, controls=controls, robustness=robustness, explanations=explanations,
        steps=counting,
    )  # fmt: skip
    found = counted(found, predictor.bundle, out=out, now=datetime.now(UTC))
    write_evaluation(found, out, bundle=predictor.bundle)
    _print_figures(found.figures)
    typer.echo(out / "evaluation.html")


def _part_of(
    cases: list[Any], split_file: Path | None, part: str, allow_leaks: bool
) -> tuple[list[Any], dict[str, Any], Any]:
    """Return the cases of a part with their groups, and what is known of the split and by it."""
    from tumorlens.errors import SplitError
    from tumorlens.study.audit.duplicates.groups import group_cases
    from tumorlens.study.data import splits
    from tumorlens.study.evaluation.context import Context, read_context

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


def _print_figures(figures: Any) -> None:
    """Print what `evaluate` found; figures are those of evaluation.json."""
    from tumorlens.reports.page import figure

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
    from tumorlens.reports.page import figure

    for row in rows or ():
        is_tree = row["control"].startswith("tree on ")
        if row["auc"] is None or (is_tree and row["control"] != "tree on all facts of the file"):
            continue
        detail = f", {row['detail']}" if is_tree else ""
        console.print(f"control {row['task']}: {row['control']}{detail}: AUC {figure(row, 'auc')}")


def _print_comparison(found: Any) -> None:
    from tumorlens.reports.page import figure

    for name, row in found["rows"].items() if found else ():
        console.print(f"{name:4} AUC minus that of {found['bundle']}: "
                      f"{figure(row, 'auc_difference')}, "
                      f"McNemar p {row['mcnemar']['all']['p']:.3g}")  # fmt: skip


def _print_looks(found: Any) -> None:
    console.print(
        f"look {found['same_scans']} at these scans ({found['same_part']} at this part of the "
        f"split), counted in looks.csv of the {found['folder']} folder"
    )
