"""Cheng's slices, one MATLAB v7.3 file each, become gray PNGs, masks and cases.

MATLAB v7.3 is HDF5 with the axes reversed. Each file holds `cjdata` with `label` (1 meningioma,
2 glioma, 3 pituitary), `PID` (characters), `image` (int16) and `tumorMask`. Files are read from
the archive one at a time, in memory: the unpacked set never stands on disk.

HDF5 has had many faults, the h5py that TensorFlow allows brings one with known ones, and an archive
may come from anywhere: so `SliceReader` reads in a process with limits. A file that takes too long,
too much memory or the process itself is refused, and another process takes its place. What comes
back is JSON and bytes, no pickle.
"""

import io
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from tumorlens import errors
from tumorlens.errors import ArchiveError, ImageError, InvalidPixelsError, UnreadableImageError
from tumorlens.files import write_file
from tumorlens.images.archive import Member, open_archive, read_member
from tumorlens.images.raster import MIN_SIDE, encode_png
from tumorlens.progress import Progress, silent
from tumorlens.records import Case
from tumorlens.settings import ReadLimits
from tumorlens.worker_process import (
    ONE_THREAD,
    ChildEndedError,
    ChildProcess,
    Head,
    limit_process,
    receive,
    send,
)

LABELS = {1: "mri_meningioma", 2: "mri_glioma", 3: "mri_pituitary"}
NOT_A_SLICE = "files that are not slices"
TWICE = "slices whose number stands twice"
UNREADABLE = "slices that could not be read"
FIX = "Fetch the archive again."
SECONDS = 60.0  # for one file; a slice takes some milliseconds
MEMORY_BYTES = 3 * 2**30  # of addresses: what libraries map is in it


@dataclass(frozen=True)
class Slice:
    """One slice with what is known of it."""

    pixels: NDArray[np.uint16]  # [h, w], the recorded values, raised to start at 0 if negative
    mask: NDArray[np.bool_]  # [h, w]
    label: str
    patient: str


