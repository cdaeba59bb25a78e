"""Kill the DICOM node under a stream of series, again and again, and look for what is lost.

    python benchmarks/node_kill.py [--kills 50] [--series 200] [--slices 6] [--bundle FOLDER]

A sender stores drawn series one after the other, and sends again what was not acknowledged. At
random moments the node is ended by SIGKILL, and started again on the same spool and store. At the
end the store has to hold each slice once, nothing may be left in the spool, and the audit trail
has to verify. Every slice differs from all others. Everything goes over 127.0.0.1.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from pydicom import Dataset, uid
from pynetdicom.ae import ApplicationEntity

from tumorlens.services.spool import series_folders
from tumorlens.services.store import iter_predictions, open_store, verify
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.phantom.volumes import slice_dataset

QUIET_S = 1
SETTLE_S = 1800  # in which all that was acknowledged has to be answered


def main() -> None:
    """Send, kill, start, count."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--series", type=int, default=200)
    arguments.add_argument("--slices", type=int, default=6)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--bundle", default="")
    chosen = arguments.parse_args()
    moments = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), chosen.bundle)
        stream = Stream(node.port, chosen.series, chosen.slices)
        stream.start()
        kills = 0
        while stream.is_alive() or kills < chosen.kills:
            if kills < chosen.kills:
                enough = stream.acknowledged + moments.randrange(2 * chosen.slices)
                while stream.acknowledged < enough and stream.is_alive():
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 2 * QUIET_S))
                node.kill()
                node.start()
                kills += 1
                print(f"\rkill {kills}, {stream.acknowledged} acknowledged", end="", flush=True)
            else:
                time.sleep(0.1)
        seconds = node.settle()
        node.kill()
        judge(node.store, stream.acknowledged, kills=kills, resent=stream.resent, seconds=seconds)


class Node:
    """The node in a process group of its own."""

    def __init__(self, folder: Path, bundle: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.spool, self.store, self._bundle = folder / "spool", folder / "store.db", bundle
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        """Start it on the same spool and store; it is not waited for."""
        words = ["dicom", "node", self.spool, "--port", self.port, "--quiet", QUIET_S,
                 "--store", self.store, "--bundle", self._bundle]  # fmt: skip
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tumorlens", *map(str, words)],
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """End it and its processes at once."""
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def settle(self) -> float:
        """Wait until nothing is left to do; returns the seconds."""
        started = time.monotonic()
        while any(stage in ("series", "work") for stage, _ in series_folders(self.spool)):
            assert self._child.poll() is None, "the node ended by itself"
            assert time.monotonic() - started < SETTLE_S, "series are still not answered"
            time.sleep(0.2)
        dead = list((self.spool / "dead").iterdir())
        assert not dead, f"{len(dead)} series are dead"
        return time.monotonic() - started


class Stream(threading.Thread):
    """Sends series after series; a slice that is not acknowledged is sent again."""

    def __init__(self, port: int, series: int, slices: int) -> None:
        super().__init__(daemon=True)
        self._port, self._series, self._slices = port, series, slices
        self.acknowledged = self.resent = 0
        self._head = draw_phantom("mri", "glioma", seed=1, plane="axial", side=128).pixels

    def run(self) -> None:
        """Send all series."""
        for number in range(self._series):
            waiting = [self._dataset(number, k) for k in range(self._slices)]
            while waiting:
                waiting = [d for d, is_stored in self._send(waiting) if not is_stored]
                self.resent += len(waiting)

    def _send(self, datasets: list[Dataset]) -> list[tuple[Dataset, bool]]:
        entity = ApplicationEntity(ae_title="STREAM")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        entity.add_requested_context(uid.MRImageStorage, uid.ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self._port, ae_title="TUMORLENS")
        results = [(dataset, self._store(association, dataset)) for dataset in datasets]
        if association.is_established:
            association.release()
        else:
            time.sleep(0.1)  # the node is down
        return results

    def _store(self, association, dataset: Dataset) -> bool:
        if not association.is_established:
            return False
        try:
            is_stored = association.send_c_store(dataset).get("Status") == 0
        except (RuntimeError, ValueError, OSError):
            return False
        self.acknowledged += is_stored
        return is_stored

    def _dataset(self, series: int, number: int) -> Dataset:
        noise = np.random.default_rng([series, number]).integers(0, 9, self._head.shape)
        pixels = self._head.astype(np.uint16) + noise.astype(np.uint16)
        study = f"1.2.3.{series + 1}"
        return slice_dataset(
            pixels, number=number + 1, instance=f"{study}.{number + 1}", series=f"{study}.0",
            study=study, frame=f"{study}.9",
        )  # fmt: skip


def judge(store: Path, acknowledged: int, *, kills: int, resent: int, seconds: float) -> None:
    """Compare what was acknowledged with what is stored, and verify the trail."""
    opened = open_store(str(store))
    rows = list(iter_predictions(opened))
    distinct = len({row.input_sha256 for row in rows})
    verdict = verify(opened)
    print(f"\n{kills} kills, {acknowledged} slices acknowledged ({resent} sent again), "
          f"{len(rows)} answers of {distinct} slices, {len(verdict.problems)} problems of the "
          f"trail; settled {seconds:.0f} s after the last slice")  # fmt: skip
    print(f"lost: {acknowledged - distinct}, doubled: {len(rows) - distinct}")
    if acknowledged != distinct or len(rows) != distinct or verdict.problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
