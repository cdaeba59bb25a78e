"""`tumorlens evaluate`: a bundle measured on one part of a split, or on a whole folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tumorlens.cli.options import (
    AllowLeaks,
    Bundle,
    Folders,
    Log,
    Out,
    Overwrite,
    SplitFile,
    Workers,
    found_groups,
    print_left_out,
    print_losses,
    read_labeled,
    tracked_run,
)
from tumorlens.cli.progress import console, counting
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from tumorlens.models.bundle import Bundle as LoadedBundle
    from tumorlens.records import Case
    from tumorlens.reports.evaluation import Evaluation, EvaluationResult, SplitFacts
    from tumorlens.study.evaluation.subgroups import Context

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


def evaluate(
    folders: Folders,
    out: Out,
    bundle: Bundle = "",
    split_file: SplitFile = None,
    part: Part = "test",
    against: Against = "",
    controls: Controls = True,
    robustness: Robustness = True,
    explanations: Explanations = True,
    workers: Workers = None,
    allow_leaks: AllowLeaks = False,
    log: Log = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a bundle on one part of a split, or on a whole folder without one.

    Each evaluation of a test part is counted in the bundle's run folder. Example:
    `tumorlens evaluate scans/ --bundle runs/default --split split.csv --out results`
    """
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.study.evaluation.run import evaluate as run_evaluation

    settings, part = load_settings(workers=workers), part if split_file else "all"
    predictor = load_predictor(bundle, settings)
    tracked = tracked_run(log, name=f"{predictor.bundle.name} on {part}", out=out, resume=False)
    rival = load_predictor(against, settings) if against else None
    cases, facts, context = _part_of(read_labeled(folders), split_file, part, allow_leaks)
    Outputs(*folders, split_file, bundle, against, overwrite=overwrite).claim_folder(out)
    with tracked:
        tracked.start({"bundle": predictor.bundle.version, "split": facts.fingerprint})
        found = run_evaluation(
            cases, predictor, part=part, split=facts, context=context, baseline=rival,
            controls=controls, robustness=robustness, explanations=explanations, steps=counting,
        )  # fmt: skip
        found = _write_result(found, predictor.bundle, out, tracked)
    _print_result(found)
    typer.echo(out / "evaluation.html")


def _write_result(
    evaluation: "Evaluation", bundle: "LoadedBundle", out: Path, tracked: Any
) -> "Evaluation":
    """Count the evaluation in the log of the bundle, write it, and log its figures."""
    from datetime import UTC, datetime

    from tumorlens.study.evaluation.run import write_evaluation
    from tumorlens.study.evaluation.test_access_log import log_evaluation

    counted = log_evaluation(evaluation, bundle, out=out, now=datetime.now(UTC))
    write_evaluation(counted, out, bundle=bundle)
    _log_result(tracked, counted.result)
    return counted


def _part_of(
    cases: list["Case"], split_file: Path | None, part: str, allow_leaks: bool
) -> tuple[list["Case"], "SplitFacts", "Context"]:
    """Return the cases of a part with their groups, and what is known of the split and by it."""
    from tumorlens.errors import SplitError
    from tumorlens.reports.evaluation import SplitFacts
    from tumorlens.study.data import splits
    from tumorlens.study.evaluation.subgroups import Context, read_context

    if split_file is None:
        return splits.with_groups(cases, found_groups(cases)), SplitFacts(), Context()
    made = splits.read_split(split_file)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    print_left_out(cases, made)
    chosen = [case for case in parted if part in ("all", case.split)]
    if not chosen:
        known = ", ".join((*splits.PARTS, "all"))
        raise SplitError(split_file, f"has no cases in part {part!r}", f"Parts: {known}.")
    leak = splits.leaks_of(made)
    facts = SplitFacts(made.fingerprint, leak.n, leak.share)
    return chosen, facts, read_context(parted, made, part=part)


def _log_result(tracked: Any, result: "EvaluationResult") -> None:
    """Log the figures, and of what they were counted."""
    counts = {"n": result.n, "unreadable": result.unreadable, "data sets": result.datasets}
    tracked.log_parameters(counts)
    measured = {
        **result.detection, "type": result.type, "same level": result.same_level,
        "calibration": result.calibration, "series": result.series,
    }  # fmt: skip
    tracked.log_figures({result.part: measured})


def _print_result(evaluation: "Evaluation") -> None:
    from tumorlens.models.usefulness import describe_usefulness

    errors = [prediction.error for prediction in evaluation.predictions]
    print_losses(errors, [case.label for case in evaluation.cases], where="predictions.csv")
    found = evaluation.result
    for name, row in found.detection.items():
        console.print(
            f"{name:4} AUC {row.auc}  sensitivity {row.sensitivity}  specificity {row.specificity}"
        )
    for name, row in (found.same_level or {}).items():
        console.print(
            f"{name}: AUC at the same level {row.auc}, {row.pairs} pairs, at all {row.unmatched}"
        )
    for sentence in describe_usefulness(found.detection):
        console.print(sentence)
    if found.type:
        console.print(f"type accuracy {found.type.accuracy}")
    if found.localization:
        console.print(f"pointing {found.localization.pointing}")
    _print_series(found)
    for row in found.controls or ():
        if row.auc.value is not None and not row.is_detail:
            detail = f", {row.detail}" if row.is_tree else ""
            console.print(f"control {row.task}: {row.control}{detail}: AUC {row.auc}")
    if found.comparison:
        for name, row in found.comparison.rows.items():
            console.print(
                f"{name:4} AUC minus that of {found.comparison.bundle}: "
                f"{row.auc_difference}, McNemar p {row.mcnemar['all']['p']:.3g}"
            )
    accesses = found.test_accesses
    if accesses:
        console.print(
            f"evaluation {accesses.same_scans} of these scans ({accesses.same_part} of this part "
            f"of the split), counted in test_access_log.csv of the {accesses.folder} folder"
        )
    if found.split.share:
        console.print(f"this split leaks: {found.split.share:.1%} of its test scans")


def _print_series(found: "EvaluationResult") -> None:
    if found.series:
        kind = "calibrated" if found.series.is_calibrated else "uncalibrated"
        for name, row in (("series", found.series.series), ("patients", found.series.patients)):
            console.print(
                f"{name} ({kind}) AUC {row.auc}  sensitivity {row.sensitivity}  "
                f"specificity {row.specificity}"
            )
        console.print(f"peak slice has the tumor {found.series.peak_hit}")
        if found.series.is_confounded:
            share, n = f"{found.series.source_alone:.0%}", found.series.series.n
            console.print(
                f"source and label coincide: the source alone tells {share} of labels (n={n})"
            )
    if found.froc:
        for rate, share in zip(found.froc.false_positives, found.froc.sensitivity, strict=True):
            console.print(f"tumors found at {rate:g} wrong candidates a slice: {share}")
