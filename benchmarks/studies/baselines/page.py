"""The page of baselines, in Markdown: every figure on it is computed from scores of a run."""

from collections.abc import Iterator, Mapping, Sequence

from studies.baselines.protocols import PROTOCOLS
from studies.baselines.runs import FOLDS, MENDED, OURS, RUNS, SHIPPED, SOURCES, THEIRS, Run
from studies.baselines.targets import FIGURES, TARGETS, detection_of, mismatched

from tumorlens.records import Estimate
from tumorlens.study.experiments.scores import Score
from tumorlens.study.recipes import REPRODUCTIONS, Reproduction, find_recipe

Scores = Mapping[str, Sequence[Score]]  # run -> its scores
ROLES = {THEIRS: "their protocol, faults left in", MENDED: "the same network, mended",
         OURS: "**ours**", "reference": "for comparison"}  # fmt: skip
THRESHOLD_WORDS = {"own": "validation", "half": "0.5", "best on test": "best on test"}
UNITS = {"side": "px", "epochs": "epochs", "head_views": "views",
         "counterfactual_share": "of the images counterfactual"}  # fmt: skip
TYPED = ("classes right", "AUC on CT", "AUC on MRI", "type right")
DETECTED = ("accuracy", "recall", "specificity", "F1", "AUC")
HEAD = """# Baselines

!!! warning "Research use only"
    Not a medical device. Figures of a data set are not figures of a clinic.

For everybody who knows an earlier system. Written by `benchmarks/baselines.py`: each earlier
system by its own protocol, the same network without its faults, and ours on the same images.
Figures carry a 95 % interval (bootstrap over groups, 1000 resamples, seed 0; of repeats, the mean
of theirs) and their n. Groups are copies, neighboring slices and patients, found by one audit of
all sets. A test part was read once for each network.

Two CPU cores, shared with other work, trained all of this. What was shortened for that stands in
each row, and no row is tuned. The recipes in full are those of [Recipes](recipes.md).

A threshold of validation is the bundle's: the highest that meets the recipe's sensitivity there,
so it buys recall with specificity. The published accuracies are at 0.5, which stands beside it.
"""


def write_page(scores: Scores, *, sections: Sequence[str] = ()) -> str:
    """Return the page; `sections` are more of it, already in Markdown."""
    parts = [HEAD, _targets(scores)]
    parts += [_system(name, found, scores) for name, found in REPRODUCTIONS.items()]
    return "\n".join(part for part in [*parts, *sections] if part).rstrip() + "\n"


def _targets(scores: Scores) -> str:
    rows = []
    for target in TARGETS:
        run = next(run for run in RUNS if run.name == target.run)
        known = [REPRODUCTIONS[run.system].data_set, target.split,
                 f"{target.figure} >= {target.minimum:g}"]  # fmt: skip
        found = run.name in scores and FIGURES[target.figure](scores[run.name], run.threshold)
        told = ["not run here", ""]
        if found and found.value is not None:
            told = [str(found), target.verdict(found.value)]
        rows.append([*known, *told])
    return "## What was to be reached\n\n" + table(
        ["data set", "on", "target", "found", "verdict"], rows
    )


def _system(name: str, found: Reproduction, scores: Scores) -> str:
    columns = TYPED if found.data_set == "multimodal" else DETECTED
    head = ["", "network", "split", "left in, changed", "threshold", *columns]
    rows = [["published", found.original, found.split, "", "", found.published]]
    for run in (run for run in RUNS if run.system == name):
        thresholds = dict.fromkeys((run.threshold, *(() if columns is TYPED else ("half",))))
        rows += [_row(run, scores.get(run.name), columns, each) for each in thresholds]
    if columns is DETECTED:
        head.append("groups")
    rows = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    faults = "\n".join(f"- {fault.was}. Here: {fault.mended}." for fault in found.faults)
    return (
        f"## {name}: {found.data_set}\n\n{table(head, rows)}\n"
        f"What was wrong with the original ({found.source}):\n\n{faults}\n"
    )


def _row(
    run: Run, scores: Sequence[Score] | None, columns: Sequence[str], threshold: str
) -> list[str]:
    told = [ROLES[run.role], _network(run), _split(run), _remarks(run), THRESHOLD_WORDS[threshold]]
    if scores is None:
        return [*told, "not run here"]
    groups = [] if columns is TYPED else [str(len({score.group for score in scores}))]
    return [*told, *(cell(FIGURES[name](scores, threshold)) for name in columns), *groups]


def _network(run: Run) -> str:
    text = f"`{run.changed_recipe.network}`, recipe `{run.recipe}`"
    if run.stands_for:
        text += f", standing in for {run.stands_for}, whose weights are not at hand"
    if run.start:
        source = SOURCES[run.start]
        text += f", started from `{run.start}` ({' and '.join(source.folders)}, without any copy "
        text += f"of these scans, {source.recipe.epochs} of {source.recipe.epochs} epochs)"
    return text


def _split(run: Run) -> str:
    if run.protocol == FOLDS:
        times = f"{run.repeats} x " if run.repeats > 1 else ""
        return f"{times}5 folds by whole groups"
    if run.protocol == SHIPPED:
        return "the test part of one grouped split of all sets, which ours was trained on"
    return PROTOCOLS[run.protocol].summary


def _remarks(run: Run) -> str:
    whole, changed = find_recipe(run.recipe), run.changed_recipe
    told = list(run.faults)
    for name, unit in UNITS.items():
        full, used = getattr(whole, name), getattr(changed, name)
        if used != full:
            told.append(f"{used} {'of' if used < full else 'instead of'} {full} {unit}")
    return "; ".join(told)


def mismatch_note(scores: Scores) -> str:
    """Tell what a shuffled test set scored against unshuffled labels does to the same answers."""
    lines = []
    for name in ("br35h-cnn-random", "br35h-inception-random"):
        if name in scores:
            right = detection_of(scores[name], "half").figures["accuracy"].value
            wrong = mismatched(scores[name])
            lines.append(f"- `{name}`: {right:.3f} becomes {wrong:.3f} (n={len(scores[name])}).")
    if not lines:
        return ""
    return (
        "## Scored against labels in another order\n\nTwo of the earlier systems shuffled the test "
        "set and not its labels. The same answers, accuracy at 0.5, scored so:\n\n"
        + "\n".join(lines) + "\n"
    )  # fmt: skip


def cell(found: Estimate | None) -> str:
    """Write a figure with its interval and n, or a dash where there is none."""
    return str(found) if found else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(_lines(head, rows)) + "\n"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) + " |"
