"""The verdicts on several sets side by side, as data and as a page of text."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tumorlens.study.explore.experiments import SCHEMA, TRANSFER
from tumorlens.study.explore.hypotheses import HYPOTHESES
from tumorlens.study.training.run_folder import write_json

RECORD, TEXT = "hypotheses.json", "hypotheses.md"
Studies = Mapping[str, Mapping[str, Any]]  # by set: what stands in its explore.json


def write_verdicts(studies: Studies, networks: Mapping[str, Any], out: Path) -> None:
    """Write hypotheses.json and hypotheses.md; `networks` is what experiments.json holds."""
    write_json(out / RECORD, {
        "schema": SCHEMA,
        "sets": {
            name: {key: study[key] for key in ("n", "groups", "audit", "hypotheses")}
            for name, study in studies.items()
        },
        "experiments": networks,
    })  # fmt: skip
    text = "\n".join(_page(studies, networks)) + "\n"
    (out / TEXT).write_text(text, encoding="utf-8")


def _page(studies: Studies, networks: Mapping[str, Any]) -> Iterator[str]:
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
        rows = {name: study["hypotheses"][number] for name, study in studies.items()}
        if hypothesis.of_networks:  # the same for every set
            rows = {"": next(iter(rows.values()))}
        yield from _findings(rows)
    yield from _matrix(networks)
    yield from _training(networks)


def _overview(studies: Studies) -> Iterator[str]:
    yield f"| | | {' | '.join(studies)} |"
    yield f"|---|---|{'---|' * len(studies)}"
    for number, hypothesis in enumerate(HYPOTHESES):
        verdicts = [study["hypotheses"][number]["verdict"] for study in studies.values()]
        yield f"| {hypothesis.id} | {hypothesis.statement} | {' | '.join(verdicts)} |"
    yield "\n| set | scans | independent groups |\n|---|---|---|"
    for name, study in studies.items():
        yield f"| {name} | {study['n']:,} | {study['groups']:,} |"


def _findings(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| | figure | n | verdict | |\n|---|---|---|---|---|"
    for name, row in rows.items():
        for found in row["findings"]:
            where = (
                found["where"] if found["where"].startswith(name) else f"{name} {found['where']}"
            )
            yield (
                f"| {where} | {found['measure']} {_figure(found)} | {_counts(found)} | "
                f"{found['verdict']} | {found['note']} |"
            )
        if not row["findings"]:
            yield f"| {name} | | | {row['verdict']} | {row['reason']} |"


def _figure(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "not measurable"
    if found["value_low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['value_low']:.3f} to {found['value_high']:.3f})"


def _counts(found: Mapping[str, Any]) -> str:
    named = (("n", ""), ("n_groups", " groups"))
    return ", ".join(f"{found[key]:,}{unit}" for key, unit in named if found[key] is not None)


def _matrix(networks: Mapping[str, Any]) -> Iterator[str]:
    """Tell from set to set what networks reach; what lies on the diagonal is held out."""
    found = [e["matrix"] for e in networks.get("experiments", ()) if e["id"] == TRANSFER]
    for matrix in found:
        tested = sorted({name for columns in matrix.values() for name in columns})
        yield "\n## From set to set\n"
        yield (
            "AUC of tumor against healthy. Rows: trained on; columns: tested on. On its own set, "
            "a network is asked only for groups that it never saw; on another, for groups of "
            "which no file stands in the set it was trained on.\n"
        )
        yield f"| | {' | '.join(tested)} |\n|---|{'---|' * len(tested)}"
        for name, columns in matrix.items():
            yield f"| {name} | {' | '.join(_cell(columns.get(other)) for other in tested)} |"


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['auc']:.3f} ({cell['auc_low']:.3f}-{cell['auc_high']:.3f}, n={cell['n']:,})"


def _training(networks: Mapping[str, Any]) -> Iterator[str]:
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
        f"most {plan['largest']:,} pictures of a set were taken, one file of each. They are small "
        "and short on purpose: differences between sets and settings show, the last hundredth of "
        "AUC does not."
    )
    trials = networks.get("trials")
    if trials and trials["done"] < trials["planned"]:
        yield (
            f"\n**{trials['done']} of {trials['planned']} pairs were trained when this was "
            "written**; the same command goes on."
        )
