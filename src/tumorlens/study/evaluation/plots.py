"""The plots of an evaluation, as SVG text to be put into a page."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES = {"all": "all scans", "ct": "CT", "mri": "MRI"}


def draw_plots(figures: Mapping[str, Any]) -> dict[str, Markup]:
    """Draw ROC, calibration and confusion pictures from the figures of evaluation.json."""
    plots = {"roc": _roc(figures), "calibration": _calibration(figures["calibration"])}
    classes = figures["classes"]
    plots["classes"] = _matrix(
        classes["confusion"], classes["labels"], classes["atoms"], f"Label against answer, "
        f"n={classes['n']}",
    )  # fmt: skip
    if figures["type"]:
        kind = figures["type"]
        plots["type"] = _matrix(
            kind["confusion"], kind["names"], kind["names"], f"Type given a tumor, n={kind['n']}"
        )
    return plots


def _svg(figure: Figure) -> Markup:
    text = io.StringIO()
    # Fixed ids and no date: the same figures give the same page.
    with mpl.rc_context({"svg.hashsalt": "tumorlens"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return Markup(text.getvalue()[text.getvalue().index("<svg") :])


def _roc(figures: Mapping[str, Any]) -> Markup:
    drawing, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    for name, curve in figures["roc"].items():
        if curve is None:
            continue
        found = figures["detection"][name]
        axes.plot(
            curve["fpr"], curve["tpr"], drawstyle="steps-post",
            label=f"{NAMES[name]}: AUC {found['auc']:.3f}, n={found['n']}",
        )  # fmt: skip
        axes.plot(
            1 - found["specificity"], found["sensitivity"], "o", color=axes.lines[-1].get_color()
        )
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, operating point marked")
    if len(axes.lines) > 1:
        axes.legend(fontsize=8)
    return _svg(drawing)


def _calibration(found: Mapping[str, Any]) -> Markup:
    drawing, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    predicted = [row["predicted"] for row in found["bins"]]
    observed = [row["observed"] for row in found["bins"]]
    axes.plot(predicted, observed, "o-")
    axes.set(
        xlabel="predicted tumor probability", ylabel="share with a tumor",
        title=f"Calibration: ECE {found['ece']:.3f}, n={found['n']}",
    )  # fmt: skip
    return _svg(drawing)


def _matrix(
    counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str], title: str
) -> Markup:
    table = np.array(counts)
    size = (1.6 + 0.8 * len(columns), 1.4 + 0.45 * len(rows))
    drawing, axes = plt.subplots(figsize=size, layout="constrained")
    axes.imshow(table / np.maximum(table.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    _write_counts(axes, table)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_title(title, fontsize=10)
    return _svg(drawing)


def _write_counts(axes: Axes, table: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(table):
        dark = count > 0.6 * table[row].sum()
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
