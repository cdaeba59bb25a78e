"""Small pictures of what an audit found: prepared, never a scan as it is stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.files import replacing
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.study.audit.conflicts import Conflict
from tumorlens.study.audit.run import Audit
from tumorlens.study.audit.text import why_hidden

FOLDER = "pictures"  # beside audit.json
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


@dataclass(frozen=True)
class Gallery:
    """The groups and conflicts worth a look."""

    groups: Sequence[ShownGroup]
    conflicts: Sequence[tuple[Conflict, Sequence[Shown]]]


def make_gallery(audit: Audit) -> Gallery:
    """Choose the worst groups and one conflict of each picture, and draw them."""
    return Gallery(
        _worst_groups(audit),
        [
            (conflict, [_shown(audit, i) for i in (conflict.link.a, conflict.link.b)])
            for conflict in _one_of_each_picture(audit)
        ],
    )


def gallery_figures(gallery: Gallery) -> dict[str, Any]:
    """Give what audit.json tells of a gallery; pictures by the names `write_gallery` uses."""
    names = iter(name for name, _ in _named(gallery))

    def members(shown: Sequence[Shown]) -> list[dict[str, str]]:
        return [{"picture": next(names), "name": s.name, "label": s.label, "part": s.part}
                for s in shown]  # fmt: skip

    groups = [
        {"n": group.n, "parts": dict(group.parts), "datasets": list(group.datasets),
         "labels": list(group.labels), "members": members(group.members)}
        for group in gallery.groups
    ]  # fmt: skip
    conflicts = [
        {"kind": conflict.kind, "link": conflict.link.kind, "score": float(conflict.link.score),
         "orientation": conflict.link.orientation, "members": members(shown)}
        for conflict, shown in gallery.conflicts
    ]  # fmt: skip
    return {"groups": groups, "conflicts": conflicts}


def write_gallery(gallery: Gallery, out: Path) -> None:
    """Write the pictures of a gallery below a folder."""
    for name, shown in _named(gallery):
        with replacing(out / name) as partial:
            partial.write_bytes(cv2.imencode(".png", shown.picture)[1].tobytes())


def _named(gallery: Gallery) -> Iterator[tuple[str, Shown]]:
    for g, group in enumerate(gallery.groups):
        for m, shown in enumerate(group.members):
            yield f"{FOLDER}/group_{g}_{m}.png", shown
    for c, (_, pair) in enumerate(gallery.conflicts):
        for m, shown in enumerate(pair):
            yield f"{FOLDER}/conflict_{c}_{m}.png", shown


def _worst_groups(audit: Audit) -> list[ShownGroup]:
    """Choose pictures that stand on both sides of a split or a label, then the largest."""
    pictures = audit.groups.image_ids
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
        found.setdefault(int(audit.groups.image_ids[conflict.link.a]), conflict)
    return list(found.values())[:WORST_CONFLICTS]


def _shown(audit: Audit, position: int) -> Shown:
    case = audit.cases[position]
    return Shown(
        picture=small_image(audit, position),
        name=f"{case.dataset}: {case.path.name}",
        label=case.label,
        part=audit.parts[position],
    )


def small_image(audit: Audit, position: int) -> NDArray[np.uint8]:
    """Prepare a scan for show; a gray square where it must not be shown or cannot be prepared."""
    hidden, path = np.full((SIDE, SIDE), 200, np.uint8), audit.cases[position].path
    if why_hidden(path, boxes=audit.survey.text[position]):
        return hidden
    try:
        pixels = prepare(read_scan(path), InputSpec(side=SIDE)).pixels
    except ImageError:
        return hidden
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.5), np.uint8)
