"""The page of baselines, in Markdown: every figure on it is computed from scores of a run."""

from collections.abc import Iterator, Mapping, Sequence

from studies.baselines.protocols import PROTOCOLS
from studies.baselines.results import Result, Results
from studies.baselines.runs import (
    FOLDS,
    HEAD,
    LEARNED_SETS,
    LEFT_OUT,
    MENDED,
    OURS,
    PRETRAINED,
    RUNS,
    SEVEN,
    SHIPPED,
    STRANGERS,
    TAIL,
    THEIRS,
    Run,
)
from studies.baselines.targets import PAIRS, TARGETS, TYPED, columns_of, mismatched

from tumorlens.records import Estimate
from tumorlens.study.experiments.scores import Score
from tumorlens.study.recipes import REPRODUCTIONS, Reproduction

ROLES = {THEIRS: "their protocol, faults left in", MENDED: "the same network, mended",
         OURS: "**ours**"}  # fmt: skip
THRESHOLD_WORDS = {"own": "validation", "half": "0.5", "best on test": "best on test"}
NOT_RUN = "not run yet"
HEAD_TEXT = """# Baselines

!!! warning "Research use only"
    Not a medical device. Figures of a data set are not figures of a clinic.

For everybody who knows an earlier system. Written by `benchmarks/baselines.py` (`make baselines`):
each earlier system by its own protocol, the same network without its faults, and ours on the same
images. Pixels and epochs of an earlier system are its own; **what has not been run says so, and
nothing was run smaller instead**. How to do an earlier system again, step by step:
[The first system again](../how-to/the-first-system-again.md).

Figures carry a 95 % interval (bootstrap over groups, 1000 resamples, seed 0; of repeats, the mean
of theirs) and their n. Groups are copies, neighboring slices and patients, found by one audit of
all sets. Seed 0. A test part was read once for each network. A threshold of validation is chosen
there and stands in the bundle: in rows of the recipe `base` where both kinds of error weigh alike,
in others the highest that meets a sensitivity of .98. The published accuracies are at 0.5, which
stands beside it. "Classes right" takes a tumor whose type was not recorded as right with any type;
the network of seven classes has to name that class.

"Time" is that of the whole run on the machine named below, shared with other work: an upper bound.
The network of [the sources left out](results.md#sources-left-out) never saw bohaju, Br35H and
navoneel, nor a copy of their scans. Adapted, it goes on with a fifth of its rate.
"""


def write_page(results: Results, *, sections: Sequence[str] = ()) -> str:
    """Return the page; `sections` are more of it, already in Markdown."""
    parts = [HEAD_TEXT, _targets(results), _gains(results)]
    parts += [_system(name, found, results) for name, found in REPRODUCTIONS.items()]
    return "\n".join(part for part in [*parts, *sections] if part).rstrip() + "\n"


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        run = next(run for run in RUNS if run.name == target.run)
        known = [REPRODUCTIONS[run.system].data_set, target.split,
                 f"{target.figure} >= {target.minimum:g}"]  # fmt: skip
        result = results.runs.get(run.name)
        found = result and result.figures[run.threshold][target.figure]
        verdict = [NOT_RUN, ""]
        if result and found and found.value is not None:
            verdict = [_with_remark(str(found), result), target.verdict(found.value)]
        rows.append([*known, *verdict])
    return "## What was to be reached\n\n" + table(
        ["data set", "on", "target", "found", "verdict"], rows
    )


def _gains(results: Results) -> str:
    """Set ours beside an earlier system on the very same scans."""
    rows = []
    for pair in PAIRS:
        found = results.gains.get(f"{pair.ours} beside {pair.theirs}", {})
        cells = [gain(found.get(name)) if found else NOT_RUN for name in pair.figures]
        rows.append([f"`{pair.ours}`", f"`{pair.theirs}`", *cells])
    head = ["ours", "beside", *PAIRS[0].figures]
    return f"""## Ours beside the first system, paired

By how much each figure of ours is higher on the scans that both answered; the same groups are drawn
for both.

{table(head, rows)}"""


