"""DICOM images without names: what imaging needs is kept, and every file is accounted for.

A file is written anew, uncompressed: no byte of the old one is copied, so nothing hides in its
preamble, its private attributes, its compressed pixels or the unused bits of its pixels.
"""

import io
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError, OutputError, SettingsError
from tumorlens.files import write_file, write_table
from tumorlens.images.deidentify_rules import (
    MIN_KEY_BYTES,
    Change,
    Changes,
    Pseudonyms,
    cleaned,
)
from tumorlens.images.dicom import AIR_HU, check_image, decode_frame, to_scan
from tumorlens.images.dicom_header import (
    attribute,
    image_type,
    inflated,
    parse,
    parsing,
    slice_headers,
)
from tumorlens.images.readers import (
    attempt,
    named_extra,
    read_bytes,
    reader_of_bytes,
    reader_of_name,
)
from tumorlens.images.slices import SliceHeader
from tumorlens.outputs import is_within
from tumorlens.progress import Progress, silent
from tumorlens.records import Scan, Unusable
from tumorlens.settings import ReadLimits

if TYPE_CHECKING:
    from pydicom import Dataset

COLUMNS = ("path", "written", "out", "reason")
CHANGE_COLUMNS = ("tag", "attribute", "action", "count")
FindHead = Callable[[Scan], NDArray[np.bool_]]
Stored = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one file that was given."""

    path: Path
    out: Path | None  # relative to the folder that is written; None: left out
    reason: str = ""  # why it was left out
    is_damaged: bool = False  # whether it should have been written, and could not be read


@dataclass(frozen=True)
class Deidentification:
    """What became of every file, and what was taken out of those that were written."""

    outcomes: tuple[Outcome, ...]
    changes: Changes = field(default_factory=Counter[Change])


def read_key(path: Path) -> bytes:
    """Read the secret that ids and dates are made from; a new one is made where there is none.

    Who has it and a list of ids can tell whose files they are. Raises SettingsError.
    """
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        key = path.read_bytes().strip()
    else:
        key = secrets.token_hex(MIN_KEY_BYTES).encode()
        with os.fdopen(made, "wb") as file:
            file.write(key + b"\n")
    if len(key) < MIN_KEY_BYTES:
        fact = f"holds {len(key)} bytes, a key has {MIN_KEY_BYTES} or more"
        raise SettingsError(path, fact, "Name a new file: a key is made in it.")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(path, "can be read by others", f"Run: chmod 600 {path}")
    return key


def check_paths(given: Path, out: Path, *, private: Sequence[Path] = ()) -> None:
    """Refuse a folder to write to among what is read, and private files in it; raises OutputError.

    Private are the key and the report: they would be passed on with the folder.
    """
    if is_within(out, given):
        raise OutputError(out, f"lies inside {given}, which is read", "Name a folder beside it.")
    for file in private:
        if is_within(file, out):
            fact = f"lies inside {out}, and would be passed on with it"
            raise OutputError(file, fact, "Name a file elsewhere.")


def every_file(paths: Sequence[Path]) -> list[Path]:
    """List all that stands under `paths`, of any name and kind, sorted within each."""
    return [path for given in paths for path in sorted(_files(given))]


def _files(given: Path) -> Iterator[Path]:
    if not given.is_dir():
        yield given
        return
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(given, onerror=unreadable.append):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (Path(folder, name) for name in (*names, *links))
    yield from (Path(error.filename) for error in unreadable)


def deidentify(
    files: Sequence[Path],
    out: Path,
    *,
    key: bytes,
    find_head: FindHead | None = None,
    with_secondary: bool = False,
    limits: ReadLimits = ReadLimits(),
    progress: Progress = silent,
) -> Deidentification:
    """Write every CT and MR image without what names its patient; the rest is left out.

    With `find_head`, which returns the head of a slice, [h, w], all outside of it becomes air.
    `with_secondary` also takes images that were made from others, into which text may be drawn.
    """
    job, changes = _Job(Pseudonyms(key), find_head, with_secondary, limits), Changes()
    outcomes: list[Outcome] = []
    written: dict[Path, Path] = {}
    for done, path in enumerate(files, start=1):
        found = attempt(job.run, path)
        if isinstance(found, Unusable):
            is_damaged = not isinstance(found.error, _LeftOutError)
            outcomes.append(Outcome(path, None, found.reason, is_damaged))
        elif found.out in written:
            reason = f"has the instance id of {written[found.out]}, which was written"
            outcomes.append(Outcome(path, None, reason))
        else:
            write_file(out / found.out, found.data)
            written[found.out] = path
            changes.update(found.changes)
            outcomes.append(Outcome(path, found.out))
        progress(done, len(files))
    return Deidentification(tuple(outcomes), changes)


def write_report(found: Deidentification, report: Path, changes: Path) -> None:
    """Write a row a file, and a row an attribute with what was done to it."""
    rows = (
        {"path": item.path, "written": "yes" if item.out else "no", "out": item.out or "",
         "reason": item.reason}
        for item in found.outcomes
    )  # fmt: skip
    write_table(report, COLUMNS, ({k: str(v) for k, v in row.items()} for row in rows))
    counted = sorted(found.changes.items(), key=lambda item: (item[0].tag, item[0].action))
    write_table(changes, CHANGE_COLUMNS, ((*_cells(change), n) for change, n in counted))


def _cells(change: Change) -> tuple[str, str, str]:
    return change.tag, change.keyword or "private", change.action


class _LeftOutError(ImageError):
    """A file that is not to be written, by a rule."""


@dataclass(frozen=True)
class _Written:
    out: Path
    data: bytes
    changes: Changes


@dataclass(frozen=True)
class _Job:
    """How each file is treated; one that is left out raises an ImageError."""

    pseudonyms: Pseudonyms
    find_head: FindHead | None
    with_secondary: bool
    limits: ReadLimits

    def run(self, path: Path) -> _Written:
        source, changes = str(path), Changes()
        data = read_bytes(path, limits=self.limits)
        reader = reader_of_bytes(data) or reader_of_name(path)
        if reader is None or reader.name != "DICOM":
            raise _LeftOutError(source, "is not a DICOM file", "Names may stand in it.")
        with named_extra(reader, source), parsing(source):
            dataset = parse(io.BytesIO(inflated(data, source, self.limits)), source)
            self._check(dataset, source)
            frames = np.stack(self._frames(dataset, source))
            kept = cleaned(dataset, self.pseudonyms, changes)
            self._add_ids(kept, data)
            return _Written(self._path_of(kept), _file_bytes(kept, frames), changes)

    def _check(self, dataset: "Dataset", source: str) -> None:
        """Leave out what may show a name, and what is no image of CT or MR."""
        try:
            check_image(dataset, source, self.limits)
        except ImageError as e:
            raise _LeftOutError(source, e.fact, e.fix) from e
        for rule in _DRAWN_RULES:
            if reason := rule(dataset):
                raise _LeftOutError(source, reason, "Text may be drawn into its pixels.")
        if not self.with_secondary and "SECONDARY" in image_type(dataset):
            fix = "Look at the series for text, then name --with-secondary."
            raise _LeftOutError(source, "is secondary: made from other images", fix)

    def _frames(self, dataset: "Dataset", source: str) -> list[Stored]:
        """Decode every frame, in the file's order; outside of the head is air where asked for."""
        frames: list[Stored] = []
        for header in slice_headers(dataset, source):
            stored = decode_frame(dataset, header)
            if self.find_head is not None:
                head = self.find_head(to_scan(stored, dataset, header))
                stored = np.where(head, stored, _air(stored, dataset, header))
            frames.append(stored)
        return frames

    def _add_ids(self, kept: "Dataset", data: bytes) -> None:
        """Add the ids that a file lacks, from a hash of it."""
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            if not kept.get(keyword):
                setattr(kept, keyword, self.pseudonyms.uid(f"{keyword} {data.hex()}"))

    def _path_of(self, kept: "Dataset") -> Path:
        series, instance = map(self.pseudonyms.name, (kept.SeriesInstanceUID, kept.SOPInstanceUID))
        return Path(str(kept.PatientID), series, f"{instance}.dcm")


