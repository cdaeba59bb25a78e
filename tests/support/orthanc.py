"""Debian's Orthanc with its DICOMweb plugin, on ports of its own, as the PACS of tests."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.live_server import free_port

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SHIPPED = Path(__file__).parents[2] / "deploy" / "orthanc.json"
TITLE, USER, PASSWORD = "ORTHANC", "tumorlens", "of-the-tests"


@dataclass
class Orthanc:
    """A running PACS."""

    dicom_port: int
    http_port: int
    folder: Path
    program: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def entity(self) -> str:
        return f"{TITLE}@127.0.0.1:{self.dicom_port}"

    @property
    def web(self) -> str:
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.http_port}/dicom-web"

    def request(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}",
            headers={"Authorization": f"Basic {secret}"},
            method=method,
            data=body,
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.read()

    def instances(self) -> list[str]:
        return json.loads(self.request("/instances"))

    def clear(self) -> None:
        for patient in json.loads(self.request("/patients")):
            self.request(f"/patients/{patient}", "DELETE")

    def start(self) -> None:
        """Start it, also on the storage that a killed one left, and wait until it answers."""
        log = self.folder / "orthanc.log"
        with log.open("ab") as written:
            self.process = subprocess.Popen(
                [self.program, str(self.folder / "orthanc.json")], stdout=written, stderr=written,
                env={**os.environ, "ORTHANC_PASSWORD": PASSWORD},
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.request("/system")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"Orthanc did not start:\n{log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start it as deploy/orthanc.json says, with an empty storage in `folder`.

    Skips the test where it is not installed.
    """
    program = shutil.which("Orthanc")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc is not installed (Debian orthanc, orthanc-dicomweb)")
    orthanc = Orthanc(free_port(), free_port(), folder, program)
    here = {
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(_PLUGIN)], "RemoteAccessAllowed": False,
        "HttpPort": orthanc.http_port, "DicomPort": orthanc.dicom_port,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps({**json.loads(SHIPPED.read_text()), **here}))
    orthanc.start()
    try:
        yield orthanc
    finally:
        assert orthanc.process is not None
        orthanc.process.terminate()
        orthanc.process.wait(30)