def read_slice(data: bytes, *, source: str) -> Slice:
    """Read a `.mat` file from memory; raises an ImageError that names `source`."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            record = _inside(file, "cjdata")
            label = LABELS[int(_array(record, "label").ravel()[0])]
            patient = "".join(map(chr, _array(record, "PID").ravel())).strip()
            image, mask = _array(record, "image").T, _array(record, "tumorMask").T
    except (OSError, KeyError, ValueError, TypeError, IndexError, OverflowError,
            RuntimeError, AttributeError) as error:  # fmt: skip
        fact = f"is not a whole slice ({error or type(error).__name__})"
        raise UnreadableImageError(source, fact, FIX) from error
    if image.ndim != 2 or min(image.shape) < MIN_SIDE or mask.shape != image.shape or not patient:
        fact = f"holds an image of {image.shape}, a mask of {mask.shape} and PID {patient!r}"
        raise UnreadableImageError(source, fact, FIX)
    return Slice(_unsigned(image, source), mask > 0, label, patient)


class ReadSlice(Protocol):
    """What reads a `.mat` file from memory."""

    def __call__(self, data: bytes, *, source: str) -> Slice:
        """Read it; raises an ImageError that names `source`."""
        ...


def write_slices(
    archives: Sequence[Path],
    into: Path,
    *,
    dataset: str,
    read: ReadSlice = read_slice,
    progress: Progress = silent,
) -> tuple[list[Case], Counter[str]]:
    """Write `<type>/<number>.png` (16 bits, lossless) and `masks/<number>.png`.

    `patient` is the recorded PID; `group` is the PID without the letters at its end, because
    MR017260B and MR017260F are taken for two series of one head. Slices that cannot be read are
    counted. `read` may be that of a `SliceReader`, which keeps foreign files out of this process.
    Raises ArchiveError if an archive is damaged, or if none of them holds a slice.
    """
    cases: dict[str, Case] = {}
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        opened = [stack.enter_context(open_archive(path)) for path in archives]
        members = [(archive, member) for archive in opened for member in archive.members]
        for done, (archive, member) in enumerate(members, start=1):
            number = PurePosixPath(member.name).stem
            if not _is_slice(member) or number in cases:
                left_out[TWICE if number in cases else NOT_A_SLICE] += 1
                continue
            try:
                found = read(read_member(archive, member), source=member.name)
                cases[number] = _write(found, into, number=number, dataset=dataset)
            except (UnreadableImageError, InvalidPixelsError):
                left_out[UNREADABLE] += 1
            progress(done, len(members))
    if not cases:
        fact = f"holds no slice that can be read ({dict(left_out) or 'it is empty'})"
        raise ArchiveError(archives[0], fact, "Check that these are the archives of the set.")
    return list(cases.values()), left_out


def _is_slice(member: Member) -> bool:
    path = PurePosixPath(member.name)
    return path.suffix.lower() == ".mat" and path.stem != "cvind" and not member.is_hidden


def _inside(group: Any, name: str) -> Any:
    """Open an object of the file itself: a link must not lead to other files of this machine."""
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{name} lies in another file")
    return group[name]


def _array(record: Any, name: str) -> NDArray[Any]:
    """Read a dataset, unless it is large beyond reason or kept in another file."""
    dataset = _inside(record, name)
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} lies in another file")
    if dataset.size > ReadLimits.max_pixels:
        raise ValueError(f"{name} has {dataset.size:,} values")
    return np.asarray(dataset[()])


def _unsigned(image: NDArray[Any], source: str) -> NDArray[np.uint16]:
    if image.dtype.kind not in "iuf" or not np.isfinite(image).all():
        raise InvalidPixelsError(source, "holds pixels that are not numbers", FIX)
    lowest = min(0.0, float(image.min()))
    has_fractions = image.dtype.kind == "f" and bool((image % 1).any())
    if has_fractions or float(image.max()) - lowest > np.iinfo(np.uint16).max:
        raise InvalidPixelsError(source, "holds values that 16 bits cannot keep", FIX)
    return (image.astype(np.int64) - int(lowest)).astype(np.uint16)


def _write(found: Slice, into: Path, *, number: str, dataset: str) -> Case:
    name = f"{found.label.removeprefix('mri_')}/{number}.png"
    write_file(into / name, encode_png(found.pixels))
    write_file(into / f"masks/{number}.png", encode_png(found.mask.astype(np.uint8) * 255))
    return Case(
        path=into / name,
        key=f"{dataset}/{name}",
        label=found.label,
        dataset=dataset,
        patient=found.patient,
        group=found.patient.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") or found.patient,
        mask=into / f"masks/{number}.png",
    )


class SliceReader:
    """Reads slices in another process while the block lasts."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._child = ChildProcess(__name__, environment=os.environ | ONE_THREAD)

    def __enter__(self) -> "SliceReader":
        """Return itself; the process starts with the first file."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._child.close()

    def read(self, data: bytes, *, source: str) -> Slice:
        """Read a `.mat` file as `read_slice` does; raises an ImageError that names `source`."""
        try:
            head, pixels = self._child.ask({"source": source}, data, seconds=self._seconds)
        except ChildEndedError as e:
            fact = "ended the process that read it, or took too long or too much memory"
            raise UnreadableImageError(source, fact, FIX) from e
        return _slice_of(head, pixels, source)


def _slice_of(head: Head, data: bytes, source: str) -> Slice:
    """Return the slice that an answer holds; raises the ImageError that it holds instead."""
    kind = getattr(errors, str(head.get("error")), None)
    if isinstance(kind, type) and issubclass(kind, ImageError):
        raise kind(source, str(head["fact"]), FIX)
    try:
        height, width = map(int, head["shape"])
        pixels = np.frombuffer(data, np.uint16, height * width).reshape(height, width)
        mask = np.frombuffer(data, np.bool_, -1, pixels.nbytes).reshape(height, width)
        return Slice(pixels, mask, str(head["label"]), str(head["patient"]))
    except (LookupError, ValueError, TypeError) as e:
        raise UnreadableImageError(source, "was answered with nonsense", FIX) from e


def main() -> None:
    """Answer files until there are no more; the process itself."""
    limit_process(MEMORY_BYTES, limit="RLIMIT_AS")
    while True:
        try:
            head, data = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found = read_slice(data, source=head["source"])
        except ImageError as e:
            send(sys.stdout.buffer, {"error": type(e).__name__, "fact": e.fact}, b"")
        else:
            header = {"label": found.label, "patient": found.patient, "shape": found.pixels.shape}
            send(sys.stdout.buffer, header, found.pixels.tobytes() + found.mask.tobytes())


if __name__ == "__main__":
    main()
