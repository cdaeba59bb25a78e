"""Figures of runs, kept beside the code: the folder of a run may be gone, what it showed stays."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studies.baselines.runs import RUNS, Run
from studies.baselines.sets import scores_file, scores_in
from studies.baselines.targets import FIGURES, PAIRS, Pair, columns_of, difference

from tumorlens.files import read_table, write_file
from tumorlens.records import Estimate
from tumorlens.study.experiments.scores import Score
from tumorlens.study.recipes import REPRODUCTIONS

RESULTS_FILE = Path(__file__).with_name("results.json")
TIME_FILE = "time.json"
CPU_INFO = Path("/proc/cpuinfo")
Figures = Mapping[str, Estimate | None]


@dataclass(frozen=True)
class Result:
    """What a run showed, how long it took, and where."""

    figures: Mapping[str, Figures]  # by the threshold
    groups: int
    seconds: float | None = None
    machine: str = ""
    remark: str = ""  # of fewer repeats than stated


@dataclass(frozen=True)
class Results:
    """Results of runs by name, and gains of pairs of them by "OURS beside THEIRS"."""

    runs: Mapping[str, Result] = field(default_factory=dict)
    gains: Mapping[str, Figures] = field(default_factory=dict)


def machine() -> str:
    """Return what this computes on, in words."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}"


def add_time(folder: Path, seconds: float) -> None:
    """Add to the time that the work of a folder has taken, over all its starts."""
    file = folder / TIME_FILE
    before = json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.exists() else 0.0
    if folder.is_dir():
        found = {"seconds": before + seconds, "machine": machine()}
        write_file(file, json.dumps(found) + "\n")


def result_of(run: Run, scores: Sequence[Score], folder: Path) -> Result:
    """Compute the figures of a run at each threshold that its rows show."""
    time = json.loads((folder / TIME_FILE).read_text()) if (folder / TIME_FILE).exists() else {}
    columns = columns_of(REPRODUCTIONS[run.system].data_set)
    repeats = len({score.repeat for score in scores})
    return Result(
        {each: {name: FIGURES[name](scores, each) for name in columns}
         for each in dict.fromkeys((run.threshold, "half"))},
        len({score.group for score in scores}),
        _seconds(folder, time.get("seconds")),
        time.get("machine", ""),
        f"{repeats} of {run.repeats} repeats" if repeats < run.repeats else "",
    )  # fmt: skip


def _seconds(folder: Path, kept: float | None) -> float | None:
    """Return the time that was kept, or that of all epochs: a start that was killed kept none."""
    history = folder / "history.csv"
    epochs = read_table(history) if history.exists() else []
    return kept and max(kept, sum(float(row.get("seconds", 0)) for row in epochs))


def collect(runs: Path, known: Results) -> Results:
    """Return the results with those of all runs in a folder that have their scores."""
    scores = {
        run.name: scores_in(runs / run.name)
        for run in RUNS
        if (runs / run.name / scores_file(runs / run.name)).exists()
    }
    by_name = {run.name: run for run in RUNS}
    made = {name: result_of(by_name[name], rows, runs / name) for name, rows in scores.items()}
    gains = {
        title(pair): {name: difference(scores[pair.ours], scores[pair.theirs], name)
                      for name in pair.figures}
        for pair in PAIRS if pair.ours in scores and pair.theirs in scores
    }  # fmt: skip
    return Results({**known.runs, **made}, {**known.gains, **gains})


def title(pair: Pair) -> str:
    """Name a pair in the table of gains."""
    return f"{pair.ours} beside {pair.theirs}"


def read_results(path: Path = RESULTS_FILE) -> Results:
    """Read what `write_results` wrote; no file is no result."""
    if not path.exists():
        return Results()
    found = json.loads(path.read_text(encoding="utf-8"))
    runs = {
        name: Result(
            {each: _figures(row) for each, row in stored["figures"].items()},
            stored["groups"], stored["seconds"], stored["machine"], stored["remark"],
        )
        for name, stored in found["runs"].items()
    }  # fmt: skip
    return Results(runs, {name: _figures(row) for name, row in found["gains"].items()})


def write_results(results: Results, path: Path = RESULTS_FILE) -> None:
    """Write results, one line a row, so that a change of one is a change of its lines."""
    runs = {
        name: {"figures": {each: _flat(row) for each, row in result.figures.items()},
               "groups": result.groups, "seconds": result.seconds, "machine": result.machine,
               "remark": result.remark}
        for name, result in sorted(results.runs.items())
    }  # fmt: skip
    gains = {name: _flat(row) for name, row in sorted(results.gains.items())}
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in runs.items()]
    more = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in gains.items()]
    text = f'{{"runs": {{\n{_joined(lines)}\n}}, "gains": {{\n{_joined(more)}\n}}}}\n'
    write_file(path, text)


def _joined(lines: Iterable[str]) -> str:
    return ",\n".join(lines)


def _figures(stored: Mapping[str, Sequence[float | None] | None]) -> Figures:
    return {name: Estimate(*row) if row else None for name, row in stored.items()}


def _flat(figures: Figures) -> dict[str, list[float | None] | None]:
    def short(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return {
        name: [short(e.value), short(e.low), short(e.high), e.n] if e else None
        for name, e in figures.items()
    }
