"""A child process that answers files over pipes: messages of JSON and bytes, and its limits.

No pickle crosses a pipe: a decoder that a file has taken over can answer nonsense, nothing else.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

# Environment of a child, or of this process before the libraries are loaded.
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
Head = dict[str, Any]  # of a message, as JSON holds it
Message = tuple[Head, bytes]
_LENGTHS = struct.Struct(">LL")


def use_one_thread() -> None:
    """Let numeric libraries that are loaded from now on use one thread each, or as many as is set.

    For commands that do many scans side by side: threads of a library in each only wait.
    """
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


class ChildEndedError(Exception):
    """A child ended before it answered; `status` is below 0 where a signal ended it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ChildProcess:
    """A Python module that answers messages one by one; started again whenever it has ended."""

    def __init__(
        self,
        module: str,
        *words: str,
        environment: Mapping[str, str],
        greeting: Head | None = None,
        is_quiet: bool = True,
    ) -> None:
        """Start nothing yet; `greeting` is sent first, and is no word that all users see."""
        self._words = [sys.executable, "-P", "-m", module, *words]
        self._environment, self._greeting = dict(environment), greeting
        self._errors = subprocess.DEVNULL if is_quiet else None
        self._child: subprocess.Popen[bytes] | None = None
        self._is_open = True
        self._lock = threading.Lock()  # of the start: what is closed is not started again

    def start(self) -> "subprocess.Popen[bytes]":
        """Start without waiting until it is ready; raises ChildEndedError once closed."""
        with self._lock:
            if not self._is_open:
                raise ChildEndedError(-signal.SIGTERM)
            child = self._child = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        if self._greeting is not None:
            with suppress(OSError):  # it has ended already: asking it gives the error
                send(child.stdin, self._greeting, b"")
        return child

    def ask(self, head: Head, data: bytes = b"", *, seconds: float | None = None) -> Message:
        """Send a message and wait for the answer; raises ChildEndedError where none comes.

        After `seconds` the child is killed.
        """
        child = self._child
        if child is None or child.poll() is not None:  # or killed while it had nothing to do
            child = self.start()
        watch = threading.Timer(seconds, child.kill) if seconds is not None else None
        if watch is not None:
            watch.start()
        try:
            send(child.stdin, head, data)
            return receive(child.stdout)
        except (OSError, EOFError, ValueError):
            raise ChildEndedError(_end(child)) from None
        finally:
            if watch is not None:
                watch.cancel()

    def renew(self, *, above: int) -> None:
        """Start again where the child fills more memory than so many bytes, where that is told."""
        child = self._child
        if child is not None and _resident_bytes(child.pid) > above:
            _end(child)
            with suppress(ChildEndedError):  # once closed
                self.start()

    def close(self) -> None:
        """End it for good, also in the middle of an answer."""
        with self._lock:
            self._is_open = False
            if self._child is not None:
                self._child.kill()
                self._child.wait()


def _resident_bytes(pid: int) -> int:
    """Return the memory that a process fills; 0 where the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _end(child: "subprocess.Popen[bytes]") -> int:
    child.kill()
    status = child.wait()
    for stream in (child.stdin, child.stdout):
        with suppress(OSError):
            assert stream is not None
            stream.close()
    return status


def send(stream: IO[bytes] | None, head: Head, data: bytes) -> None:
    """Write one message whole."""
    assert stream is not None
    text = json.dumps(head).encode()
    stream.write(_LENGTHS.pack(len(text), len(data)) + text)
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> Message:
    """Read one message; raises EOFError where the other side has ended."""
    assert stream is not None
    text, data = map(int, _LENGTHS.unpack(_exactly(stream, _LENGTHS.size)))
    return json.loads(_exactly(stream, text)), _exactly(stream, data)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the process ended")
    return data


def limit_memory(memory: int, *, limit: str = "RLIMIT_DATA") -> None:
    """Bound the memory of this process in bytes; does nothing on Windows.

    `limit` names what is bounded: RLIMIT_DATA (what it fills) or RLIMIT_AS (all addresses).
    """
    try:
        import resource
    except ModuleNotFoundError:
        return
    resource.setrlimit(getattr(resource, limit), (memory, memory))


def limit_process(memory: int, *, limit: str) -> None:
    """Bound memory as `limit_memory` does, and let this process write nothing but its pipe."""
    limit_memory(memory, limit=limit)
    try:
        import resource
    except ModuleNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
