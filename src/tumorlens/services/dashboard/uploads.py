"""Uploads become results: read in memory, grouped into series, answered, and let go.

Nothing touches the disk. Files in are rows out: each file is a result of its own, a slice of a
series, a mask or table of labels beside others, or a result with the reason why it is none.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tumorlens.images.readers import (
    attempt,
    name_stem,
    open_images_bytes,
    scan_of_mask,
    slice_headers_bytes,
)
from tumorlens.images.series import Series, group_slices
from tumorlens.images.slices import SliceHeader
from tumorlens.labels import canonical_label
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import answer_of
from tumorlens.progress import Progress, silent
from tumorlens.records import Prediction, Scan, Unusable
from tumorlens.services.dashboard.results import (
    KeptSlice,
    Result,
    encode_pixels,
    keep_slice,
    series_as_prediction,
)
from tumorlens.services.scan_reader import ScanReader
from tumorlens.services.spool import SLICES, read_state, series_folders
from tumorlens.services.store.database import Store
from tumorlens.services.store.series import find_series
from tumorlens.settings import ReadLimits

MAX_ARRIVED = 100  # series of a node that are listed
BATCH = 16  # slices that are held whole at a time
TABLE = "cases.csv"  # labels of a folder
EXAMPLES = Path(__file__).with_name("examples")
Fetch = Callable[[], bytes]


@dataclass(frozen=True)
class _Item:
    """What becomes one result: some slices, or a file that is none."""

    name: str
    files: tuple[str, ...]
    headers: tuple[SliceHeader, ...] = ()  # of a series, or of one slice of a file with several
    series: Series | None = None  # that is answered as a whole
    error: str = ""

    @property
    def slices(self) -> int:
        return max(1, len(self.headers))


@dataclass(frozen=True)
class _Labels:
    """What came beside the scans of a labeled folder."""

    truths: Mapping[str, str] = field(default_factory=dict)  # label by file
    masks: Mapping[str, str] = field(default_factory=dict)  # file of the mask by file
    beside: frozenset[str] = frozenset()  # files that are no scans


class _Files:
    """Files that were dropped, by a name each of them has alone."""

    def __init__(
        self,
        files: Sequence[tuple[str, Fetch]],
        limits: ReadLimits,
        reader: ScanReader | None = None,
    ) -> None:
        self.limits, self._reader = limits, reader
        self._fetch: dict[str, Fetch] = {}
        for name, fetch in files:
            again = (f"{name} ({number})" for number in range(2, len(files) + 2))
            self._fetch[name if name not in self._fetch else next(
                one for one in again if one not in self._fetch
            )] = fetch  # fmt: skip
        self.digests: dict[str, str] = {}
        self._decode = lru_cache(maxsize=1)(self._decoded)  # all slices of the last file

    @property
    def names(self) -> list[str]:
        return list(self._fetch)

    def data(self, name: str) -> bytes:
        data = self._fetch[name]()
        if name not in self.digests:
            self.digests[name] = hashlib.sha256(data).hexdigest()
        return data

    def headers(self, name: str) -> tuple[SliceHeader, ...] | Unusable:
        """Return what a file says of its slices; nothing of an image that stands alone."""
        data = self.data(name)
        if self._reader is not None:
            return self._reader.slice_headers(data, source=name)
        return attempt(slice_headers_bytes, data, source=name, limits=self.limits)

    def scan(self, name: str, frame: int | None) -> Scan | Unusable:
        """Return one slice of a file; without a frame, the only one that it has."""
        found = self._decode(name)
        if isinstance(found, Unusable):
            return found
        return next((scan for scan in found if frame is None or scan.frame == frame), found[0])

    def _decoded(self, name: str) -> tuple[Scan, ...] | Unusable:
        if self._reader is not None:
            return self._reader.open_images(self.data(name), source=name)
        return attempt(open_images_bytes, self.data(name), source=name, limits=self.limits)

    def mask(self, name: str, frame: int | None) -> NDArray[np.bool_] | None:
        """Return which pixels of a slice a mask marks; None where it cannot be read."""
        found = self.scan(name, frame)
        return None if isinstance(found, Unusable) else found.pixels > 0


def predict_files(
    files: Sequence[tuple[str, Fetch]],
    predictor: Predictor,
    *,
    limits: ReadLimits,
    reader: ScanReader | None = None,
    progress: Progress = silent,
    is_example: bool = False,
) -> Iterator[Result]:
    """Read and predict files, DICOM and NIfTI by series; a file above `limits` is refused.

    Files from outside are read by the process of a `reader`, which has the same limits.
    A file that cannot be used gives a result whose prediction has its `error` set. `progress`
    counts slices.
    """
    held = _Files(files, limits, reader)
    labels = _read_labels(held)
    items = _items(held, [name for name in held.names if name not in labels.beside])
    total, done = sum(item.slices for item in items), 0
    for group in _grouped(items):
        for item, kept in zip(group, _predict_group(group, held, predictor), strict=True):
            masked = [_with_mask(one, labels, held) for one in kept]
            yield _result(item, masked, held, labels, predictor, is_example=is_example)
        done += sum(item.slices for item in group)
        progress(done, total)


def predict_examples(predictor: Predictor) -> tuple[Result, ...]:
    """Predict the phantoms that come with the dashboard, the likeliest tumor first."""
    files = [(path.name, path.read_bytes) for path in sorted(EXAMPLES.glob("*.png"))]
    limits = ReadLimits(2**20, 2**20)
    found = predict_files(files, predictor, limits=limits, is_example=True)
    return tuple(sorted(found, key=lambda r: -(r.prediction.tumor_probability or 0)))


# --- what arrived at the DICOM node ---------------------------------------------------------


@dataclass(frozen=True)
class ArrivedSeries:
    """A series whose files lie in the spool of a node."""

    name: str  # its description and when it was answered, as far as that is known
    folder: Path
    slices: int


def arrived_series(root: Path, store: Store) -> list[ArrivedSeries]:
    """Return the whole series in the spool of a node, the last that were answered first."""
    answered = {row.series: row for row in find_series(store, limit=MAX_ARRIVED)}
    found: list[tuple[str, ArrivedSeries]] = []
    for stage, folder in series_folders(root):
        try:
            names, count = read_state(folder).series, len(list((folder / SLICES).iterdir()))
        except (OSError, ValueError):  # moved on meanwhile
            continue
        row = next((answered[name] for name in names if name in answered), None)
        at = row.created_at[:16].replace("T", " ") if row else ""
        name = f"{row.description or row.series}, {at} UTC" if row else folder.name[:12]
        if stage != "series":  # which still grows
            found.append((at, ArrivedSeries(name, folder, count)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)][:MAX_ARRIVED]


# --- what was dropped -----------------------------------------------------------------------


def _items(held: _Files, names: Sequence[str]) -> list[_Item]:
    """Group files into what is judged as one, in the order in which their first files came."""
    headers: list[SliceHeader] = []
    items: list[_Item] = []
    for name in names:
        found = held.headers(name)
        if isinstance(found, Unusable):
            items.append(_Item(name, (name,), error=found.reason))
        elif found:
            headers.extend(found)
        else:
            items.append(_Item(name, (name,)))
    for series in group_slices(headers):
        items.extend(_items_of(series))
    order = {name: number for number, name in enumerate(names)}
    return sorted(items, key=lambda item: min(order[name] for name in item.files))


def _items_of(series: Series) -> list[_Item]:
    """Return a series as one, or its slices, or its files with the reason why they are none."""
    paths = tuple(dict.fromkeys(header.path for header in series.slices))
    if series.is_used:
        return [_Item(_name_of(series, paths), paths, series.slices, series)]
    if not series.has_usable_slices:
        return [_Item(path, (path,), error=f"{series.reason}.") for path in paths]
    several = len(paths) < len(series.slices)
    return [
        _Item(f"{h.path}#{h.frame}" if several else h.path, (h.path,), (h,)) for h in series.slices
    ]


def _name_of(series: Series, paths: Sequence[str]) -> str:
    """Return what a reader knows a series by: its file, its folder, or its description."""
    if len(paths) == 1:
        return paths[0]
    folders = {str(PurePosixPath(path).parent) for path in paths} - {"."}
    described = series.slices[0].sequence or "series"
    return f"{folders.pop()}/{described}" if len(folders) == 1 else described


def _grouped(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Yield items to predict together: a series alone, single slices some at a time."""
    alone: list[_Item] = []
    for item in items:
        if item.series is None:
            alone.append(item)
        if alone and (item.series is not None or len(alone) == BATCH):
            yield alone
            alone = []
        if item.series is not None:
            yield [item]
    if alone:
        yield alone