def _is_drawn_on(dataset: "Dataset") -> str:
    says_so = str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"
    return "says that text is burned in (BurnedInAnnotation YES)" if says_so else ""


def _is_screen(dataset: "Dataset") -> str:
    return "is a copy of a screen" if "SCREEN SAVE" in image_type(dataset) else ""


def _is_captured(dataset: "Dataset") -> str:
    return "is a secondary capture (ConversionType)" if dataset.get("ConversionType") else ""


_DRAWN_RULES = (_is_drawn_on, _is_screen, _is_captured)


def _air(stored: Stored, dataset: "Dataset", header: SliceHeader) -> Any:
    """Return the stored value of air: of CT by its numbers, else the darkest of the frame."""
    if header.modality != "ct" or dataset.get("ModalityLUTSequence"):
        is_turned = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
        return stored.max() if is_turned else stored.min()
    slope = float(attribute(dataset, "RescaleSlope", header.frame) or 1)
    intercept = float(attribute(dataset, "RescaleIntercept", header.frame) or 0)
    limits = np.iinfo(stored.dtype)
    level = np.clip(round((AIR_HU - intercept) / slope), limits.min, limits.max)
    return stored.dtype.type(level)


def _file_bytes(kept: "Dataset", frames: Stored) -> bytes:
    """Return the whole file, explicit little endian, with a header of its own."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kept.file_meta.ImplementationVersionName = "TUMORLENS"
    kept.preamble = bytes(128)
    kept.BitsAllocated = frames.dtype.itemsize * 8
    kept.PixelData = frames.astype(frames.dtype.newbyteorder("<"), copy=False).tobytes()
    kept["PixelData"].VR = "OW" if kept.BitsAllocated > 8 else "OB"
    if len(kept.PixelData) % 2:
        kept.PixelData += b"\0"
    file = io.BytesIO()
    kept.save_as(file, enforce_file_format=True)
    return file.getvalue()
