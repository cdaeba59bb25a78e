"""Debian's Orthanc with its DICOMweb plugin, on ports of its own, as the PACS of tests."""

import json
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
TITLE = "ORTHANC"


@dataclass(frozen=True)
class Orthanc:
    """A running PACS."""

    dicom_port: int
    http_port: int

    @property
    def entity(self) -> str:
        return f"{TITLE}@127.0.0.1:{self.dicom_port}"

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as r:
            return r.read()

    def instances(self) -> list[str]:
        return json.loads(self.get("/instances"))

    def clear(self) -> None:
        for patient in json.loads(self.get("/patients")):
            url = f"http://127.0.0.1:{self.http_port}/patients/{patient}"
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=30).close()


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Start it with an empty storage in `folder`, or skip the test where it is not installed."""
    program = shutil.which("Orthanc")
    if program is None or not _PLUGIN.exists():
        pytest.skip("Orthanc is not installed (Debian orthanc, orthanc-dicomweb)")
    orthanc = Orthanc(free_port(), free_port())
    settings = {
        "Name": "tests", "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"), "Plugins": [str(_PLUGIN)],
        "HttpPort": orthanc.http_port, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomPort": orthanc.dicom_port, "DicomAet": TITLE,
        "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True, "OverwriteInstances": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        _wait(orthanc, process, folder / "orthanc.log")
        yield orthanc
    finally:
        process.terminate()
        process.wait(30)


def _wait(orthanc: Orthanc, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            orthanc.get("/system")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"Orthanc did not start:\n{log.read_text()[-2000:]}")
