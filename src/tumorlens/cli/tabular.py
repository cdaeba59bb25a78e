"""`tumorlens tabular`: what a table of features says about the classes."""

from pathlib import Path
from typing import Annotated

import typer

from tumorlens.cli.progress import console, counting


def tabular(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A table of `tumorlens features`, or the published `Brain Tumor.csv`.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for html and json.")],
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="groups.csv of `tumorlens audit`; else every row stands alone."
        ),
    ] = None,
) -> None:
    """Study a table of features: distributions, effect sizes, correlation, three models.

    Models answer for groups that they did not learn from. Example:
    `tumorlens tabular features.csv --groups audit/groups.csv --out table`
    """
    from datetime import UTC, datetime

    from tumorlens.study.explore.report import TABULAR_PAGE, write_tabular
    from tumorlens.study.explore.tabular import study_features

    result = study_features(table, groups=groups, now=datetime.now(UTC), steps=counting)
    write_tabular(result, out)
    for modality, study in result.features.items():
        console.print(f"{modality}: {study.n} scans in {study.n_groups} groups")
        for name, row in (study.models or {}).items():
            console.print(f"     {name:20} AUC {row.auc}")
    if groups is None:
        console.print("No groups were given: every row counts as independent, which flatters.")
    typer.echo(out / TABULAR_PAGE)
