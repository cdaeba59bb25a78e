"""Volumes of labeled sets become slices: a row each, with the label that holds for that slice.

The label of a volume is true of the patient, not of every slice. All slices of a volume without a
tumor are healthy. Of a volume with one, a mask or the column `slices` says which slices show it:
these have the label, the others are healthy, and the first beside each end of the tumor is left
out. Without either the volume is left out: nobody says which of its slices show the tumor.

A table names a DICOM series by its folder, or by one of its files where `slices` is filled in.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.images.frames import frame_path, split_frame_path
from tumorlens.images.readers import attempt, find_files, reader_of_name, slice_headers
from tumorlens.images.segmentation import is_automatic, match_mask
from tumorlens.images.series import MIN_SLICES, Series, group_slices
from tumorlens.images.slices import SliceHeader, normal_of
from tumorlens.records import Unusable
from tumorlens.settings import ReadLimits
from tumorlens.study.data.case_table import CaseRow
from tumorlens.study.data.named_groups import patient_of_volume

# Why slices are left out, as the end of "12 slices ...".
NO_MASK = "of tumor volumes without a mask"
EMPTY_MASK = "of tumor volumes whose mask marks nothing"
OFF_GRID = "of volumes whose mask does not lie on their grid"
BAD_MASK = "of volumes whose mask cannot be read"
ABSENT_SLICES = "of tumor volumes without the slices that their table names"
BESIDE_TUMOR = "beside the end of a tumor"
UNUSED_MASK = "of segmentations that a program made or that mark no slice here"
DOUBLED = "that are there twice"
_SEGMENTATION = "Segmentation Storage"
_NUMBERS = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")
_SeriesNames = dict[Path, dict[Path, str]]  # of the files of each folder
Mark = tuple[Path | None, bool]  # the mask of one slice, and whether the slice shows the tumor


@dataclass
class _Headers:
    """What the files of rows hold, as it is found."""

    all: list[SliceHeader] = field(default_factory=list)
    row_of: dict[tuple[str, int | None], int] = field(default_factory=dict)  # file, frame -> row
    inside: dict[str, str] = field(default_factory=dict)  # file -> its path inside the set
    counts: Counter[str] = field(default_factory=Counter)  # slices of each file
    classes: defaultdict[tuple[str, str], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )  # of each series, the labels that its files were given
    patients: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # of
    # each folder inside the set, with all below it


def slices_of_rows(
    rows: Sequence[CaseRow],
    *,
    label_of: Callable[[CaseRow], str | None],
    left_out: Counter[str],
    is_table: bool = False,
) -> list[CaseRow]:
    """Return rows of slices for those that name volumes, and the others as they are, in order.

    Slices that are left out are counted by reason. In a table each row of one slice has a label
    of its own; in class folders DICOM slices of one series are a volume, unless they were sorted
    into several classes.
    """
    found: defaultdict[int, list[CaseRow]] = defaultdict(list)
    headers = _read_headers(rows, found)
    series = [one for part in _parts(rows, headers) for one in group_slices(part)]
    segmentations = _segmentations(series)
    for one in series:
        number = min(headers.row_of[header.path, header.frame] for header in one.slices)
        is_volume = _is_volume(one, rows, headers, is_table=is_table)
        if one.slices[0].storage == _SEGMENTATION:
            continue
        if not one.has_usable_slices and (is_volume or not is_table):
            left_out[f"of series of which each {one.reason}"] += len(one.slices)
        elif is_volume:
            row, label = rows[number], label_of(rows[number])
            marks = _marks(row, label, one.slices, segmentations=segmentations)
            found[number] += _rows_of_volume(
                one, row, headers=headers, label=label, marks=marks, left_out=left_out
            )
        else:
            for header, level in zip(one.slices, _levels(one), strict=True):
                own = headers.row_of[header.path, header.frame]
                found[own].append(_placed(rows[own], header, headers, level))
    _count_doubled(rows, headers, series, found=found, left_out=left_out, is_table=is_table)
    slices = [row for number in sorted(found) for row in found[number]]
    left_out[UNUSED_MASK] += len(set(segmentations) - {row.mask for row in slices})
    left_out -= Counter()  # without what was not met
    return slices


def _segmentations(series: Sequence[Series]) -> list[Path]:
    """Return the DICOM segmentations that lie with the slices, each once."""
    files = [Path(one.slices[0].path) for one in series if one.slices[0].storage == _SEGMENTATION]
    return list(dict.fromkeys(files))


def _parts(rows: Sequence[CaseRow], headers: _Headers) -> list[list[SliceHeader]]:
    """Part slices by class folder, or by the row of a table that names a volume.

    So a series that lies in two parts of a published split is two, and its leak is seen.
    """
    parts: defaultdict[object, list[SliceHeader]] = defaultdict(list)
    for header in headers.all:
        number = headers.row_of[header.path, header.frame]
        is_named = rows[number].names_volume or headers.counts[header.path] > 1
        parts[rows[number].class_folder or (number if is_named else None)].append(header)
    return list(parts.values())


def _count_doubled(
    rows: Sequence[CaseRow],
    headers: _Headers,
    series: Sequence[Series],
    *,
    found: defaultdict[int, list[CaseRow]],
    left_out: Counter[str],
    is_table: bool,
) -> None:
    """Count slices that are there twice; keep what a row of a table names by itself."""
    kept = {(header.path, header.frame) for one in series for header in one.slices}
    for header in headers.all:
        if (header.path, header.frame) in kept:
            continue
        number = headers.row_of[header.path, header.frame]
        row = rows[number]
        is_alone = str(row.path) == header.path and headers.counts[header.path] == 1
        if is_table and is_alone and not row.names_volume:
            found[number].append(_placed(row, header, headers, None))
        else:
            left_out[DOUBLED] += 1


def _read_headers(rows: Sequence[CaseRow], found: defaultdict[int, list[CaseRow]]) -> _Headers:
    """Read the headers of all files; those that hold no slices go to `found` as they are."""
    headers = _Headers()
    names: _SeriesNames = {}
    for number, row in enumerate(rows):
        for path, inside in _files_of(row, names):
            read = _headers_of(row, path) if _may_hold_slices(path) else ()
            if isinstance(read, Unusable) or not read:  # reading it gives the error
                found[number].append(_named_slice(replace(row, path=path, inside=inside)))
                continue
            name = str(path)
            if any((name, header.frame) in headers.row_of for header in read):
                fact = f"names {inside} twice, by itself and with its series or folder"
                raise CasesError(row.path, fact, "Leave one of the rows.")
            headers.all += read
            headers.row_of |= {(name, header.frame): number for header in read}
            headers.inside[name] = inside
            headers.counts[name] = len(read)
            headers.classes[read[0].study, read[0].series or name].add(row.name)
            for folder in PurePosixPath(inside).parents:
                headers.patients[str(folder)].add(read[0].patient)
    return headers


def _headers_of(row: CaseRow, path: Path) -> tuple[SliceHeader, ...] | Unusable:
    """Return the headers of a file, or of one of its volumes: their slices are counted on."""
    volume = row.volume_number
    if volume is None:
        return attempt(slice_headers, path)
    found = attempt(slice_headers, path, limits=ReadLimits(volume=volume))
    if isinstance(found, Unusable):
        raise CasesError(
            path, f"has no volume {volume} to read: {found.error.fact}", found.error.fix
        )
    return tuple(replace(h, frame=(h.frame or 0) + volume * len(found)) for h in found)


def _named_slice(row: CaseRow) -> CaseRow:
    """Return a row, with the patient of its volume where its path names a slice of one."""
    file, frame = split_frame_path(row.path)
    if frame is None:
        return row
    volume = str(split_frame_path(row.inside)[0])
    return replace(row, patient=row.patient or patient_of_volume(file), volume=volume)


def _files_of(row: CaseRow, names: _SeriesNames) -> Iterator[tuple[Path, str]]:
    if row.path.is_dir():
        for path in find_files([row.path]).scans:
            yield path, f"{row.inside.rstrip('/')}/{path.relative_to(row.path).as_posix()}"
    elif row.names_volume:
        for path in _files_of_series(row.path, names):
            yield path, PurePosixPath(row.inside).with_name(path.name).as_posix()
    else:
        yield row.path, row.inside


def _files_of_series(path: Path, names: _SeriesNames) -> list[Path]:
    """Return the files of the series that a file tells, in its folder; itself where it tells none.

    `names` keeps what was read of each folder.
    """
    folder = path.parent
    if folder not in names:
        files = [file for file in sorted(folder.iterdir()) if file.is_file()]
        names[folder] = {file: _series_name(file) for file in files}
    name = names[folder].get(path)
    return [file for file, other in names[folder].items() if other == name] if name else [path]


def _series_name(path: Path) -> str:
    """Return the series of a file with one slice; "" of any other."""
    found = attempt(slice_headers, path) if _may_hold_slices(path) else ()
    names = [] if isinstance(found, Unusable) else [header.series for header in found]
    return names[0] if len(names) == 1 else ""


def _may_hold_slices(path: Path) -> bool:
    reader = reader_of_name(path)
    is_slice = split_frame_path(path)[1] is not None
    return not is_slice and (reader is None or reader.headers is not None)


def _is_volume(
    series: Series, rows: Sequence[CaseRow], headers: _Headers, *, is_table: bool
) -> bool:
    """Tell whether its label was given to the stack as a whole, not to each of its slices."""
    owners = [rows[headers.row_of[header.path, header.frame]] for header in series.slices]
    if any(headers.counts[header.path] > 1 for header in series.slices):
        return True
    if all(owner is owners[0] for owner in owners) and owners[0].names_volume:
        return True
    first = series.slices[0]
    is_sorted = len(headers.classes[first.study, first.series or first.path]) > 1
    return len(series.slices) >= MIN_SLICES and not is_sorted and not is_table


def _levels(series: Series) -> list[float | None]:
    """Return where axial slices lie from the lowest, 0, to the highest, 1; None of others."""
    first, positions = series.slices[0], [header.position for header in series.slices]
    if series.plane == "axial" and first.orientation is not None and len(positions) >= MIN_SLICES:
        up = 1 if normal_of(first.orientation)[2] > 0 else -1
        heights = [up * position for position in positions if position is not None]
        low, high = min(heights, default=0.0), max(heights, default=0.0)
        if len(heights) == len(positions) and high > low:
            return [round((height - low) / (high - low), 4) for height in heights]
    return [None] * len(positions)


def _placed(row: CaseRow, header: SliceHeader, headers: _Headers, level: float | None) -> CaseRow:
    """Return the row of a slice with what its header says, where the row does not say it."""
    return replace(
        row,
        modality=row.modality or header.modality,
        patient=row.patient or header.patient or None,
        level=level if row.level is None else row.level,
        volume=_own_folder(row, header, headers),
    )


def _own_folder(row: CaseRow, header: SliceHeader, headers: _Headers) -> str:
    """Return the highest folder below its class that holds one patient alone; "" for none."""
    own = ""
    for folder in PurePosixPath(headers.inside[header.path]).parents[:-1]:
        is_class = folder.name == row.name or labels.canonical_label(folder.name) is not None
        if not header.patient or len(headers.patients[str(folder)]) > 1 or is_class:
            break
        own = str(folder)
    return own


def _marks(
    row: CaseRow,
    label: str | None,
    slices: tuple[SliceHeader, ...],
    *,
    segmentations: Sequence[Path],
) -> list[Mark] | str | None:
    """Return which slices of a volume show its tumor; None where the label holds for each slice.

    A text is the reason why the volume is left out.
    """
    is_open = label in (None, labels.UNLABELED)
    if is_open or not labels.is_tumor(str(label)) or row.slices == labels.ALL_SLICES:
        return None
    if row.slices and row.slices != labels.UNKNOWN_SLICES:
        chosen = _numbers(row, count=len(slices))
        marks: list[Mark] = [(None, number in chosen) for number in range(1, len(slices) + 1)]
        return marks if chosen else ABSENT_SLICES
    why = NO_MASK
    beside = [mask for mask in segmentations if attempt(is_automatic, mask) is False]
    for mask in (row.mask,) if row.mask else beside:
        found = attempt(match_mask, mask, slices)
        if isinstance(found, Unusable):
            why = BAD_MASK if row.mask else why
        elif found is None:
            why = OFF_GRID if row.mask else why
        elif not any(is_marked for _, is_marked in found):
            why = EMPTY_MASK
        else:
            return [(frame_path(mask, frame), is_marked) for frame, is_marked in found]
    return why


def _numbers(row: CaseRow, *, count: int) -> set[int]:
    """Return which of `count` slices are named, from 1, as in "12-40" or "3, 5-7"."""
    chosen: set[int] = set()
    for part in (row.slices or "").split(","):
        found = _NUMBERS.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last:
            fix = "Write numbers from 1 along the stack, such as 12-40, or all, or unknown."
            raise CasesError(row.path, f"names as slices {row.slices}", fix)
        chosen |= set(range(first, min(last, count) + 1))
    return chosen


def _rows_of_volume(
    series: Series,
    row: CaseRow,
    *,
    headers: _Headers,
    label: str | None,
    marks: list[Mark] | str | None,
    left_out: Counter[str],
) -> list[CaseRow]:
    """Return a row a slice; with `marks` the slices without the tumor are healthy.

    A text instead of them is the reason why the volume is left out.
    """
    if isinstance(marks, str):
        left_out[marks] += len(series.slices)
        return []
    rows = []
    for at, (header, level) in enumerate(zip(series.slices, _levels(series), strict=True)):
        placed = _slice_row(row, header, headers, level)
        mask, is_marked = marks[at] if marks else (None, True)
        if is_marked:
            rows.append(replace(placed, mask=mask))
        elif marks and any(is_near for _, is_near in marks[max(0, at - 1) : at + 2]):
            left_out[BESIDE_TUMOR] += 1
        else:
            rows.append(replace(placed, mask=None, name=_healthy(label)))
    return rows


def _slice_row(
    row: CaseRow, header: SliceHeader, headers: _Headers, level: float | None
) -> CaseRow:
    """Return the row of one slice of the volume that a row names."""
    placed = _placed(row, header, headers, level)
    frame = header.frame if headers.counts[header.path] > 1 else None
    volume = row.inside if row.names_volume or frame is not None else placed.volume
    return replace(
        placed,
        path=frame_path(header.path, frame),
        inside=frame_path(headers.inside[header.path], frame).as_posix(),
        patient=placed.patient or patient_of_volume(row.path, row.class_folder),
        group=row.group or volume or None,
        volume=volume,
        slices=None,
    )


def _healthy(label: str | None) -> str:
    """Return the label of a slice that shows no tumor, in a volume that has one."""
    modality = labels.modality_of(label) if label else None
    return f"{modality}_healthy" if modality else "healthy"
