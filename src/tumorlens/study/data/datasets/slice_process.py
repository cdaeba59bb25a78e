"""Slices of an archive are read in a process with limits: HDF5 has had many faults.

The h5py that TensorFlow allows brings an HDF5 with known ones, and an archive may come from
anywhere. The process reads one file at a time; one that takes too long, too much memory or the
process itself is refused, and another process takes its place. What comes back is JSON and
bytes, no pickle.
"""

import os
import sys
from typing import Any

import numpy as np

from tumorlens import errors
from tumorlens.errors import ImageError, UnreadableImageError
from tumorlens.study.data.datasets.figshare import FIX, Slice, read_slice
from tumorlens.worker_process import (
    ONE_THREAD,
    ChildEndedError,
    ChildProcess,
    limit_process,
    receive,
    send,
)

SECONDS = 60.0  # for one file; a slice takes some milliseconds
MEMORY_BYTES = 3 * 2**30  # of addresses: what libraries map is in it


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


def _slice_of(head: dict[str, Any], data: bytes, source: str) -> Slice:
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
            told = {"label": found.label, "patient": found.patient, "shape": found.pixels.shape}
            send(sys.stdout.buffer, told, found.pixels.tobytes() + found.mask.tobytes())


if __name__ == "__main__":
    main()
