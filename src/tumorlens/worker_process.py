"""A child process that answers files over pipes: messages of JSON and bytes, and its limits.

No pickle crosses a pipe: a decoder that a file has taken over can answer nonsense, nothing else.
"""

import json
import struct
from typing import IO, Any

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # environment of a child
Message = tuple[dict[str, Any], bytes]
_LENGTHS = struct.Struct(">LL")


def send(stream: IO[bytes] | None, head: dict[str, Any], data: bytes) -> None:
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
