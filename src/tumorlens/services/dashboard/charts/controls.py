"""Negative controls: what labels dealt at random, blanked brains and file facts reach."""

from collections.abc import Mapping, Sequence
from typing import Any

from tumorlens.services.dashboard.charts.rates import figure_text
from tumorlens.services.dashboard.texts import Say


def control_rows(controls: Sequence[Mapping[str, Any]], say: Say) -> list[dict[str, Any]]:
    """Give the controls as a table, the bundle's own figure beside each."""
    return [
        {
            say("performance.task"): row["task"],
            say("performance.control"): row["control"],
            say("performance.detail"): row["detail"] or row["reason"],
            "AUC": figure_text(row, "auc"),
            say("performance.bundle_auc"): figure_text(row["model"], "auc") if row["model"] else "",
        }
        for row in controls
    ]
