"""The page that a person reads of an audit, its small images, and the folder they stand in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tumorlens.files import write_file
from tumorlens.images.raster import encode_png
from tumorlens.inputs.prepare import InputSpec, prepare_file
from tumorlens.labels import UNLABELED
from tumorlens.language import translate
from tumorlens.records import Unusable
from tumorlens.reports.page import render_page
from tumorlens.study.audit.figures import audit_result, write_tables
from tumorlens.study.audit.result import (
    AuditResult,
    ConflictPair,
    Gallery,
    ImageGroup,
    Thumbnail,
    write_result,
)
from tumorlens.study.audit.run import Audit, Conflict
from tumorlens.study.audit.shortcuts import STAGES, Shortcut
from tumorlens.study.audit.text import THUMBNAIL_SIDE, blurred_thumbnail, why_hidden
from tumorlens.study.data.groups import LOOKED_FOR, NOT_KNOWABLE
from tumorlens.study.plotting import BLUE, ORANGE, svg

PAGE = "audit.html"
FOLDER = "images"  # of the small images, beside the page
MAX_GROUPS = 6
MAX_MEMBERS = 8  # of one group
MAX_CONFLICTS = 12
COLORS = (ORANGE, BLUE)  # of STAGES
Images = Mapping[str, NDArray[np.uint8]]  # square each, by the path of a Thumbnail


def write_audit(audit: Audit, out: Path, *, folders: Sequence[str], now: datetime) -> AuditResult:
    """Write the page, audit.json, tables and small images into a folder; return the figures."""
    gallery, images = make_gallery(audit)
    result = replace(audit_result(audit, folders=folders, now=now), gallery=gallery)
    for name, pixels in images.items():
        write_file(out / name, encode_png(pixels))
    write_tables(audit, out)
    write_result(result, out)
    write_file(out / PAGE, render_audit(result, images).encode(errors="replace"))
    return result


def render_audit(result: AuditResult, images: Images) -> str:
    """Fill the page; it shows prepared images only, never a scan as it is stored."""
    return render_page(
        "audit.html",
        figures=result,
        verdict=translate(verdict(result)),
        plots=draw_shortcuts(result.shortcuts),
        images=images,
    )


def verdict(result: AuditResult) -> str:
    """Return in one line what to make of it; the command line prints the same."""
    split = result.split
    if not split.name or split.leaks is None:
        return (
            f"{result.n:,} files are {result.images:,} images in "
            f"{result.groups:,} independent groups; no split was given to judge."
        )
    copies, total = split.leaks.copies[0], split.leaks.groups[0]
    if not total.n:
        return "The split has no test part among these files: there is nothing to judge."
    if not split.leaking:
        return (
            f"The split does not leak: none of its {total.n:,} test files has a copy, a look-alike "
            "neighboring slice or a recorded patient in train or validation. Looked for: "
            f"{LOOKED_FOR}. Cannot be known: {NOT_KNOWABLE}."
        )
    return (
        f"The split leaks: {total.share:.1%} of its {total.n:,} test files have a copy, a "
        f"neighboring slice or their patient in train or validation; {copies.share:.1%} have "
        "a copy there."
    )


def draw_shortcuts(rows: Sequence[Shortcut]) -> Markup | None:
    """Draw a bar for each family and stage, a panel for each task; None without figures."""
    measured = [row for row in rows if row.auc.value is not None]
    tasks = list(dict.fromkeys(row.task for row in measured))
    if not tasks:
        return None
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(3.4 * len(tasks) + 2, 3.4), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for panel, task in zip(panels[0], tasks, strict=True):
        _draw_task(panel, [row for row in measured if row.task == task])
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    return svg(figure)


def _draw_task(panel: Axes, rows: Sequence[Shortcut]) -> None:
    families = list(dict.fromkeys(row.family for row in rows))
    for offset, stage, color in zip((-0.2, 0.2), STAGES, COLORS, strict=True):
        bars = [row for row in rows if row.stage == stage]
        at = np.array([families.index(row.family) for row in bars]) + offset
        auc, low, high = np.array([(r.auc.value, r.auc.low, r.auc.high) for r in bars], float).T
        panel.barh(at, auc - 0.5, left=0.5, height=0.38, color=color, label=stage,
                   xerr=np.clip([auc - low, high - auc], 0, None),
                   error_kw={"lw": 1, "ecolor": "0.3"})  # fmt: skip
    panel.axvline(0.5, color="0.3", lw=0.8)
    panel.set(xlim=(0.4, 1.0), xlabel="AUC; 0.5 tells nothing", yticks=range(len(families)))
    panel.set_yticklabels(families)
    panel.set_title(f"{rows[0].task}, n={rows[0].auc.n:,}", fontsize=10)
    if not panel.yaxis_inverted():
        panel.invert_yaxis()


def make_gallery(audit: Audit) -> tuple[Gallery, Images]:
    """Choose the groups and conflicts most worth a look, and draw their small images."""
    images: dict[str, NDArray[np.uint8]] = {}

    def thumbnail(position: int, name: str) -> Thumbnail:
        images[name] = small_image(audit, position)
        case = audit.cases[position]
        title = f"{case.dataset}: {case.path.name}"
        return Thumbnail(name, title, case.label, audit.parts[position])

    groups = []
    for g, files in enumerate(_chosen_groups(audit)):
        names = [f"{FOLDER}/group_{g}_{m}.png" for m in range(MAX_MEMBERS)]
        members = map(thumbnail, _chosen_members(audit, files), names)
        parts, counts = np.unique([audit.parts[i] or "-" for i in files], return_counts=True)
        groups.append(ImageGroup(
            n=len(files),
            parts=dict(zip(parts.tolist(), counts.tolist(), strict=True)),
            datasets=tuple(sorted({audit.cases[i].dataset for i in files})),
            labels=tuple(sorted({audit.cases[i].label for i in files})),
            members=tuple(members),
        ))  # fmt: skip
    conflicts = []
    for c, conflict in enumerate(_chosen_conflicts(audit)):
        link, names = conflict.link, [f"{FOLDER}/conflict_{c}_{m}.png" for m in range(2)]
        pair = tuple(map(thumbnail, (link.a, link.b), names))
        conflicts.append(
            ConflictPair(conflict.kind, link.kind, float(link.score), link.orientation, pair)
        )
    return Gallery(tuple(groups), tuple(conflicts)), images


def _chosen_groups(audit: Audit) -> list[NDArray[np.int64]]:
    """Choose images with several labels, then those on both sides of a split, then the largest."""
    ids = audit.groups.image_ids
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    shared = [files for files in np.split(order, starts[1:]) if len(files) > 1]

    def weight(files: NDArray[np.int64]) -> tuple[int, bool, int]:
        parts = {audit.parts[i] for i in files}
        leaks = "test" in parts and len(parts - {""}) > 1
        return len({audit.cases[i].label for i in files} - {UNLABELED}), leaks, len(files)

    return sorted(shared, key=weight, reverse=True)[:MAX_GROUPS]


def _chosen_members(audit: Audit, files: NDArray[np.int64]) -> list[int]:
    """Choose files of both ends of an order that puts test first, so that a leak is seen."""
    by_part = sorted(files.tolist(), key=lambda i: (audit.parts[i] != "test", i))
    half = MAX_MEMBERS // 2
    return list(dict.fromkeys(by_part[:half] + by_part[-half:]))


def _chosen_conflicts(audit: Audit) -> list[Conflict]:
    """Choose one conflict of each image."""
    found: dict[int, Conflict] = {}
    for conflict in audit.conflicts:
        found.setdefault(int(audit.groups.image_ids[conflict.link.a]), conflict)
    return list(found.values())[:MAX_CONFLICTS]


def small_image(audit: Audit, position: int) -> NDArray[np.uint8]:
    """Prepare a scan as a thumbnail; a gray square where it must not be shown or is unusable."""
    path = audit.cases[position].path
    made = prepare_file(path, InputSpec(side=THUMBNAIL_SIDE))
    if isinstance(made, Unusable) or why_hidden(path, boxes=audit.survey.text[position]):
        return np.full((THUMBNAIL_SIDE, THUMBNAIL_SIDE), 200, np.uint8)
    return blurred_thumbnail(made.pixels)
