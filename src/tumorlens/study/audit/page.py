"""The page that a person reads of an audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.images.raster import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.reports.page import render_page
from tumorlens.study.audit.conflicts import Conflict
from tumorlens.study.audit.figures import serious_shortcuts
from tumorlens.study.audit.plots import draw_shortcuts
from tumorlens.study.audit.run import Audit

WORST_GROUPS = 6
MEMBERS = 8  # shown of one group
WORST_CONFLICTS = 12
SIDE = 112  # pixels: a name that were left in a head could not be read at this size


@dataclass(frozen=True)
class Shown:
    """One small picture."""

    picture: NDArray[np.uint8]  # [SIDE, SIDE]
    name: str
    label: str
    part: str


@dataclass(frozen=True)
class ShownGroup:
    """Some of the files of one picture."""

    n: int
    parts: Mapping[str, int]
    datasets: Sequence[str]
    labels: Sequence[str]
    members: Sequence[Shown]


def render_audit(audit: Audit, figures: Mapping[str, Any]) -> str:
    """Fill the page; it shows prepared pictures only, never a scan as it is stored."""
    return render_page(
        "audit.html",
        figures=figures,
        verdict=verdict(figures),
        serious=serious_shortcuts(figures),
        plots=draw_shortcuts(figures["shortcuts"]),
        groups=_worst_groups(audit),
        conflicts=[
            (conflict, [_shown(audit, i) for i in (conflict.link.a, conflict.link.b)])
            for conflict in _one_of_each_picture(audit)
        ],
    )


def _worst_groups(audit: Audit) -> list[ShownGroup]:
    """Choose pictures that stand on both sides of a split or a label, then the largest."""
    pictures = audit.groups.pictures
    order = np.argsort(pictures, kind="stable")
    starts = np.flatnonzero(np.diff(pictures[order], prepend=-1))
    held = [files for files in np.split(order, starts[1:]) if len(files) > 1]

    def badness(files: NDArray[np.int64]) -> tuple[int, int, int]:
        parts = {audit.parts[i] for i in files}
        leaks = "test" in parts and len(parts - {""}) > 1
        return int(leaks), len({audit.cases[i].label for i in files}), len(files)

    worst = sorted(held, key=badness, reverse=True)[:WORST_GROUPS]
    return [_shown_group(audit, files) for files in worst]


def _shown_group(audit: Audit, files: NDArray[np.int64]) -> ShownGroup:
    parts, counts = np.unique([audit.parts[i] or "-" for i in files], return_counts=True)
    # One of each part first, so that a leak is seen.
    by_part = sorted(files, key=lambda i: (audit.parts[i] != "test", i))
    ends = by_part[: MEMBERS // 2] + by_part[-(MEMBERS // 2) :]
    return ShownGroup(
        n=len(files),
        parts=dict(zip(parts.tolist(), counts.tolist(), strict=True)),
        datasets=sorted({audit.cases[i].dataset for i in files}),
        labels=sorted({audit.cases[i].label for i in files}),
        members=[_shown(audit, i) for i in dict.fromkeys(ends)],
    )


def _one_of_each_picture(audit: Audit) -> list[Conflict]:
    found: dict[int, Conflict] = {}
    for conflict in audit.conflicts:
        found.setdefault(int(audit.groups.pictures[conflict.link.a]), conflict)
    return list(found.values())[:WORST_CONFLICTS]


def _shown(audit: Audit, position: int) -> Shown:
    case = audit.cases[position]
    return Shown(
        picture=_small(audit, position),
        name=f"{case.dataset}: {case.path.name}",
        label=case.label,
        part=audit.parts[position],
    )


def _small(audit: Audit, position: int) -> NDArray[np.uint8]:
    """Prepare a scan for show; a grey square where it cannot, or text may lie over the head."""
    hidden = np.full((SIDE, SIDE), 200, np.uint8)
    if any(box.over_head for box in audit.survey.text[position]):
        return hidden
    try:
        scan = read_scan(audit.cases[position].path)
        pixels = prepare(scan, InputSpec(side=SIDE)).pixels
    except ImageError:
        return hidden
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.5), np.uint8)


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
