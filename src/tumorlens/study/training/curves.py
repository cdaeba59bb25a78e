"""What a run found by epoch, and what each threshold does, as images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from tumorlens.records import figure_text
from tumorlens.study.plotting import BLUE, GRAY, ORANGE, PURPLE, svg_file, write_png

History = Sequence[Mapping[str, float]]
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
COLORS = (ORANGE, BLUE, GRAY, PURPLE)
METRICS = {
    "val_auc_ct": "CT detection AUC",
    "val_auc_mri": "MRI detection AUC",
    "val_type_accuracy": "type accuracy",
}


def draw_curves(history: History, best_epoch: int, out: Path) -> None:
    """Draw loss and validation metrics by epoch, with the chosen epoch marked."""
    figure, left, right = _two_panels()
    _plot(
        left, history, {"loss": "training (augmented)", "val_loss": "validation (averaged weights)"}
    )
    _plot(right, history, METRICS)
    left.set(ylabel="loss (nats)", yscale="log", title="Loss")
    right.set(title="Validation metrics")
    for axes in (left, right):
        axes.axvline(best_epoch, color="0.6", linestyle="--", label=f"chosen epoch {best_epoch}")
        axes.legend(fontsize=8)
    write_png(figure, out, dpi=120)


def draw_pretraining(history: History, out: Path) -> None:
    """Draw the loss of pretraining, and how far the projections are from a collapse."""
    figure, left, right = _two_panels()
    _plot(left, history, {"loss": ""})
    _plot(right, history, {"spread": ""})
    left.set(ylabel="loss", title="Loss of pretraining")
    right.set(ylim=(0, 1.1), title="Spread (0: collapsed, 1: isotropic)")
    write_png(figure, out, dpi=120)


def _two_panels() -> tuple[Figure, Axes, Axes]:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    return figure, left, right


def _plot(axes: Axes, history: History, columns: Mapping[str, str]) -> None:
    epochs = [row["epoch"] for row in history]
    for key, label in columns.items():
        axes.plot(epochs, [row[key] for row in history], label=label)
    axes.set(xlabel="epoch")
    axes.grid(alpha=0.3)


def draw_thresholds(
    thresholds: NDArray[np.float64],
    figures: Mapping[str, NDArray[np.float64]],
    *,
    chosen: int,
    title: str,
) -> str:
    """Draw figures at T thresholds, [T, 3] of value, low and high, as a file of SVG."""
    drawing, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, rows), color in zip(figures.items(), COLORS, strict=True):
        value, low, high = rows.T
        label = f"{name} {figure_text(value[chosen])}"
        axes.plot(thresholds, value, color=color, label=label, drawstyle="steps-pre")
        axes.fill_between(thresholds, low, high, color=color, alpha=0.12, step="pre", lw=0)
    used = thresholds[chosen]
    axes.axvline(used, color="0.3", linestyle="--", label=f"chosen threshold {used:.4f}")
    axes.set(xscale="logit", ylim=(-0.02, 1.02), title=title)
    axes.set_xlabel("threshold of the tumor probability (log odds)")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower center")
    return svg_file(drawing)
