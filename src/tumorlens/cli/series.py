"""`tumorlens train-series`: a rule for whole series, learned from labeled patients."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import (
    AllowLeaks,
    Bundle,
    Folders,
    Overwrite,
    SplitFile,
    Workers,
    parted_cases,
)
from tumorlens.cli.progress import console, counting
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from tumorlens.study.training.series_rule import TrainedRule

RuleOut = Annotated[Path, typer.Option(help="Folder for the new bundle, OUT/bundle, and tables.")]


def train_series(
    folders: Folders,
    out: RuleOut,
    bundle: Bundle = "",
    split_file: SplitFile = None,
    workers: Workers = None,
    allow_leaks: AllowLeaks = False,
    overwrite: Overwrite = False,
) -> None:
    """Learn how the slices of a series become one answer, from labeled patients.

    Patients are known by the column patient of cases.csv. Trains on the train part of a split,
    chooses threshold and calibration on val, measures on test. The bundle is left as it is; a
    copy with the rule is written. Example:
    `tumorlens train-series scans/ --split split.csv --out runs/series`
    """
    from tumorlens.models.bundle import load_bundle
    from tumorlens.study.training.series_rule import train_series as train

    settings = load_settings(workers=workers)
    source = load_bundle(bundle or settings.bundle)
    outputs = Outputs(*folders, split_file, bundle, overwrite=overwrite)
    cases, _ = parted_cases(folders, split_file, out, outputs=outputs, allow_leaks=allow_leaks)
    with counting("predicting") as progress:
        found = train(cases, source, out, settings=settings, progress=progress)
    _print(found)
    typer.echo(out / "bundle")


def _print(found: "TrainedRule") -> None:
    for name, (tumors, healthy) in found.counts.items():
        console.print(f"{name:5} series with tumor {tumors}, without {healthy}")
    losses = ", ".join(f"{name} {value:.3f}" for name, value in found.loss.items())
    rule = found.rule
    console.print(
        f"log loss of {rule.n_patients} validation patients: {losses}; "
        f"features: {', '.join(rule.features)}"
    )
    console.print(
        f"threshold {rule.threshold:.3f}: on validation sensitivity {rule.sensitivity}, "
        f"specificity {rule.specificity}"
    )
    if found.auc is None:
        console.print("no test patients of both kinds: nothing is measured on held-out patients")
    else:
        console.print(
            f"held-out patients: AUC {found.auc} (uncalibrated score {found.auc_uncalibrated}), "
            f"sensitivity {found.sensitivity}, specificity {found.specificity}"
        )
    console.print(
        f"the source alone tells {found.source_alone:.0%} of labels (n={found.n_series} series): "
        "the nearer to 100 %, the more the rule may tell sources apart"
    )
