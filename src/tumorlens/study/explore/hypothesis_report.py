"""The verdicts on several sets side by side, as data and as a page of text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tumorlens.files import read_file, write_file
from tumorlens.json_records import JsonObject, write_json
from tumorlens.records import Estimate
from tumorlens.study.explore.held_out_performance import (
    EXPERIMENTS_SCHEMA,
    TRANSFER,
    Cell,
    Experiment,
    read_experiments,
)
from tumorlens.study.explore.hypothesis_tests import HYPOTHESES
from tumorlens.study.explore.record import ExploreResult, Finding, Judgment

RECORD, TEXT = "hypotheses.json", "hypotheses.md"
Studies = Mapping[str, ExploreResult]  # by set


def write_hypothesis_report(studies: Studies, results: Path, out: Path) -> None:
    """Write hypotheses.json and hypotheses.md; `results` is experiments.json."""
    networks = json.loads(read_file(results))
    sets = {
        name: {key: getattr(study, key) for key in ("n", "groups", "audit", "hypotheses")}
        for name, study in studies.items()
    }
    record = {"schema": EXPERIMENTS_SCHEMA, "sets": sets, "experiments": networks}
    write_json(record, out / RECORD)
    text = "\n".join(_page(studies, networks, read_experiments(results))) + "\n"
    write_file(out / TEXT, text)


def _page(
    studies: Studies, networks: JsonObject, experiments: Sequence[Experiment]
) -> Iterator[str]:
    yield "# Hypotheses\n"
    yield '!!! warning "Research use only"'
    yield "    Not a medical device. Verdicts are about the sets named here, no others.\n"
    yield f"Written by `tumorlens hypotheses {' '.join(studies)} --out study`, not by hand.\n"
    yield (
        "Every rule is a bar for an interval, and was written down before: above the bar "
        "supported, below it not supported, else undecided. Intervals are 95 %.\n"
    )
    yield from _overview(studies)
    for number, hypothesis in enumerate(HYPOTHESES):
        yield f"\n## {hypothesis.id}: {hypothesis.statement}\n"
        yield f"{hypothesis.test}\n\n{hypothesis.rule}\n"
        rows = {name: study.hypotheses[number] for name, study in studies.items()}
        if hypothesis.of_networks:  # the same for every set
            rows = {"": next(iter(rows.values()))}
        yield from _findings(rows)
    yield from _matrix(experiments)
    yield from _training(networks)


def _overview(studies: Studies) -> Iterator[str]:
    yield f"| | | {' | '.join(studies)} |"
    yield f"|---|---|{'---|' * len(studies)}"
    for number, hypothesis in enumerate(HYPOTHESES):
        verdicts = [study.hypotheses[number].verdict for study in studies.values()]
        yield f"| {hypothesis.id} | {hypothesis.statement} | {' | '.join(verdicts)} |"
    yield "\n| set | scans | independent groups |\n|---|---|---|"
    for name, study in studies.items():
        yield f"| {name} | {study.n:,} | {study.groups:,} |"


def _findings(rows: Mapping[str, Judgment]) -> Iterator[str]:
    yield "| | figure | n | verdict | |\n|---|---|---|---|---|"
    for name, row in rows.items():
        for found in row.findings:
            where = found.where if found.where.startswith(name) else f"{name} {found.where}"
            yield (
                f"| {where} | {found.measure} {_figure(found.estimate)} | {_counts(found)} | "
                f"{found.verdict} | {found.note} |"
            )
        if not row.findings:
            yield f"| {name} | | | {row.verdict} | {row.reason} |"


def _figure(found: Estimate) -> str:
    if found.value is None:
        return "not measurable"
    if found.low is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _counts(found: Finding) -> str:
    groups = "" if found.n_groups is None else f", {found.n_groups:,} groups"
    return f"{found.estimate.n:,}{groups}"


def _matrix(experiments: Sequence[Experiment]) -> Iterator[str]:
    """List what networks reach from set to set; what lies on the diagonal is held out."""
    for matrix in [e.matrix for e in experiments if e.id == TRANSFER and e.matrix]:
        tested = sorted({name for columns in matrix.values() for name in columns})
        yield "\n## From set to set\n"
        yield (
            "AUC of tumor against healthy. Rows: trained on; columns: tested on. On its own set, "
            "a network is tested only on groups that it never saw; on another, on groups of "
            "which no file stands in the set it was trained on.\n"
        )
        yield f"| | {' | '.join(tested)} |\n|---|{'---|' * len(tested)}"
        for name, columns in matrix.items():
            yield f"| {name} | {' | '.join(_cell(columns.get(other)) for other in tested)} |"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    auc = cell.auc
    return f"{auc.value:.3f} ({auc.low:.3f}-{auc.high:.3f}, n={auc.n:,})"


def _training(networks: JsonObject) -> Iterator[str]:
    plan = networks.get("plan")
    if not plan:
        return
    recipe = plan["recipe"]
    updates = recipe["epochs"] * plan["steps"]
    yield "\n## The networks\n"
    yield (
        f"{plan['folds']} folds of each set by whole groups, each with another seed. Two networks "
        f"a fold: `{recipe['network']}` at {recipe['side']} px, at most {updates:,} updates of "
        f"{recipe['batch']} scans, with augmentation {recipe['augmentation']:g} and without. At "
        f"most {plan['largest']:,} images of a set were taken, one file of each. They are small "
        "and short on purpose: differences between sets and settings show, the last hundredth of "
        "AUC does not."
    )
    trials = networks.get("trials")
    if trials and trials["done"] < trials["planned"]:
        yield (
            f"\n**{trials['done']} of {trials['planned']} pairs were trained when this was "
            "written**; the same command goes on."
        )
