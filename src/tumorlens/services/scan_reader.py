"""Scans from outside are read in a process of its own, within limits of memory and time.

The decoders of `services.decoder` give prepared images, for which the pixels are done with; a page
shows the scan itself, so this one hands every slice of a file over as it is stored.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tumorlens.images.readers import open_images_bytes
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
        request = Request(source, self._limits, self._seconds)
        with self._lock:
            try:
                found, blob = self._child.ask(asdict(request), data)
            except ChildEndedError as ended:
                return Unusable(error_of_end(source, ended.status, self._seconds))
        return read_error(found) or _scans(found["scans"], blob)

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
        plain = {name: tuple(v) if isinstance(v := row[name], list) else v for name in _PLAIN}
        found.append(Scan(pixels=arrays[0], colors=arrays[1], **plain))  # type: ignore[arg-type]
    return tuple(found)


def main() -> None:
    """Be such a process."""
    answer_files(_answer)


def _answer(request: Request, data: bytes) -> Message:
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
