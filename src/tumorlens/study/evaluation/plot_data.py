"""What every plot was drawn from, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tumorlens.files import write_table

Row = Mapping[str, Any]
FOLDER = "data"
_DELETION = ("deleted", *(f"{name}{end}" for name in ("heatmap", "middle", "random")
                          for end in ("", "_low", "_high")))  # fmt: skip


def write_plot_data(figures: Mapping[str, Any], out: Path) -> list[Path]:
    """Write a CSV for each plot that has data into `out`/data; gives what was written."""
    written = []
    for name, rows in plot_tables(figures).items():
        if not rows:
            continue
        path = out / FOLDER / f"{name}.csv"
        columns = list(dict.fromkeys(key for row in rows for key in row))
        write_table(path, columns, rows)
        written.append(path)
    return written


def plot_tables(figures: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Give the rows behind each plot, by the plot's name in `draw_plots`, and the thresholds."""
    decision = figures["decision"]
    return {
        "roc": list(_by_modality(figures["roc"])),
        "precision_recall": list(_by_modality(figures["precision_recall"])),
        "thresholds": list(_named(figures["thresholds"], "rows")),
        "calibration": list(_calibration(figures["calibration"])),
        "net_benefit": list(_columns(decision["net_benefit"],
                                     ("threshold", "model", "model_low", "model_high", "all"))),
        "risk_coverage": list(_columns(decision["risk_coverage"], ("coverage", "risk"))),
        "classes": list(_matrix(figures["classes"], "labels", "atoms")),
        "type": list(_matrix(figures["type"], "names", "names")),
        "subgroups": list(_subgroups(figures)),
        "checklists": [
            {"guideline": name, **row}
            for name, rows in figures.get("checklists", {}).items() for row in rows
        ],
        "robustness": list((figures.get("robustness") or {}).get("rows", ())),
        "deletion": list(_columns((figures.get("explanation") or {}).get("deletion"), _DELETION)),
        "controls": [_flat_control(row) for row in figures["controls"] or ()],
    }  # fmt: skip


def _by_modality(curves: Mapping[str, Any]) -> Iterator[Row]:
    for name, curve in curves.items():
        for row in _columns(curve, tuple(curve or ())):
            yield {"rows": name, **row}


def _named(tables: Mapping[str, Sequence[Row]], column: str) -> Iterator[Row]:
    for name, rows in tables.items():
        for row in rows:
            yield {column: name, **row}


def _columns(found: Mapping[str, Any] | None, names: Sequence[str]) -> Iterator[Row]:
    if found:
        for values in zip(*(found[name] for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def _calibration(found: Mapping[str, Any]) -> Iterator[Row]:
    for stage, part in (("before", found["before"]), ("as answered", found)):
        for row in part["bins"] if part else ():
            yield {"stage": stage, **row}


def _matrix(found: Mapping[str, Any] | None, rows: str, columns: str) -> Iterator[Row]:
    if found:
        for name, counts in zip(found[rows], found["confusion"], strict=True):
            yield {"label": name, **dict(zip(found[columns], counts, strict=True))}


def _subgroups(figures: Mapping[str, Any]) -> Iterator[Row]:
    groups = {"all": {"all": {"detection": figures["detection"]["all"], "type": figures["type"]}}}
    for kind, names in (groups | dict(figures["subgroups"])).items():
        for name, found in names.items():
            own = dict(_flat(found["detection"]))
            kinds = found["type"] or {}
            typed = {f"type_{key}": value for key, value in kinds.items()
                     if not isinstance(value, list)}  # fmt: skip
            typed |= _named_counts(kinds)
            yield {"kind": kind, "name": name, **own, **typed}


def _flat(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the figures of a subgroup in columns: the four counts and PPV and NPV among them."""
    for key, value in found.items():
        if key == "confusion":
            names = (("tn", "fp"), ("fn", "tp"))
            yield from ((names[i][j], value[i][j]) for i in (0, 1) for j in (0, 1))
        elif key == "predictive_values":
            for row in value:
                at = f"{row['prevalence']:g}"
                yield from ((f"{n}_at_{at}", x) for n, x in row.items() if n != "prevalence")
        else:
            yield key, value


def _named_counts(kinds: Mapping[str, Any]) -> Row:
    names = kinds.get("names", ())
    return {f"type_{a}_as_{b}": kinds["confusion"][i][j]
            for i, a in enumerate(names) for j, b in enumerate(names)}  # fmt: skip


def _flat_control(row: Row) -> Row:
    model = row["model"] or {}
    shown = {f"model_{key}": model.get(key) for key in ("auc", "auc_low", "auc_high")}
    return {key: value for key, value in row.items() if key != "model"} | shown
