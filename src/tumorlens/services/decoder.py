"""Files from outside are decoded in processes that can be ended.

Each process decodes one file at a time, within limits that the kernel keeps: processor time for
the file, memory for the process, nothing written. One that exceeds them is ended, the file is
refused, and another process takes its place. What crosses the pipe is JSON and bytes, no pickle:
a decoder that a file has taken over can answer nonsense and nothing else.
"""

import ctypes
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
from PIL import Image

from tumorlens import errors
from tumorlens.errors import ImageError, ImageTooLargeError, TumorlensError, UnreadableImageError
from tumorlens.images.raster import SAVE_AS_PNG
from tumorlens.inputs.prepare import InputSpec, prepare_bytes
from tumorlens.records import PreparedScan, Unusable
from tumorlens.settings import ENVIRONMENT_PREFIX as PREFIX
from tumorlens.settings import ReadLimits
from tumorlens.worker_process import (
    ONE_THREAD,
    ChildEndedError,
    ChildProcess,
    Head,
    Message,
    limit_process,
    receive,
    send,
)

BASE_BYTES = 96 * 2**20  # of a process that has nothing to do, with some air
MAX_RESTING_BYTES = 128 * 2**20  # after a file; what leaks in a decoder would add up
BYTES_PER_PIXEL = 28  # that the hungriest format (WebP) takes while it is decoded, with some air
MIN_PIXELS = 1_000_000  # that a file may turn out to have, whatever it announces
SMALL_SHARE = 0.2  # of the time of a file of the largest size that any file has
TIME_SIGNALS = {getattr(signal, name, None) for name in ("SIGPROF", "SIGALRM")}  # not on Windows
WALL_FACTOR = 10  # by which the clock may run ahead of processor time on a busy machine
# Numbers of mallopt(3): its options have no names here.
GLIBC = {
    "M_TRIM_THRESHOLD": (-1, 4 * 2**20),
    "M_MMAP_THRESHOLD": (-3, 2**20),
    "M_ARENA_MAX": (-8, 2),
}


@dataclass(frozen=True)
class Request:
    """What is asked of a process that reads files, beside the bytes of a file."""

    source: str
    limits: ReadLimits
    seconds: float  # of processor time
    spec: InputSpec | None = None  # by which it is prepared; None: it is read alone
    is_headers: bool = False  # what it says of its slices, without pixels

    @classmethod
    def from_head(cls, head: Head) -> "Request":
        """Return what `asdict` gave; plainly, as it is done for every file."""
        spec = head["spec"] and InputSpec(**head["spec"])
        limits = ReadLimits(**head["limits"])
        return cls(head["source"], limits, head["seconds"], spec, head["is_headers"])


class Decoders:
    """Some processes that read and prepare files; safe to use from several threads."""

    def __init__(self, *, count: int, limits: ReadLimits, seconds: float) -> None:
        self._limits, self._seconds = limits, seconds
        memory = BASE_BYTES + BYTES_PER_PIXEL * limits.max_pixels + 2 * limits.max_bytes
        self._all = [
            ChildProcess(__name__, str(memory), environment=plain_environment())
            for _ in range(count)
        ]
        self._idle: queue.LifoQueue[ChildProcess] = queue.LifoQueue()
        for process in self._all:
            process.start()
            self._idle.put(process)

    def prepare(
        self, data: bytes, spec: InputSpec, *, source: str, pixels: int
    ) -> PreparedScan | Unusable:
        """Read and prepare the first slice of a file that announces so many pixels.

        Raises what reading raises except ImageErrors: these are returned.
        """
        largest = self._limits.max_pixels
        cap = min(max(pixels, MIN_PIXELS), largest)
        limits = replace(self._limits, max_pixels=cap)
        share = cap / largest
        seconds = self._seconds * (SMALL_SHARE + (1 - SMALL_SHARE) * share)
        request = Request(source, limits, seconds, spec)
        process = self._idle.get()
        try:
            answer = process.ask(asdict(request), data)
            process.renew(above=MAX_RESTING_BYTES)
            return _read_answer(*answer)
        except ChildEndedError as ended:
            with suppress(ChildEndedError):  # once closed
                process.start()
            return Unusable(error_of_end(source, ended.status, seconds))
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End every process, also in the middle of a file."""
        for process in self._all:
            process.close()


def plain_environment() -> dict[str, str]:
    """Return the environment without settings: the URL of a store may hold a password."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | ONE_THREAD


