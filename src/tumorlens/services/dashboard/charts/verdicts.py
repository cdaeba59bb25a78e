"""Findings of a hypothesis and the verdict that a rule makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import BLUE, GREY, VERMILION, Badge
from tumorlens.services.dashboard.charts.dots import Dot, counted, interval_dots
from tumorlens.services.dashboard.texts import Say

BADGES: Mapping[str, Badge] = {"supported": "blue", "not supported": "red", "undecided": "gray"}
ICONS: Mapping[str, str] = {
    "supported": ":material/check_circle:",
    "not supported": ":material/cancel:",
    "undecided": ":material/help:",
}
COLORS: Mapping[str, str] = {"supported": BLUE, "not supported": VERMILION, "undecided": GREY}


def findings_figure(findings: Sequence[Mapping[str, Any]], measure: str, say: Say) -> go.Figure:
    """Draw the findings of one measure, colored by the verdict of each."""
    own = [row for row in findings if row["measure"] == measure and row["value"] is not None]
    dots = [
        Dot(row["where"], row["value"], row["value_low"], row["value_high"],
            counted(row, groups=say("explore.groups")), COLORS[row["verdict"]])
        for row in own
    ]  # fmt: skip
    bounds = (0.0, 1.05) if measure == "AUC" or measure.startswith("p,") else None
    sums = {key: sum(row[key] or 0 for row in own) or None for key in ("n", "n_groups")}
    title = f"{measure} ({counted(sums, groups=say('explore.groups'))})"
    return interval_dots(dots, title=title, axis=measure, bounds=bounds)


def told(finding: Mapping[str, Any], say: Say) -> str:
    """Write a finding with its interval and counts."""
    where, verdict = finding["where"], say(f"verdict.{finding['verdict']}")
    if finding["value"] is None:
        return f"{where}: {finding['note']} ({verdict})"
    low, high = finding["value_low"], finding["value_high"]
    interval = "" if low is None else f"{low:.3f}-{high:.3f}"
    inside = ", ".join(filter(None, [interval, counted(finding, groups=say("explore.groups"))]))
    note = f"; {finding['note']}" if finding["note"] else ""
    return f"{where}: {finding['measure']} {finding['value']:.3f} ({inside}){note} ({verdict})"


def finding_rows(findings: Sequence[Mapping[str, Any]], say: Say) -> list[dict[str, Any]]:
    """Give the findings as a table."""
    return [
        {
            say("hypotheses.where"): row["where"],
            say("hypotheses.measure"): row["measure"],
            say("hypotheses.value"): row["value"],
            say("hypotheses.low"): row["value_low"],
            say("hypotheses.high"): row["value_high"],
            "n": row["n"],
            say("explore.groups"): row["n_groups"],
            say("hypotheses.verdict"): say(f"verdict.{row['verdict']}"),
        }
        for row in findings
    ]
