"""What every threshold would have done on validation, as a table and a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.files import replacing, write_table
from tumorlens.study.stats.discrimination import THRESHOLD_GRID, detection_statistics
from tumorlens.study.stats.intervals import ENDS, RESAMPLES

FIGURES = ("sensitivity", "specificity", "accuracy", "f1")
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
COLORS = ("#b35806", "#2b6ca3", "#4d4d4d", "#7b3294")
TABLE_FILE, PICTURE_FILE = "threshold.csv", "threshold.svg"


@dataclass(frozen=True)
class Sweep:
    """The figures at T thresholds, of one set of cases."""

    thresholds: NDArray[np.float64]  # [T], rising
    chosen: int  # position of the threshold that is used
    figures: Mapping[str, NDArray[np.float64]]  # [T, 3]: value, low, high; NaN: cannot be told
    n_tumor: int
    n_healthy: int
    n_groups: int


def sweep_thresholds(
    scores: NDArray[np.floating],
    truth: NDArray[np.bool_],
    *,
    groups: NDArray,
    chosen: float,
    resamples: int = RESAMPLES,
) -> Sweep:
    """Give sensitivity, specificity, accuracy and F1 by threshold, with intervals over groups.

    `scores` are tumor probabilities, [n]. Raises TrainingError where one is not a number, or
    where there are none.
    """
    if not len(scores) or not np.isfinite(scores).all():
        fix = "Train again with a lower learning rate."
        raise TrainingError("threshold sweep", "has no scores, or some that are no numbers", fix)
    thresholds = np.unique(np.append(THRESHOLD_GRID, chosen))
    found = detection_statistics(
        truth, scores, thresholds=thresholds, groups=groups, resamples=resamples
    )
    return Sweep(
        thresholds=thresholds,
        chosen=int(np.searchsorted(thresholds, chosen)),
        figures={
            name: np.stack([found[f"{name}{end}"] for end in ENDS], axis=1) for name in FIGURES
        },
        n_tumor=int(truth.sum()),
        n_healthy=int((~truth).sum()),
        n_groups=len(np.unique(groups)),
    )


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write threshold.csv and threshold.svg into a folder."""
    columns = ["threshold", "chosen", *(f"{name}{e}" for name in FIGURES for e in ENDS)]
    rows = []
    for i, threshold in enumerate(sweep.thresholds):
        values = np.concatenate([sweep.figures[name][i] for name in FIGURES])
        cells = [f"{value:.4f}" if np.isfinite(value) else "" for value in values]
        rows.append([f"{threshold:.6g}", "yes" if i == sweep.chosen else "", *cells])
    write_table(folder / TABLE_FILE, columns, rows)
    with replacing(folder / PICTURE_FILE) as partial:
        _draw(sweep, partial)


def _draw(sweep: Sweep, out: Path) -> None:
    drawing, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, color in zip(FIGURES, COLORS, strict=True):
        value, low, high = sweep.figures[name].T
        label = f"{name} {value[sweep.chosen]:.3f}"
        axes.plot(sweep.thresholds, value, color=color, label=label, drawstyle="steps-pre")
        axes.fill_between(sweep.thresholds, low, high, color=color, alpha=0.12, step="pre", lw=0)
    chosen = sweep.thresholds[sweep.chosen]
    axes.axvline(chosen, color="0.3", linestyle="--", label=f"chosen threshold {chosen:.4f}")
    axes.set(
        xscale="logit", xlabel="threshold of the tumor probability (log odds)", ylim=(-0.02, 1.02),
        title=f"Validation: {sweep.n_tumor} with a tumor, {sweep.n_healthy} without, "
        f"{sweep.n_groups} groups; bands 95 %",
    )  # fmt: skip
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower center")
    # Fixed ids and no date: the same figures give the same picture.
    with mpl.rc_context({"svg.hashsalt": "tumorlens"}):
        drawing.savefig(out, format="svg", metadata={"Date": None})
    plt.close(drawing)
