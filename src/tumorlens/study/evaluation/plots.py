"""The plots of an evaluation, as SVG to be put into a page, and as tables of what they show."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tumorlens.files import write_table
from tumorlens.json_records import to_json
from tumorlens.records import Estimate
from tumorlens.reports.evaluation import (
    Control,
    Curve,
    Detection,
    EvaluationResult,
    Matrix,
    Reliability,
    Robustness,
    Subgroup,
)
from tumorlens.study.evaluation.robustness import AS_STORED, PERTURBATIONS
from tumorlens.study.plotting import COLORS, NAMES, QUIET, svg
from tumorlens.study.stats.intervals import ENDS

_SIZE = (5, 4.5)
MIN_DARK = 0.72  # share from which a cell of a matrix is dark: white stands out from it, black less
_ORDERS = {"heatmap": (COLORS["mri"], "-", "by the heatmap"),
           "middle": (COLORS["ct"], "--", "from the center of the head"),
           "random": (QUIET, ":", "at random")}  # fmt: skip
Row = Mapping[str, Any]  # of a table, by column
FOLDER = "data"


def draw_plots(result: EvaluationResult) -> dict[str, Markup]:
    """Draw each plot by its name; what the result does not hold is not drawn."""
    drawn = {name: draw(result) for name, draw in PLOTS.items()}
    return {name: plot for name, plot in drawn.items() if plot is not None}


def _draw_roc(result: EvaluationResult) -> Markup:
    """Draw ROC curves by modality, each with its operating point."""
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    for name, curve, found in _by_modality(result.roc, result):
        label = f"{NAMES[name]}: AUC {_three(found.auc)}, n={found.n}"
        axes.plot(
            curve["fpr"], curve["tpr"], drawstyle="steps-post", label=label, color=COLORS[name]
        )
        if found.specificity.value is not None and found.sensitivity.value is not None:
            at = 1 - found.specificity.value, found.sensitivity.value
            axes.plot(*at, "o", color=COLORS[name])
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, operating point marked")
    _legend(axes)
    return svg(drawing)


def _draw_precision_recall(result: EvaluationResult) -> Markup | None:
    """Draw precision by recall; the dotted lines are the shares of tumors."""
    if not result.precision_recall:
        return None
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    for name, curve, found in _by_modality(result.precision_recall, result):
        label = f"{NAMES[name]}: average precision {_three(found.average_precision)}"
        axes.plot(curve["recall"], curve["precision"], label=label, color=COLORS[name])
        axes.axhline(found.n_tumor / found.n, color=COLORS[name], linestyle=":", lw=0.8)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", ylim=(0, 1.02),
             title="Precision at the share of tumors here")  # fmt: skip
    _legend(axes)
    return svg(drawing)


def _by_modality(
    curves: Mapping[str, Curve | None], result: EvaluationResult
) -> Iterator[tuple[str, Curve, Detection]]:
    for name, curve in curves.items():
        if curve is not None:
            yield name, curve, result.detection[name]


def _three(found: Estimate) -> str:
    return "-" if found.value is None else f"{found.value:.3f}"


def _draw_calibration(result: EvaluationResult) -> Markup:
    """Draw the reliability before and after calibration, over the counts of the probabilities."""
    found = result.calibration
    drawing, (axes, counts) = plt.subplots(
        2, 1, figsize=(5, 5.4), height_ratios=(4, 1), sharex=True, layout="constrained"
    )
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    if found.before:
        axes.plot(*_points(found.before), "s--", color=QUIET, ms=4, label="before")
    at, observed = _points(found)
    axes.plot(at, observed, "o-", color=COLORS["mri"], ms=5, label="as answered")
    for row in found.bins:
        axes.plot([row.predicted] * 2, _bounds(row.observed), color=COLORS["mri"], lw=0.8)
    axes.set(ylabel="share with a tumor", ylim=(-0.02, 1.02),
             title=f"Calibration: ECE {_three(found.ece)}, n={found.n}")  # fmt: skip
    if found.before:
        axes.legend(fontsize=8)
    counts.bar(at, [row.n for row in found.bins], width=0.015, color=COLORS["mri"])
    counts.set(xlabel="predicted tumor probability, bins of equally many", ylabel="scans")
    return svg(drawing)


def _points(found: Reliability) -> tuple[list[float], list[float]]:
    return [row.predicted for row in found.bins], _values(row.observed for row in found.bins)


def _values(found: Iterable[Estimate], end: str = "value") -> list[float]:
    """Return one end of estimates; what could not be shown is NaN, which is not drawn."""
    ends = (getattr(estimate, end) for estimate in found)
    return [np.nan if value is None else value for value in ends]


def _bounds(found: Estimate) -> list[float]:
    return [*_values([found], "low"), *_values([found], "high")]


def _line(
    axes: Axes,
    at: Sequence[float],
    found: Sequence[Estimate],
    *,
    style: str = "-",
    color: str,
    label: str,
    ms: float = 0,
) -> None:
    """Draw estimates as a line with a band."""
    axes.plot(at, _values(found), style, color=color, label=label, ms=ms)
    low, high = _values(found, "low"), _values(found, "high")
    if np.isfinite(low).any():
        axes.fill_between(at, low, high, color=color, alpha=0.15, lw=0)


def _draw_net_benefit(result: EvaluationResult) -> Markup | None:
    """Draw the decision curve with its band, against flagging all and flagging none."""
    found = result.decision.net_benefit
    if found is None:
        return None
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    axes.axhline(0, color=QUIET, lw=0.8, label="flag none")
    axes.plot(found.threshold, found.all, color=QUIET, linestyle="--", label="flag all")
    _line(axes, found.threshold, found.model, color=COLORS["mri"], label="flag by the model")
    axes.axvline(result.detection["all"].threshold, color=COLORS["ct"], linestyle=":",
                 label="the bundle's threshold")  # fmt: skip
    top = found.prevalence
    axes.set(ylim=(-0.25 * top, 1.1 * top), xlabel="threshold probability",
             ylabel="net benefit", title=f"Decision curve, n={found.n}")  # fmt: skip
    _legend(axes)
    return svg(drawing)


def _draw_risk_coverage(result: EvaluationResult) -> Markup:
    """Draw the error among the scans answered, and the point that the predictor chose."""
    found, chosen = result.decision.risk_coverage, result.decision.abstention
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    axes.plot(found.coverage, found.risk, color=COLORS["mri"], label="answering the surest first")
    if chosen.error.value is not None:
        axes.plot(chosen.answered / chosen.n, chosen.error.value, "o", color=COLORS["ct"],
                  label="with the bundle's abstention")  # fmt: skip
    axes.set(xlim=(0, 1.02), xlabel="share of scans answered", ylabel="share of them wrong",
             title=f"Risk against coverage, n={found.n}")  # fmt: skip
    axes.set_ylim(bottom=0)
    _legend(axes)
    return svg(drawing)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)


def _draw_classes(result: EvaluationResult) -> Markup:
    found = result.classes
    title = f"Label against answer, n={found.n}"
    return _draw_matrix(found.confusion, found.labels, found.atoms, title)


def _draw_type(result: EvaluationResult) -> Markup | None:
    found = result.type
    if found is None:
        return None
    return _draw_matrix(
        found.confusion, found.names, found.names, f"Type given a tumor, n={found.n}"
    )


def _draw_matrix(counts: Matrix, rows: Sequence[str], columns: Sequence[str], title: str) -> Markup:
    table = np.array(counts)
    size = (1.6 + 0.8 * len(columns), 1.4 + 0.45 * len(rows))
    drawing, axes = plt.subplots(figsize=size, layout="constrained")
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    edges = [np.arange(length + 1) - 0.5 for length in table.shape]
    axes.pcolormesh(edges[1], edges[0], shares, cmap="Blues", vmin=0, vmax=1)  # cells, not pixels
    axes.invert_yaxis()
    for (row, column), count in np.ndenumerate(table):
        color = "white" if shares[row, column] > MIN_DARK else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_title(title, fontsize=10)
    return svg(drawing)


def _draw_subgroups(result: EvaluationResult) -> Markup | None:
    """Draw the AUC of every subgroup that has one, with its interval, under that of all."""
    if not result.subgroups:
        return None
    every = result.detection["all"]
    rows = [("all scans", every)] + [
        (f"{kind}: {name}", found.detection)
        for kind, names in result.subgroups.items()
        if len(names) > 1  # one name alone is all scans again
        for name, found in names.items()
    ]
    rows = [(name, found) for name, found in rows if found.auc.value is not None]
    drawing, axes = plt.subplots(figsize=(6.2, 1.2 + 0.27 * len(rows)), layout="constrained")
    for at, (_, found) in enumerate(rows):
        _bar(axes, at, found.auc, color=COLORS["all" if found is every else "mri"])
    if rows:
        axes.axvline(_values([rows[0][1].auc])[0], color=QUIET, lw=0.8, linestyle=":")
    _name_rows(axes, [f"{name}, n={found.n}" for name, found in rows])
    axes.set(xlabel="AUC, 95 % by groups", title="Detection in subgroups")
    return svg(drawing)


def _draw_controls(result: EvaluationResult) -> Markup | None:
    """Draw each control's AUC with the model's on the same scans as an open mark."""
    if not result.controls:
        return None
    rows = [row for row in result.controls if row.auc.value is not None and not row.is_detail]
    drawing, axes = plt.subplots(figsize=(6.2, 1.4 + 0.27 * len(rows)), layout="constrained")
    for at, row in enumerate(rows):
        _bar(axes, at, row.auc, color=COLORS["ct"])
        if row.model:
            axes.plot(_values([row.model.auc]), at, "o", color=COLORS["mri"], fillstyle="none")
    axes.axvline(0.5, color=QUIET, lw=0.8)
    _name_rows(axes, [_name_of(row) for row in rows])
    axes.set(xlabel="AUC; 0.5 is chance; open: the model's", title="Negative controls")
    return svg(drawing)


def _name_of(row: Control) -> str:
    task = row.task if row.task == "type" else row.task.upper()
    return f"{task}: {row.control}{f' ({row.detail})' if row.is_tree else ''}"


def _bar(axes: Axes, at: int, found: Estimate, *, color: str) -> None:
    axes.plot(_values([found]), at, "o", color=color, ms=4)
    axes.plot(_bounds(found), [at, at], color=color, lw=1.4)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _draw_robustness(result: EvaluationResult) -> Markup | None:
    """Draw the AUC against the strength of each kind of damage, by modality."""
    found = result.robustness
    if found is None:
        return None
    drawing, panels = plt.subplots(2, 4, figsize=(9.4, 4.9), sharey=True, layout="constrained")
    for axes, (name, kind) in zip(panels.flat, PERTURBATIONS.items(), strict=False):
        for task in ("ct", "mri"):
            _draw_damage(axes, found, name, task)
        axes.axhline(0.5, color=QUIET, lw=0.8)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(kind.unit, fontsize=8)
        axes.tick_params(labelsize=8)
    legend = panels.flat[len(PERTURBATIONS)]
    legend.axis("off")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    legend.legend(handles, labels, loc="center", fontsize=9, title=f"n={found.n}")
    for axes in panels[:, 0]:
        axes.set_ylabel("AUC")
    return svg(drawing)


def _draw_damage(axes: Axes, found: Robustness, name: str, task: str) -> None:
    """Draw one modality over the strengths in order, the scan as stored among them."""
    neutral = PERTURBATIONS[name].neutral
    points = sorted(
        (neutral if row.perturbation == AS_STORED else row.strength, i, row.auc)
        for i, row in enumerate(found.rows)
        if row.task == task and row.perturbation in (name, AS_STORED) and row.auc.value is not None
    )
    if not points:
        return
    at, aucs = [strength for strength, _, _ in points], [auc for _, _, auc in points]
    _line(axes, at, aucs, style="o-", ms=3.5, color=COLORS[task], label=NAMES[task])
    stored = _values([auc for strength, _, auc in points if strength == neutral][:1])
    axes.plot([neutral] * len(stored), stored, "s", ms=5.5, color=COLORS[task], fillstyle="none")
    if "JPEG" in name or "resolution" in name:
        axes.set_xlim(max(at) * 1.05, 0)  # worse to the right, as everywhere


def _draw_deletion(result: EvaluationResult) -> Markup | None:
    """Draw the tumor probability by the share of the head deleted, in three orders."""
    found = result.explanation and result.explanation.deletion
    if not found:
        return None
    drawing, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    at = [100 * share for share in found.deleted]
    for name, (color, style, label) in _ORDERS.items():
        _line(axes, at, getattr(found, name), style=style, color=color, label=label)
    axes.set(xlabel="deleted, % of the head", ylabel="mean tumor probability", ylim=(0, 1.02),
             title=f"Deletion, n={found.n} flagged tumors")  # fmt: skip
    axes.legend(fontsize=8)
    return svg(drawing)


PLOTS: Mapping[str, Callable[[EvaluationResult], Markup | None]] = {
    "roc": _draw_roc,
    "calibration": _draw_calibration,
    "precision_recall": _draw_precision_recall,
    "net_benefit": _draw_net_benefit,
    "risk_coverage": _draw_risk_coverage,
    "classes": _draw_classes,
    "type": _draw_type,
    "subgroups": _draw_subgroups,
    "controls": _draw_controls,
    "robustness": _draw_robustness,
    "deletion": _draw_deletion,
}


def write_plot_data(result: EvaluationResult, out: Path) -> None:
    """Write a CSV for each plot that has data into `out`/data."""
    for name, rows in plot_tables(result).items():
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            write_table(out / FOLDER / f"{name}.csv", columns, rows)


def plot_tables(result: EvaluationResult) -> dict[str, list[Row]]:
    """Return the rows behind each plot, by the plot's name in `draw_plots`, and the thresholds."""
    calibration, decision = result.calibration, result.decision
    classes, kinds = result.classes, result.type
    every = {"all": {"all": Subgroup(result.detection["all"], kinds)}}
    return {
        "roc": list(_curves(result.roc)),
        "precision_recall": list(_curves(result.precision_recall)),
        "thresholds": list(_named("rows", result.thresholds)),
        "calibration": list(_named("stage", {
            "before": calibration.before.bins if calibration.before else (),
            "as answered": calibration.bins,
        })),
        "net_benefit": list(_columns(decision.net_benefit, "threshold", "model", "all")),
        "risk_coverage": list(_columns(decision.risk_coverage, "coverage", "risk")),
        "classes": list(_matrix(classes.confusion, classes.labels, classes.atoms)),
        "type": list(_matrix(kinds.confusion, kinds.names, kinds.names)) if kinds else [],
        "subgroups": [
            {"kind": kind, "name": name, **_subgroup(found)}
            for kind, names in (every | dict(result.subgroups)).items()
            for name, found in names.items()
        ],
        "checklists": list(_named("guideline", result.checklists)),
        "robustness": list(to_json(result.robustness.rows)) if result.robustness else [],
        "deletion": list(_columns(
            result.explanation and result.explanation.deletion,
            "deleted", "heatmap", "middle", "random",
        )),
        "controls": [_flat_control(row) for row in to_json(result.controls or ())],
    }  # fmt: skip


