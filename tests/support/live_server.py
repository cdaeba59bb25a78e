"""A service in a process of its own, for what only a real one can show."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Live:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, seconds: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path, *, port: int = 0, **environment: str) -> Live:
    """Start a service whose store is FOLDER/store.sqlite, and wait until it is ready."""
    port = port or free_port()
    given = {"TUMORLENS_STORE": str(folder / "store.sqlite"), "TUMORLENS_WORKERS": "2"}
    log = folder / "serve.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tumorlens", "serve", "--port", str(port)],
            env={**os.environ, **given, **environment}, stdout=file, stderr=file,
        )  # fmt: skip
    live = Live(port, process, log)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the service ended:\n{log.read_text()}")
        try:
            urllib.request.urlopen(f"{live.url}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return live
    process.kill()
    raise AssertionError(f"the service did not become ready:\n{log.read_text()}")


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Live]:
    live = start(folder, **environment)
    try:
        yield live
    finally:
        live.process.kill()
        live.process.wait()
