"""Scans from outside are read in a process of its own, within limits of memory and time.

The decoders of `services.decoder` give prepared images, for which the pixels are done with; a page
shows the scan itself, so this one hands every slice of a file over as it is stored, and before
that what the file says of its slices.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tumorlens.images.readers import open_images_bytes, slice_headers_bytes
from tumorlens.images.slices import SliceHeader
from tumorlens.records import Scan, Unusable
from tumorlens.services.decoder import (
    BASE_BYTES,
    BYTES_PER_PIXEL,
    Request,
    answer_files,
    error_of_end,
    plain_environment,
    read_error,
)
from tumorlens.settings import ReadLimits
from tumorlens.worker_process import ChildEndedError, ChildProcess, Head, Message

SECONDS = 60.0  # of processor time for one file
BYTES_PER_VOXEL = 12  # as stored, as it is turned, and as it is handed over
_PLAIN = ("source", "modality", "notes", "plane", "spacing_mm", "position", "frame", "series")


class ScanReader:
    """One process that reads files, started with the first; safe to use from several threads."""

    def __init__(self, limits: ReadLimits, *, seconds: float = SECONDS) -> None:
        self._limits, self._seconds = limits, seconds
        memory = BASE_BYTES + BYTES_PER_PIXEL * limits.max_pixels + 2 * limits.max_bytes
        memory += 2 * limits.max_volume_bytes + BYTES_PER_VOXEL * limits.max_volume_pixels
        self._child = ChildProcess(__name__, str(memory), environment=plain_environment())
        self._lock = threading.Lock()

    def open_images(self, data: bytes, *, source: str) -> tuple[Scan, ...] | Unusable:
        """Read every slice of a file; raises what reading raises except ImageErrors."""
        answer = self._ask(Request(source, self._limits, self._seconds), data)
        return answer if isinstance(answer, Unusable) else _scans(answer[0]["scans"], answer[1])

    def slice_headers(self, data: bytes, *, source: str) -> tuple[SliceHeader, ...] | Unusable:
        """Read what a file says of its slices, without pixels; none of an image that stands alone.

        Raises as `open_images`.
        """
        answer = self._ask(Request(source, self._limits, self._seconds, is_headers=True), data)
        if isinstance(answer, Unusable):
            return answer
        return tuple(SliceHeader(**_with_tuples(row)) for row in answer[0]["headers"])

    def _ask(self, request: Request, data: bytes) -> Message | Unusable:
        with self._lock:
            try:
                answer = self._child.ask(asdict(request), data)
            except ChildEndedError as ended:
                return Unusable(error_of_end(request.source, ended.status, self._seconds))
        return read_error(answer[0]) or answer

    def close(self) -> None:
        """End the process, also in the middle of a file."""
        self._child.close()


def _scans(rows: Sequence[Head], blob: bytes) -> tuple[Scan, ...]:
    found, at = [], 0
    for row in rows:
        arrays: list[np.ndarray | None] = []
        for shape, kind in ((row["pixels"], np.float32), (row["colors"], np.uint8)):
            if shape is None:
                arrays.append(None)
                continue
            count = int(np.prod(shape))
            arrays.append(np.frombuffer(blob, kind, count, at).reshape(shape))
            at += arrays[-1].nbytes  # type: ignore[union-attr]
        plain = _with_tuples({name: row[name] for name in _PLAIN})
        found.append(Scan(pixels=arrays[0], colors=arrays[1], **plain))  # type: ignore[arg-type]
    return tuple(found)


def _with_tuples(row: Head) -> Head:
    """Return a row with its lists as the tuples that they were before they crossed the pipe."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}


def main() -> None:
    """Be such a process."""
    answer_files(_answer)


def _answer(request: Request, data: bytes) -> Message:
    if request.is_headers:
        headers = slice_headers_bytes(data, source=request.source, limits=request.limits)
        return {"headers": [asdict(header) for header in headers]}, b""
    scans = open_images_bytes(data, source=request.source, limits=request.limits)
    rows = [{name: getattr(scan, name) for name in _PLAIN} for scan in scans]
    for row, scan in zip(rows, scans, strict=True):
        row["pixels"] = scan.pixels.shape
        row["colors"] = None if scan.colors is None else scan.colors.shape
    blob = b"".join(
        part.tobytes() for scan in scans for part in (scan.pixels, scan.colors) if part is not None
    )
    return {"scans": rows}, blob


if __name__ == "__main__":
    main()
