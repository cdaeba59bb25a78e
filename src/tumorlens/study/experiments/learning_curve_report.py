"""A size curve as numbers by size, as a table and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tumorlens.files import replacing, write_table

ERRORS = {
    "error_all": ("1 - AUC, all scans", "#4d4d4d"),
    "error_ct": ("1 - AUC, CT", "#b35806"),
    "error_mri": ("1 - AUC, MRI", "#2b6ca3"),
    "error_type": ("error of the type", "#7b3294"),
}
COSTS = ("seconds", "cpu_seconds", "peak_mb")
COLUMNS = ("share", "seed", "groups", "pictures", "scans", "best_epoch", *ERRORS, *COSTS,
           "n_all", "n_ct", "n_mri", "n_type", "unreadable")  # fmt: skip
Run = Mapping[str, Any]


def summarize(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Give, for each share, the mean, the least and the greatest over seeds of each figure."""
    found = []
    for share in sorted({run["share"] for run in runs}):
        own = [run for run in runs if run["share"] == share]
        row: dict[str, Any] = {"share": share, "runs": len(own)}
        for name in ("groups", "pictures", "scans", *ERRORS, *COSTS):
            row[name] = _spread([run[name] for run in own if run[name] is not None])
        found.append(row)
    return found


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": float(np.mean(values)), "least": min(values), "greatest": max(values)}


def write_runs(runs: Sequence[Run], out: Path) -> None:
    """Write one row a run."""
    rows = (["" if run[name] is None else _short(run[name]) for name in COLUMNS] for run in runs)
    write_table(out, COLUMNS, rows)


def _short(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def draw_curve(curve: Sequence[Mapping[str, Any]], out: Path, *, title: str) -> None:
    """Draw error, time and memory by the number of training groups; bands span the seeds."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.4), layout="constrained", width_ratios=(2, 1, 1)
    )
    for name, (label, color) in ERRORS.items():
        _draw_band(left, curve, name, label=label, color=color)
    left.set(yscale="log", ylabel="error on the test part", title=title)
    _draw_band(middle, curve, "seconds", label="wall clock", color="#2b6ca3")
    _draw_band(middle, curve, "cpu_seconds", label="processor", color="#b35806")
    middle.set(ylabel="seconds of training")
    _draw_band(right, curve, "peak_mb", label="peak of the process", color="#2b6ca3")
    right.set(ylabel="memory (MiB)")
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="training groups")
        axes.grid(alpha=0.3, which="both")
        if axes.lines:
            axes.legend(fontsize=8)
    with replacing(out) as partial:
        figure.savefig(partial, dpi=110, format="png")
    plt.close(figure)


def _draw_band(
    axes: Axes, curve: Sequence[Mapping[str, Any]], name: str, *, label: str, color: str
) -> None:
    rows = [row for row in curve if row[name]]
    if not rows:
        return
    at = [row["groups"]["mean"] for row in rows]
    ends = [np.array([row[name][end] for row in rows]) for end in ("mean", "least", "greatest")]
    # No error at all has no place on a logarithmic axis: it is drawn at half of the least one.
    if name in ERRORS:
        known = [v for row in curve for n in ERRORS if row[n] for v in row[n].values() if v > 0]
        ends = [np.maximum(end, min(known, default=1e-3) / 2) for end in ends]
    axes.plot(at, ends[0], "o-", color=color, label=label)
    axes.fill_between(at, ends[1], ends[2], color=color, alpha=0.15, lw=0)
