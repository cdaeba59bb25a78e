"""What every plot was drawn from, as tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumorlens.files import write_table
from tumorlens.json_records import to_json
from tumorlens.reports.evaluation.result import EvaluationResult, Subgroup
from tumorlens.study.stats.intervals import ENDS

Row = Mapping[str, Any]  # of a table, by column
FOLDER = "data"


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
