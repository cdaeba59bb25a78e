"""The page of reproductions, in Markdown: every figure on it is computed from answers of a run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studies.baselines.aims import AIMS, FIGURES, verdict
from studies.baselines.arms import (
    ARMS,
    FOLDS,
    MENDED,
    OURS,
    SHIPPED,
    SOURCES,
    THEIRS,
    Arm,
)
from studies.baselines.figures import Row, detection_of, mismatched
from studies.baselines.protocols import PROTOCOLS

from tumorlens.reports.page import figure
from tumorlens.study.recipes import REPRODUCTIONS, Reproduction, find_recipe

Answers = Mapping[str, Sequence[Row]]  # arm -> rows
ROLES = {THEIRS: "their protocol, faults left in", MENDED: "the same network, mended",
         OURS: "**ours**", "reference": "for comparison"}  # fmt: skip
THRESHOLDS = {"threshold": "validation", "half": "0.5", "best on test": "best on test"}
UNITS = {"side": "px", "epochs": "epochs", "head_views": "views",
         "changed": "of the pictures changed"}  # fmt: skip
HEAD = """# Baselines

!!! warning "Research use only"
    Not a medical device. Figures of a data set are not figures of a clinic.

Written by `benchmarks/baselines.py`. Each earlier system by its own protocol, the same network
without its faults, and ours on the same images. Figures carry a 95 % interval (bootstrap over
groups, 1000 resamples, seed 0; of repeats, the mean of theirs) and their n. Groups are copies,
neighboring slices and patients, found by one audit of all sets. A test part was read once for each
network.

Two CPU cores, shared with other work, trained all of this. What was shortened for that stands in
each row, and no row is tuned. The recipes in full are those of [Recipes](recipes.md).

A threshold of validation is the bundle's: the highest that meets the recipe's sensitivity there,
so it buys recall with specificity. The published accuracies are at 0.5, which stands beside it.
"""


def write_page(answers: Answers, *, sections: Sequence[str] = ()) -> str:
    """Give the page; `sections` are more of it, already in Markdown."""
    parts = [HEAD, _aims(answers)]
    parts += [_system(name, found, answers) for name, found in REPRODUCTIONS.items()]
    return "\n".join(part for part in [*parts, *sections] if part).rstrip() + "\n"


def _aims(answers: Answers) -> str:
    rows = []
    for aim in AIMS:
        arm = next(arm for arm in ARMS if arm.name == aim.arm)
        data_set = REPRODUCTIONS[arm.system].data_set
        asked = f"{aim.figure} >= {aim.least:g}"
        if aim.arm not in answers:
            rows.append([data_set, aim.asked, asked, "not run here", ""])
            continue
        found = FIGURES[aim.figure](answers[aim.arm], arm.measure)
        rows.append([data_set, aim.asked, asked, cell(found), verdict(found, aim)])
    return "## What was to be reached\n\n" + table(
        ["data set", "on", "aim", "found", "verdict"], rows
    )


def _system(name: str, found: Reproduction, answers: Answers) -> str:
    arms = [arm for arm in ARMS if arm.system == name]
    typed = found.data_set == "multimodal"
    head = ["", "network", "split", "left in, changed", "threshold", *_columns(typed)]
    published = ["published", found.original, found.split, "", "", found.published]
    rows = [[*published, *[""] * (len(head) - len(published))]]
    rows += [
        _row(arm, answers.get(arm.name), typed, measure)
        for arm in arms
        for measure in ([arm.measure] if typed else dict.fromkeys((arm.measure, "half")))
    ]
    faults = "\n".join(f"- {fault.was}. Here: {fault.mended}." for fault in found.faults)
    return (
        f"## {name}: {found.data_set}\n\n{table(head, rows)}\n"
        f"What was wrong with the original ({found.source}):\n\n{faults}\n"
    )


def _columns(typed: bool) -> list[str]:
    if typed:
        return ["classes right", "AUC on CT", "AUC on MRI", "type right"]
    return ["accuracy", "recall", "specificity", "F1", "AUC", "groups"]


def _row(arm: Arm, rows: Sequence[Row] | None, typed: bool, measure: str) -> list[str]:
    told = [ROLES[arm.role], _network(arm), _split(arm), _remarks(arm), THRESHOLDS[measure]]
    if rows is None:
        return [*told, "not run here", *[""] * (len(_columns(typed)) - 1)]
    if typed:
        return [*told, *(cell(FIGURES[name](rows, measure)) for name in _columns(typed))]
    found = detection_of(rows, measure)
    names = {"accuracy": "n", "sensitivity": "n_tumor", "specificity": "n_healthy", "f1": "n",
             "auc": "n"}  # fmt: skip
    counted = {**found, "n_healthy": found["n"] - found["n_tumor"]}
    cells = [figure(counted, name, n) for name, n in names.items()]
    return [*told, *cells, str(found["n_groups"])]


def _network(arm: Arm) -> str:
    text = f"`{arm.made.network}`, recipe `{arm.recipe}`"
    if arm.stands_for:
        text += f", standing in for {arm.stands_for}, whose weights are not at hand"
    if arm.start:
        source = SOURCES[arm.start]
        text += f", started from `{arm.start}` ({' and '.join(source.folders)}, without any copy "
        text += f"of these scans, {source.epochs_run} of {source.made.epochs} epochs)"
    return text


def _split(arm: Arm) -> str:
    if arm.protocol == FOLDS:
        times = f"{arm.repeats} x " if arm.repeats > 1 else ""
        return f"{times}5 folds by whole groups"
    if arm.protocol == SHIPPED:
        return "the test part of one grouped split of all sets, which ours was trained on"
    return PROTOCOLS[arm.protocol].summary


def _remarks(arm: Arm) -> str:
    whole = find_recipe(arm.system if arm.recipe == arm.system else arm.recipe)
    told = list(arm.faults)
    for name, unit in UNITS.items():
        full, used = getattr(whole, name), getattr(arm.made, name)
        if used != full:
            told.append(f"{used} {'of' if used < full else 'instead of'} {full} {unit}")
    return "; ".join(told)


def mismatch_note(answers: Answers) -> str:
    """Say what a shuffled test set scored against unshuffled labels does to the same answers."""
    lines = []
    for name in ("br35h-cnn-random", "br35h-inception-random"):
        if name in answers:
            right = detection_of(answers[name], "half")["accuracy"]
            wrong = mismatched(answers[name])
            lines.append(f"- `{name}`: {right:.3f} becomes {wrong:.3f} (n={len(answers[name])}).")
    if not lines:
        return ""
    return (
        "## Scored against labels in another order\n\nTwo of the earlier systems shuffled the test "
        "set and not its labels. The same answers, accuracy at 0.5, scored so:\n\n"
        + "\n".join(lines) + "\n"
    )  # fmt: skip


def cell(found: Mapping[str, Any] | None) -> str:
    """Write a figure with its interval and n, or a dash where there is none."""
    return figure(found, "value") if found else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(_lines(head, rows)) + "\n"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) + " |"
