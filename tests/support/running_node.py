"""A node in a process of its own, and dcmtk's sender, on loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pynetdicom.ae import ApplicationEntity
from support.live_server import free_port
from support.waiting import PATIENCE_S, wait_until

from tumorlens.services.node import send
from tumorlens.services.node.node import Node, NodeOptions
from tumorlens.services.node.receiver import ReceiverOptions
from tumorlens.services.spool import OBJECTS, Spool, State, series_folders, write_state
from tumorlens.services.store import open_store
from tumorlens.settings import Settings

# pynetdicom brings a program of the same name along.
DCMTK = shutil.which("storescu", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
needs_dcmtk = pytest.mark.skipif(DCMTK is None, reason="dcmtk is not installed")
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")  # made at once


class RunningNode:
    """A started node; its events are read from its log."""

    def __init__(self, folder: Path, bundle: Path, *words: str | Path) -> None:
        self.port, self.spool, self.store = free_port(), folder / "spool", folder / "store.db"
        self._words = ["--bundle", bundle, "--store", self.store, "--quiet", "1", *words]
        self.events: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        words = ["dicom", "node", self.spool, "--port", self.port, *self._words]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tumorlens", *map(str, words)],
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, args=[self._child], daemon=True).start()
        self.wait_for(self._is_open, "to listen")

    def kill(self) -> None:
        """End it and its processes at once, as a power cut does."""
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def stop(self) -> int:
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(PATIENCE_S)

    def is_running(self) -> bool:
        return self._child.poll() is None

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> object:
            assert self.is_running(), f"ended: {self.events}"
            return condition()

        wait_until(holds, what)

    def count(self, event: str) -> int:
        return sum(row["event"] == event for row in self.events)

    def waits(self) -> bool:
        """Tell whether something is on disk that is not dealt with."""
        return any(stage in ("series", "work") for stage, _ in series_folders(self.spool))

    def _is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        for line in child.stderr or ():
            if line.startswith("{"):
                self.events.append(json.loads(line))


def make_certificates(folder: Path) -> Path:
    """Make an authority (ca), and a server's and a client's certificate of it; PEM, for a day."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):  # the other authority signs nobody
        run("req", "-x509", *NEW_KEY, "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.pem", "-days", "1", "-subj", f"/CN={name}")  # fmt: skip
    for name in ("server", "client"):
        run("req", *NEW_KEY, "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.csr", "-subj", f"/CN={name}", "-addext",
            "subjectAltName=IP:127.0.0.1")  # fmt: skip
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-copy_extensions", "copy", "-days", "1", "-out",
            f"{name}.pem")  # fmt: skip
    return folder


@contextmanager
def running_node(folder: Path, bundle: Path, *words: str | Path) -> Iterator[RunningNode]:
    node = RunningNode(folder, bundle, *words)
    try:
        yield node
    finally:
        if node.is_running():
            node.kill()


def storescu(port: int, files: Sequence[Path], *words: str) -> "subprocess.CompletedProcess[str]":
    """Send files with dcmtk; its exit status is not 0 where one was not stored."""
    assert DCMTK
    return subprocess.run(
        [DCMTK, "-aec", "TUMORLENS", *words, "127.0.0.1", str(port), *map(str, files)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def associate(port: int, *, title="CT_1", called="TUMORLENS", contexts=None, tls=None):
    entity = ApplicationEntity(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = 60
    for storage, syntax in contexts or [("1.2.840.10008.1.1", uid.ImplicitVRLittleEndian)]:
        entity.add_requested_context(storage, syntax)
    tls_args = (tls, None) if tls else None
    return send.associate(entity, "127.0.0.1", port, ae_title=called, tls_args=tls_args)


def own_node(spool: Spool, *, log, **options) -> Node:
    """Return a node in this process, which answers nothing."""
    return Node(
        spool, open_store(str(spool.root / "store.db")), Settings(),
        routes=options.pop("routes", ()), receiver=ReceiverOptions(port=free_port()),
        options=NodeOptions(**options), log=log,
    )  # fmt: skip


def answered_folder(spool: Spool, *pending: str):
    """Return the folder of a series that is answered, with one object to be sent."""
    spool.add(b"slice", caller="CT_1", series="1.2", instance="1.2.3")
    [folder] = spool.complete(quiet_s=0)
    (folder / OBJECTS).mkdir()
    (folder / OBJECTS / "report-1.dcm").touch()
    write_state(folder, State("CT_1", is_answered=True, pending=pending))
    return folder
