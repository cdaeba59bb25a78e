"""The page that a person reads of an audit, and the folder that it stands in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tumorlens.files import replacing
from tumorlens.reports.page import render_page
from tumorlens.study.audit.figures import audit_figures, serious_shortcuts
from tumorlens.study.audit.gallery import (
    Gallery,
    gallery_figures,
    make_gallery,
    write_gallery,
)
from tumorlens.study.audit.plots import draw_shortcuts
from tumorlens.study.audit.run import Audit
from tumorlens.study.audit.tables import write_figures, write_tables

PAGE = "audit.html"


def write_audit(
    audit: Audit, out: Path, *, folders: Sequence[str], now: datetime
) -> dict[str, Any]:
    """Write the page, audit.json, tables and small pictures into a folder; give the figures."""
    figures = audit_figures(audit, folders=folders, now=now)
    gallery = make_gallery(audit)
    write_gallery(gallery, out)
    write_tables(audit, out)
    write_figures(figures | {"gallery": gallery_figures(gallery)}, out)
    with replacing(out / PAGE) as partial:
        partial.write_text(render_audit(figures, gallery), encoding="utf-8", errors="replace")
    return figures


def render_audit(figures: Mapping[str, Any], gallery: Gallery) -> str:
    """Fill the page; it shows prepared pictures only, never a scan as it is stored."""
    return render_page(
        "audit.html",
        figures=figures,
        verdict=verdict(figures),
        serious=serious_shortcuts(figures),
        plots=draw_shortcuts(figures["shortcuts"]),
        groups=gallery.groups,
        conflicts=gallery.conflicts,
    )


def verdict(figures: Mapping[str, Any]) -> str:
    """Say in one line what to make of it; the command line prints the same."""
    split = figures["split"]
    if not split["name"]:
        return (
            f"{figures['n']:,} files are {figures['pictures']:,} pictures in "
            f"{figures['groups']:,} independent groups; no split was given to judge."
        )
    total = split["leaks"]["groups"][0]
    if not total["n"]:
        return "The split has no test part among these files: there is nothing to judge."
    if not split["leaking"]:
        return (
            f"The split does not leak: none of its {total['n']:,} test files has a copy, a "
            "neighboring slice or its patient in train or validation."
        )
    copies = split["leaks"]["copies"][0]
    return (
        f"The split leaks: {total['share']:.1%} of its {total['n']:,} test files have a copy, a "
        f"neighboring slice or their patient in train or validation; {copies['share']:.1%} have "
        "a copy there."
    )
