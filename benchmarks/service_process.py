"""A service in a process of its own, and phantoms to send it: what the serve_* programs share."""

import io
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tumorlens.study.phantom import draw_phantom

KINDS = (("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "pituitary"))
READY_SECONDS = 300


@dataclass
class Running:
    """A service that is ready."""

    url: str
    process: subprocess.Popen
    ready_seconds: float

    def stop(self) -> None:
        """End it as an operator does, and wait."""
        self.process.terminate()
        self.process.wait(120)


def start(folder: Path, *, port: int, **environment: str) -> Running:
    """Start `tumorlens serve` on 127.0.0.1 and wait until it is ready."""
    given = {"TUMORLENS_STORE": str(folder / "store.sqlite"), **environment}
    command = [sys.executable, "-m", "tumorlens", "serve", "--port", str(port)]
    return start_command(command, folder, port=port, environment=given)


def start_command(
    command: list[str], folder: Path, *, port: int, environment: dict[str, str]
) -> Running:
    """Start a server and wait until /readyz answers; raises SystemExit where it ends instead."""
    started, url = time.perf_counter(), f"http://127.0.0.1:{port}"
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    while time.perf_counter() - started < READY_SECONDS:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return Running(url, process, time.perf_counter() - started)
    raise SystemExit("the server did not become ready")


def phantom_jpeg(seed: int, side: int = 224) -> bytes:
    """Draw a phantom and write it as JPEG."""
    pixels = draw_phantom(*KINDS[seed % len(KINDS)], seed=seed, side=side).pixels
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return _status(pid, "VmRSS")


def peak_mib(pid: int) -> float:
    """Return the largest resident memory that a process had."""
    return _status(pid, "VmHWM")


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return float("nan")