# --- answers --------------------------------------------------------------------------------


def _predict_group(
    group: Sequence[_Item], held: _Files, predictor: Predictor
) -> Iterator[list[KeptSlice]]:
    """Yield the slices of each item, answered BATCH at a time."""
    wanted = iter([
        (item, header)
        for item in group
        for header in (item.headers or (SliceHeader(item.files[0]),))
    ])  # fmt: skip
    kept: list[KeptSlice] = []
    while batch := list(islice(wanted, BATCH)):
        scans = [_scan(item, header, held) for item, header in batch]
        usable = [scan for scan in scans if isinstance(scan, Scan)]
        answers = iter(predictor.predict_scans(usable, heatmaps=True) if usable else ())
        for (_, header), scan in zip(batch, scans, strict=True):
            if isinstance(scan, Scan):
                kept.append(keep_slice(next(answers), scan, header))
            else:
                bundle = predictor.bundle.version
                kept.append(KeptSlice(Prediction(header.path, frame=header.frame, bundle=bundle,
                                                 error=scan)))  # fmt: skip
    at = 0
    for item in group:
        yield kept[at : at + item.slices]
        at += item.slices


def _scan(item: _Item, header: SliceHeader, held: _Files) -> Scan | str:
    """Return a slice, or in words why there is none."""
    if item.error:
        return item.error
    found = held.scan(header.path, header.frame)
    return found.reason if isinstance(found, Unusable) else found


