"""Two bundles, or two evaluations, beside one another."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.dots import dot_of, interval_dots
from tumorlens.services.dashboard.charts.rates import figure_text
from tumorlens.services.dashboard.texts import Say

MEASURES = ("auc", "sensitivity", "specificity")


def comparison_dots(against: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw by how much a bundle is better than another on the same scans; 0 is no difference."""
    dots = [
        dot_of(row, f"{say(f'rows.{name}')}: {say(f'performance.{measure}')}",
               f"{measure}_difference", groups=say("explore.groups"))
        for name, row in against["rows"].items()
        for measure in MEASURES
        if row.get(f"{measure}_difference") is not None
    ]  # fmt: skip
    title = say("performance.difference", other=against["bundle"], n=f"{against['n']:,}")
    return interval_dots(dots, title=title, axis=say("performance.gain"), marks=(0.0,))


def same_scans(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two evaluations are of the same scans, as far as they say."""
    names = ("part", "n", "datasets", "labels")
    return all(one[name] == other[name] for name in names) and (
        one["split"]["fingerprint"] == other["split"]["fingerprint"]
    )


def pair_rows(one: Mapping[str, Any], other: Mapping[str, Any], say: Say) -> list[dict[str, str]]:
    """Give a table with a row for each modality and measure, and a column for each evaluation."""
    heads = [f"1: {one['bundle']}, {one['part']}", f"2: {other['bundle']}, {other['part']}"]
    counts = {"sensitivity": "n_tumor", "specificity": "n_healthy"}
    rows = []
    for name in one["detection"]:
        for measure in MEASURES:
            texts = [
                figure_text(e["detection"][name], measure, counts.get(measure, "n"))
                for e in (one, other)
            ]
            row = {say("performance.rows"): say(f"rows.{name}"),
                   say("performance.measure"): say(f"performance.{measure}")}  # fmt: skip
            rows.append(row | dict(zip(heads, texts, strict=True)))
    return rows
