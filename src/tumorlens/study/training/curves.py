"""The learning curves of a run, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def draw_curves(history: Sequence[Mapping[str, float]], best_epoch: int, out: Path) -> None:
    """Draw loss and validation figures by epoch, with the chosen epoch marked."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history], label="training (augmented)")
    left.plot(epochs, [row["val_loss"] for row in history], label="validation (averaged weights)")
    left.set(xlabel="epoch", ylabel="set loss (nats)", yscale="log", title="Loss")
    for key, name in (
        ("val_auc_ct", "CT detection AUC"),
        ("val_auc_mri", "MRI detection AUC"),
        ("val_type_accuracy", "type accuracy"),
    ):
        right.plot(epochs, [row[key] for row in history], label=name)
    right.set(xlabel="epoch", title="Validation figures")
    for axes in (left, right):
        axes.axvline(best_epoch, color="0.6", linestyle="--", label=f"chosen epoch {best_epoch}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def draw_pretraining(history: Sequence[Mapping[str, float]], out: Path) -> None:
    """Draw the loss of pretraining, and how far the projections are from a collapse."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history])
    left.set(xlabel="epoch", ylabel="loss", title="Loss of pretraining")
    right.plot(epochs, [row["spread"] for row in history])
    right.set(xlabel="epoch", ylim=(0, 1.1), title="Spread (0: collapsed, 1: isotropic)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=120)
    plt.close(figure)