def _curves(curves: Mapping[str, Mapping[str, Sequence[float]] | None]) -> Iterator[Row]:
    for name, curve in curves.items():
        for values in zip(*curve.values(), strict=True) if curve else ():
            yield {"rows": name, **dict(zip(curve or (), values, strict=True))}


def _named(column: str, tables: Mapping[str, Iterable[object]]) -> Iterator[Row]:
    for name, rows in tables.items():
        for row in rows:
            yield {column: name, **to_json(row)}


def _columns(found: object, *names: str) -> Iterator[Row]:
    """Yield the rows of columns of one length, those of estimates with their bounds."""
    stored = to_json(found) or {}
    keys = [name + end for name in names for end in ENDS if name + end in stored]
    for values in zip(*(stored[key] for key in keys), strict=True):
        yield dict(zip(keys, values, strict=True))


def _matrix(
    counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str]
) -> Iterator[Row]:
    for name, row in zip(rows, counts, strict=True):
        yield {"label": name, **dict(zip(columns, row, strict=True))}


def _subgroup(found: Subgroup) -> dict[str, Any]:
    """Return the figures of a subgroup in columns: the four counts and PPV and NPV among them."""
    row = to_json(found.detection)
    (row["tn"], row["fp"]), (row["fn"], row["tp"]) = row.pop("confusion")
    for values in row.pop("predictive_values"):
        at = f"{values['prevalence']:g}"
        row |= {
            f"{name}{end}_at_{at}": values[name + end] for name in ("ppv", "npv") for end in ENDS
        }
    kinds = found.type
    if kinds is not None:
        plain = {key: value for key, value in to_json(kinds).items() if not isinstance(value, list)}
        row |= {f"type_{key}": value for key, value in plain.items()}
        for own, counts in zip(kinds.names, kinds.confusion, strict=True):
            row |= {f"type_{own}_as_{k}": n for k, n in zip(kinds.names, counts, strict=True)}
    return row


def _flat_control(row: dict[str, Any]) -> Row:
    model = row.pop("model") or {}
    return row | {f"model_auc{end}": model.get(f"auc{end}") for end in ENDS}