def _result(
    item: _Item,
    kept: Sequence[KeptSlice],
    held: _Files,
    labels: _Labels,
    predictor: Predictor,
    *,
    is_example: bool,
) -> Result:
    digest = _digest(item, held)
    truths = {label for name in item.files if (label := labels.truths.get(name))}
    result = Result(
        item.name, digest, kept[0].prediction, tuple(kept), is_example=is_example,
        truth=truths.pop() if len(truths) == 1 else "",
    )  # fmt: skip
    if item.series is None:
        is_read = bool(kept[0].pixels)
        prediction = replace(kept[0].prediction, path=item.name)
        return replace(result, prediction=prediction, slices=tuple(kept) if is_read else ())
    answer = answer_of(item.series, [one.prediction for one in kept], predictor.bundle)
    placed = tuple(
        replace(one, prediction=replace(one.prediction, series=item.name, slice=number))
        for number, one in enumerate(kept, start=1)
    )
    answer = replace(answer, series=item.name)
    return replace(
        result, slices=placed, answer=answer, prediction=series_as_prediction(answer, item.name)
    )


def _digest(item: _Item, held: _Files) -> str:
    """Return one digest for all that an item is made of."""
    of_files = [held.digests[name] for name in item.files]
    frame = item.headers[0].frame if item.headers and item.series is None else None
    if len(of_files) == 1 and frame is None:
        return of_files[0]
    return hashlib.sha256(f"{','.join(of_files)}#{frame}".encode()).hexdigest()


# --- labels of a folder -----------------------------------------------------------------------


def _read_labels(held: _Files) -> _Labels:
    """Return labels and masks that came with scans: of tables, names of folders, names of files."""
    names = held.names
    tables = [name for name in names if PurePosixPath(name).name == TABLE]
    truths = {name: label for name in names if (label := _label_of_folder(name))}
    masks = dict(_named_masks(names))
    for table in tables:
        for name, label, mask in _table_rows(table, held.data(table), names):
            truths[name] = label
            masks |= {name: mask} if mask in names else {}
    masks = {name: mask for name, mask in masks.items() if name in truths}
    return _Labels(truths, masks, frozenset({*tables, *masks.values()}))


def _label_of_folder(name: str) -> str:
    """Return the label that the nearest folder of a file is called by; "" where none is."""
    folders = PurePosixPath(name).parts[:-1]
    return next((label for one in reversed(folders) if (label := canonical_label(one))), "")


def _named_masks(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield files with the mask beside them, T_1.png with T_1_mask.png."""
    by_stem = {(str(PurePosixPath(n).parent), name_stem(Path(n))): n for n in names}
    for (folder, stem), mask in by_stem.items():
        scan = by_stem.get((folder, scan_of_mask(stem) or ""))
        if scan is not None:
            yield scan, mask


def _table_rows(table: str, data: bytes, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the files that a table names, each with its label and the file of its mask."""
    folder = PurePosixPath(table).parent
    for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"))):
        path, modality = str(folder / (row.get("path") or "")), row.get("modality") or None
        label = canonical_label(row.get("label") or "", modality=modality)
        mask = str(folder / row["mask"]) if row.get("mask") else ""
        for name in names:
            if label and (name == path or PurePosixPath(name).is_relative_to(path)):
                yield name, label, mask


def _with_mask(kept: KeptSlice, labels: _Labels, held: _Files) -> KeptSlice:
    """Add the mask of a slice, where it has one of its own size."""
    name = labels.masks.get(kept.prediction.path)
    if name is None or not kept.pixels:
        return kept
    marked = held.mask(name, kept.prediction.frame)
    if marked is None or not marked.any():
        return kept
    return replace(kept, mask=encode_pixels(marked * 255.0))
