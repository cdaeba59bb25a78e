"""Slices become series: grouped by identity and geometry, in order along their normal.

Neither file names nor instance numbers say where a slice lies, and tags of spacing are often
wrong: order and spacing come from positions alone. A series is used as a whole where it is one
stack of CT or MR slices of a head; every other one has its reason.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tumorlens.images.slices import SliceHeader, normal_of
from tumorlens.losses import counted
from tumorlens.records import Modality, Plane

MIN_SLICES = 5
SAME_POSITION_MM = 0.01
SAME_ORIENTATION = 0.01  # of a cosine; about half a degree
EVEN = 0.05  # of the median distance; beyond it slices are uneven
MAX_GAPS = 1 / 3  # of the steps; with more of them, slices are uneven rather than missing
MIN_TILT_DEGREES = 1.0  # between the normal and the way from slice to slice
# Values of ImageType and ComplexImageComponent that no slice as it was taken has.
_NOT_SLICES = {
    "LOCALIZER": "is a localizer",
    "SCREEN SAVE": "is a copy of a screen",
    "SECONDARY": "is secondary: made from other images",
    "PROJECTION IMAGE": "is a projection",
    "MIP": "is a projection (MIP)",
    "MINIP": "is a projection (MinIP)",
    "MPR": "was reformatted (MPR)",
    "MOSAIC": "is a mosaic: many slices drawn into one image",
    "ADC": "is a map of diffusion (ADC)",
    "FA": "is a map of diffusion (FA)",
    "P": "is a phase image",
    "PHASE": "is a phase image",
    "PHASE MAP": "is a phase image",
    "R": "is the real part of a signal",
    "REAL": "is the real part of a signal",
    "I": "is the imaginary part of a signal",
    "IMAGINARY": "is the imaginary part of a signal",
}
COLUMNS = ("series", "path", "modality", "plane", "slices", "spacing_mm", "rows", "columns",
           "row_mm", "column_mm", "sequence", "used", "reason", "notes")  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Slices that belong together, in order along their normal."""

    name: str  # its unique id, or its file; parts of one id are numbered, "1.2.3#2"
    slices: tuple[SliceHeader, ...]
    spacing_mm: float | None = None  # between slices, the median
    notes: tuple[str, ...] = ()  # what was tolerated
    reason: str = ""  # why it is not used as a whole; empty: it is
    has_usable_slices: bool = True  # whether each slice can be judged by itself

    @property
    def modality(self) -> Modality | None:
        """What its storage class says."""
        return self.slices[0].modality

    @property
    def plane(self) -> Plane | None:
        """The plane its slices were cut in."""
        return self.slices[0].plane

    @property
    def is_used(self) -> bool:
        """Whether it is one stack of slices that can be judged as a whole."""
        return not self.reason


def anonymous_series_name(name: str) -> str:
    """Return a name made of the hash of a series' own: always the same, and it names nobody.

    >>> anonymous_series_name("1.2.3")
    'series-c47f5b18b8a4'
    """
    return f"series-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"


def group_slices(headers: Iterable[SliceHeader]) -> list[Series]:
    """Return the series that slices make, in the order of their first slice."""
    kept, doubled = _without_duplicates(headers)
    parts: list[Series] = []
    numbers: Counter[str] = Counter()  # of each name: studies may share one
    for identity, slices in _identified(kept).items():
        for group in _of_one_kind(slices):
            for stack in _of_one_plane(group):
                name = identity[1]
                numbers[name] += 1
                part_name = name if numbers[name] == 1 else f"{name}#{numbers[name]}"
                parts.append(_examined(part_name, stack, doubled[identity]))
    return _with_single_slices_joined(parts)


def series_row(series: Series) -> dict[str, object]:
    """Return the columns of one series; what is not known is empty."""
    first = series.slices[0]
    row_mm, column_mm = first.spacing_mm or ("", "")
    return {
        "series": series.name,
        "path": _path_of(series),
        "modality": series.modality or "",
        "plane": series.plane or "",
        "slices": len(series.slices),
        "spacing_mm": "" if series.spacing_mm is None else round(series.spacing_mm, 3),
        "rows": first.matrix[0],
        "columns": first.matrix[1],
        "row_mm": row_mm,
        "column_mm": column_mm,
        "sequence": first.sequence,
        "used": "yes" if series.is_used else "no",
        "reason": series.reason,
        "notes": "; ".join(series.notes),
    }