def gain(found: Estimate | None) -> str:
    """Write a difference with its sign, interval and n."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return "-"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f}, n={found.n})"


def _system(name: str, found: Reproduction, results: Results) -> str:
    columns = columns_of(found.data_set)
    head = ["", "network", "pixels", "epochs", "split", "left in, remarks", "threshold", *columns,
            "groups", "time"]  # fmt: skip
    rows = [["published", found.original, "", "", found.split, "", "", found.published]]
    for run in (run for run in RUNS if run.system == name):
        thresholds = dict.fromkeys((run.threshold, *(() if columns is TYPED else ("half",))))
        result = results.runs.get(run.name)
        rows += [_row(run, result, columns, each) for each in thresholds if result]
        rows += [] if result else [_row(run, None, columns, run.threshold)]
    rows = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    faults = "\n".join(f"- {fault.was}. Here: {fault.mended}." for fault in found.faults)
    return (
        f"## {name}: {found.data_set}\n\n{table(head, rows)}\n"
        f"What was wrong with the original ({found.source}):\n\n{faults}\n"
    )


def _row(run: Run, result: Result | None, columns: Sequence[str], threshold: str) -> list[str]:
    remarks = "; ".join(text for text in (*run.faults, run.note) if text)
    named = [ROLES[run.role], _network(run), str(run.changed_recipe.side), _epochs(run),
             _split(run), remarks, THRESHOLD_WORDS[threshold]]  # fmt: skip
    if result is None:
        return [*named, f"{NOT_RUN}: `--only {' '.join(filter(None, (run.search, run.name)))}`"]
    named[5] = "; ".join(text for text in (remarks, result.remark) if text)
    figures = [cell(result.figures[threshold][name]) for name in columns]
    return [*named, *figures, str(result.groups or "-"), duration(result.seconds)]


def duration(seconds: float | None) -> str:
    """Write a time in minutes, or hours from two on."""
    if seconds is None:
        return "-"
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 120 else f"{max(1, round(minutes))} min"


def _with_remark(text: str, result: Result) -> str:
    return f"{text}; {result.remark}" if result.remark else text


def _network(run: Run) -> str:
    text = f"`{run.changed_recipe.network}`, recipe `{run.recipe}`"
    if run.start == PRETRAINED:
        text += f", started from `{run.start}` (VICReg on scans of {' and '.join(LEARNED_SETS)} "
        text += "without their labels, train groups alone)"
    elif run.start == STRANGERS:
        how = "as it is" if run.protocol == LEFT_OUT else "adapted"
        text += f", the network of the sources left out, {how}"
    return text


def _epochs(run: Run) -> str:
    recipe = run.changed_recipe
    if run.protocol in (SHIPPED, LEFT_OUT):
        return "of the bundle"
    head = f"{recipe.head_epochs} of the head" if recipe.head_epochs else ""
    if run.stored in (HEAD, SEVEN) or not recipe.epochs:
        return head
    last = "at most " if run.stored == TAIL or recipe.patience < recipe.epochs else ""
    return ", then ".join(part for part in (head, f"{last}{recipe.epochs}") if part)


def _split(run: Run) -> str:
    if run.protocol == FOLDS:
        times = f"{run.repeats} x " if run.repeats > 1 else ""
        return f"{times}5 folds by whole groups"
    if run.protocol == SHIPPED:
        return "the test part of one grouped split of all sets, which ours was trained on"
    if run.protocol == LEFT_OUT:
        return "every scan; nothing of this set was learned"
    return PROTOCOLS[run.protocol].summary


def machines(results: Results) -> str:
    """Name what computed the rows, and how long all of it took."""
    timed = [found for found in results.runs.values() if found.seconds is not None]
    if not timed:
        return ""
    names = sorted({found.machine for found in timed})
    total = duration(sum(found.seconds or 0 for found in timed))
    return f"""## Machine and time

{len(timed)} of {len(RUNS)} rows have their time: {total} together, on {"; ".join(names)}, one at a
time, two threads, beside other work that took most of both cores.
"""


def mismatch_note(scores: Mapping[str, Sequence[Score]], results: Results) -> str:
    """Tell what a shuffled test set scored against unshuffled labels does to the same answers."""
    lines = []
    for name in ("br35h-cnn-random", "br35h-inception-random", "br35h-ours"):
        right = results.runs[name].figures["half"]["accuracy"] if name in scores else None
        if right and right.value is not None:
            wrong = mismatched(scores[name])
            lines.append(f"- `{name}`: {right.value:.3f} becomes {wrong:.3f} (n={right.n}).")
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
