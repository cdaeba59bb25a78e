"""The page that a person reads of an exploration."""

from collections.abc import Mapping
from typing import Any

from tumorlens.reports.page import render_page
from tumorlens.study.explore.charts import draw_charts, plotly_script


def render_exploration(figures: Mapping[str, Any], drawn: Mapping[str, bytes]) -> str:
    """Fill the page from what explore.json holds and the PNGs it names, by name.

    The page needs no network: the charts' library and all pictures stand in it.
    """
    return render_page(
        "explore.html",
        figures=figures,
        drawn=drawn,
        charts=draw_charts(figures),
        script=plotly_script(),
        contrasts=main_contrasts(figures),
    )


def main_contrasts(figures: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Choose the comparison of each modality that leads: tumor with healthy where there is one."""
    return {
        modality: study["contrasts"][0]
        for modality, study in figures["features"].items()
        if study["contrasts"]
    }