def _path_of(series: Series) -> str:
    """Return the file, or the folder of several; a path or a URL."""
    paths = sorted({header.path for header in series.slices})
    if len(paths) == 1:
        return paths[0]
    where = {path.rpartition("://")[0] for path in paths}
    if len(where) > 1:  # a store and a disk
        return ""
    protocol = f"{where.pop()}://" if "://" in paths[0] else ""
    return protocol + os.path.commonpath(os.path.dirname(p.removeprefix(protocol)) for p in paths)


def _without_duplicates(
    headers: Iterable[SliceHeader],
) -> tuple[list[SliceHeader], Counter[tuple[str, str]]]:
    """Keep one of each slice; count the others by the identity of their series."""
    seen: dict[tuple[object, ...], SliceHeader] = {}
    doubled: Counter[tuple[str, str]] = Counter()
    for header in headers:
        identity = header.instance or header.path
        key = (identity, header.frame, header.corner)
        if key in seen:
            doubled[_identity(header)] += 1
        else:
            seen[key] = header
    return list(seen.values()), doubled


def _identity(header: SliceHeader) -> tuple[str, str]:
    """Return study and series, or the file where it names none."""
    return header.study, header.series or header.path


def _identified(headers: Sequence[SliceHeader]) -> dict[tuple[str, str], list[SliceHeader]]:
    groups: defaultdict[tuple[str, str], list[SliceHeader]] = defaultdict(list)
    for header in headers:
        groups[_identity(header)].append(header)
    return groups