def _read_answer(head: Head, blob: bytes) -> PreparedScan | Unusable:
    if refused := read_error(head):
        return refused
    pixels = np.frombuffer(blob, np.uint8).reshape(head["shape"])
    matrix = None if head["matrix"] is None else np.array(head["matrix"], np.float64)
    notes, modality = tuple(head["notes"]), head["modality"]
    return PreparedScan(head["path"], pixels, notes, head["frame"], matrix, modality)


def read_error(head: Head) -> Unusable | None:
    """Return why a file was refused, None where it was not; raises any other error."""
    if "failure" in head:
        raise RuntimeError(f"a decoder failed: {head['failure']}")
    if "error" not in head:
        return None
    kind = getattr(errors, head["error"], None)
    if not (isinstance(kind, type) and issubclass(kind, TumorlensError)):
        raise RuntimeError("a decoder names an error that is none")
    error = kind(head["subject"], head["fact"], head["fix"])
    if isinstance(error, ImageError):
        return Unusable(error)
    raise error


def error_of_end(source: str, status: int, seconds: float) -> ImageError:
    """Return why a file brought its process to an end."""
    if -status in TIME_SIGNALS:
        fact = f"takes more than {seconds:.1f} s of processor time to decode"
        return ImageTooLargeError(source, fact, SAVE_AS_PNG)
    fact = f"cannot be decoded: its decoder was ended (status {status})"
    return UnreadableImageError(source, fact, SAVE_AS_PNG)


Answer = Callable[[Request, bytes], Message]


def main() -> None:
    """Be such a process."""
    return_memory()
    answer_files(_answer)


def answer_files(answer: Answer) -> None:
    """Answer file by file, each within its time, until the other side closes.

    The first word of the command line is the memory of the process in bytes.
    """
    cv2.setNumThreads(1)
    Image.init()  # now, so that the first file does not pay for it
    limit_process(int(sys.argv[1]), limit="RLIMIT_DATA")
    while True:
        try:
            head, data = receive(sys.stdin.buffer)
        except EOFError:
            return
        request = Request.from_head(head)
        with time_limit(request.seconds):
            message = _answer_or_error(answer, request, data)
        send(sys.stdout.buffer, *message)


def _answer_or_error(answer: Answer, request: Request, data: bytes) -> Message:
    try:
        return answer(request, data)
    except TumorlensError as error:
        return error_message(error), b""
    except (MemoryError, cv2.error):
        fact = "needs more memory to be decoded than a file may take"
        return error_message(ImageTooLargeError(request.source, fact, SAVE_AS_PNG)), b""
    except Exception as error:  # noqa: BLE001 (the edge of this process)
        return {"failure": type(error).__name__}, b""


def _answer(request: Request, data: bytes) -> Message:
    assert request.spec is not None
    found = prepare_bytes(data, request.spec, source=request.source, limits=request.limits)
    if isinstance(found, Unusable):
        return error_message(found.error), b""
    written = {
        "path": found.path,
        "notes": found.notes,
        "frame": found.frame,
        "matrix": None if found.matrix is None else found.matrix.tolist(),
        "modality": found.modality,
        "shape": found.pixels.shape,
    }
    return written, found.pixels.tobytes()


def error_message(error: TumorlensError) -> Head:
    """Return an error as plain data, for `read_error`."""
    row = {"subject": error.subject, "fact": error.fact, "fix": error.fix}
    return {"error": type(error).__name__, **row}


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Have the kernel end this process after so much processor time, or ten times by the clock."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WALL_FACTOR * seconds)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def return_memory() -> None:
    """Have glibc give large blocks back when they are freed, and share arenas among threads.

    By itself it learns from a large upload to keep such blocks, and memory stays high after it.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for option, value in GLIBC.values():
            mallopt(option, value)


if __name__ == "__main__":
    main()