def _of_one_kind(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part slices by storage, matrix, what their type excludes, echo, b-value and time."""
    return _parted(
        slices,
        lambda h: (h.storage, h.matrix, _exclusion(h), "DERIVED" in h.image_type, h.kind),
    )


def _parted(
    slices: Sequence[SliceHeader], key: Callable[[SliceHeader], Hashable]
) -> list[list[SliceHeader]]:
    parts: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in slices:
        parts[key(header)].append(header)
    return list(parts.values())


def _of_one_plane(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part slices by orientation, and by what parts them where positions repeat; order each."""
    planes: list[list[SliceHeader]] = []
    for header in slices:
        for plane in planes:
            if _is_parallel(plane[0], header):
                plane.append(header)
                break
        else:
            planes.append([header])
    return [stack for plane in planes for stack in _without_repeats(plane)]


def _without_repeats(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Part two stacks under one id by image type (fat and water) or acquisition, else keep them."""
    whole = _in_order(slices)
    for key in (lambda h: h.image_type, lambda h: h.acquisition):
        parts = [_in_order(part) for part in _parted(slices, key)]
        if _repeats(whole) and not any(map(_repeats, parts)):
            return parts
    return [whole]


def _is_parallel(one: SliceHeader, other: SliceHeader) -> bool:
    if one.orientation is None or other.orientation is None:
        return one.orientation is other.orientation
    if one.orientation == other.orientation:  # as nearly always
        return True
    return bool(np.allclose(one.orientation, other.orientation, rtol=0, atol=SAME_ORIENTATION))


def _in_order(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Order along the normal of the first slice; without positions, as they are numbered."""
    if any(header.position is None for header in slices):
        return sorted(slices, key=lambda h: (h.number is None, h.number or 0, h.path, h.frame or 0))
    return sorted(slices, key=lambda header: (_along(slices[0], header), header.path))


def _along(first: SliceHeader, header: SliceHeader) -> float:
    """Return how far a slice lies along the normal of the first, in mm."""
    assert first.orientation is not None
    assert header.corner is not None
    return float(normal_of(first.orientation) @ np.array(header.corner))


def _steps(slices: Sequence[SliceHeader]) -> list[float]:
    """Return the distances from slice to slice, in mm; none where positions lack."""
    if any(header.position is None for header in slices):
        return []
    return [b - a for a, b in pairwise(_along(slices[0], header) for header in slices)]


def _repeats(slices: Sequence[SliceHeader]) -> bool:
    return any(step < SAME_POSITION_MM for step in _steps(slices))


def _examined(name: str, slices: list[SliceHeader], doubled: int) -> Series:
    steps = [step for step in _steps(slices) if step >= SAME_POSITION_MM]
    notes = [*_notes_on_steps(steps), *_notes_on_tilt(slices)]
    if doubled:
        notes.append(f"{counted(doubled, 'duplicate')} left out")
    series = Series(name, tuple(slices), float(np.median(steps)) if steps else None, tuple(notes))
    return _judged(series)


def _judged(series: Series) -> Series:
    """Say why a series is not used, by the first rule that applies."""
    for rule, has_usable_slices in _RULES:
        if reason := rule(series):
            return replace(series, reason=reason, has_usable_slices=has_usable_slices)
    return replace(series, reason="", has_usable_slices=True)


def _is_another_image(series: Series) -> str:
    first = series.slices[0]
    is_other = bool(first.storage) and first.modality is None  # only DICOM names a class
    return f"is {first.storage}, not a CT or MR image" if is_other else ""


def _is_no_slice(series: Series) -> str:
    return _exclusion(series.slices[0])


def _exclusion(header: SliceHeader) -> str:
    """Say why the type of an image excludes it; empty: it does not."""
    return next((why for word, why in _NOT_SLICES.items() if word in header.image_type), "")


def _lacks_positions(series: Series) -> str:
    known = all(header.position is not None for header in series.slices)
    return "" if known else "does not say where its slices lie"


def _repeats_positions(series: Series) -> str:
    return "holds several images at one position" if _repeats(series.slices) else ""


def _is_short(series: Series) -> str:
    count = len(series.slices)
    named = "1 slice" if count == 1 else f"{count} slices"
    return "" if count >= MIN_SLICES else f"has {named}, fewer than {MIN_SLICES}"


# Each rule with whether slices that fall under it can still be judged one by one.
_RULES: tuple[tuple[Callable[[Series], str], bool], ...] = (
    (_is_another_image, False),
    (_is_no_slice, False),
    (_is_short, True),
    (_lacks_positions, True),
    (_repeats_positions, True),
)


def _notes_on_steps(steps: Sequence[float]) -> list[str]:
    """Say where slices lack: steps of a multiple of the usual one; else where they are uneven."""
    if not steps or max(steps) - min(steps) <= EVEN * np.median(steps):
        return []
    counts = np.array(steps) / np.median(steps)
    whole = np.rint(counts)
    if np.allclose(counts, whole, rtol=0, atol=EVEN) and (whole > 1).mean() <= MAX_GAPS:
        lacking = int((whole - 1).sum())
        return [f"{lacking} slice{'s lack' if lacking > 1 else ' lacks'} in between"]
    return [f"slices lie {min(steps):.1f} to {max(steps):.1f} mm apart"]


def _notes_on_tilt(slices: Sequence[SliceHeader]) -> list[str]:
    """Say where slices are not stacked along their normal, as with a tilted gantry."""
    first, last = slices[0], slices[-1]
    if first.orientation is None or first.corner is None or last.corner is None:
        return []
    way = np.array(last.corner) - np.array(first.corner)
    length = float(np.linalg.norm(way))
    if length < SAME_POSITION_MM:
        return []
    angle = np.degrees(np.arccos(min(1.0, abs(float(way @ normal_of(first.orientation))) / length)))
    return [f"gantry tilt of {angle:.1f} degrees"] if angle >= MIN_TILT_DEGREES else []


def _with_single_slices_joined(parts: Sequence[Series]) -> list[Series]:
    """Join slices that each came with a series of its own, as some anonymizers leave them."""
    alone: dict[tuple[object, ...], list[Series]] = defaultdict(list)
    for series in parts:
        first = series.slices[0]
        if len(series.slices) == 1 and first.position is not None and first.instance:
            key = (os.path.dirname(first.path), first.storage, first.matrix, first.image_type,
                   first.sequence, first.spacing_mm, first.kind)  # fmt: skip
            alone[key].append(series)
    joined: dict[str, Series | None] = {}
    for group in alone.values():
        slices = _of_one_plane([series.slices[0] for series in group])
        if len(group) < MIN_SLICES or len(slices) != 1 or _repeats(slices[0]):
            continue
        whole = _examined(group[0].name, slices[0], 0)
        note = "each slice has a series id of its own: joined by geometry"
        joined |= {series.name: None for series in group}
        joined[whole.name] = replace(whole, notes=(note, *whole.notes))
    found = (joined.get(series.name, series) for series in parts)
    return [series for series in found if series is not None]
