"""Kill workers, nodes and drivers of a batch job, again and again, and look for what is lost.

    python benchmarks/batch_kill.py [--scans 200000] [--files 1000] [--shard-size 500] [--kills 20]
        [--on local array ray] [--bundle tumorlens-tiny] [--seed 0] [--store FOLDER]

An index names drawn slices, each file many times under another id. The job is run on processes of
this machine, as an array of four tasks, and on a cluster of Ray of two nodes on loopback, each time
from the beginning. At random moments something is ended by SIGKILL: a worker, a driver (which is
started again, as a scheduler does it) or a node of the cluster (which comes back). At the end
`tumorlens batch verify` has to find every scan exactly once. A watch on the folder counts parts
that were written twice: shards that were done and were done again. What a kill may cost is what was
under way: a shard for each worker that it ended.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from tumorlens.study.phantom import draw_phantom

WORKERS, TASKS, NODES = 2, 4, 2
ACTOR = "ray::_RayTasks"
TRIES = 4  # to start a node
RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback
}


def main() -> None:
    """Draw, plan, run and kill, verify, for each kind of executor."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--scans", type=int, default=200_000)
    arguments.add_argument("--files", type=int, default=1000)
    arguments.add_argument("--shard-size", type=int, default=500)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--on", nargs="+", choices=list(RUNS), default=list(RUNS))
    arguments.add_argument("--bundle", default="tumorlens-tiny")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--store", type=Path, help="Folder for the jobs; default: temporary.")
    chosen = arguments.parse_args()
    print("| on | scans | shards | kills | shards ended by them, at most | done twice | minutes | "
          "verify |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=chosen.store) as folder:
        index = draw_index(Path(folder), chosen.files, chosen.scans)
        for on in chosen.on:
            job = Path(folder, f"job-{on}")
            tumorlens("batch", "plan", index, "--out", job, "--bundle", chosen.bundle,
                      "--shard-size", chosen.shard_size)  # fmt: skip
            run(on, job, chosen)
            shutil.rmtree(job)


def draw_index(folder: Path, files: int, scans: int) -> Path:
    """Draw slices, and name them in an index as often as it takes."""
    names = [folder / f"{number:05}.png" for number in range(files)]
    for number, path in enumerate(names):
        finding = ("healthy", "glioma", "meningioma")[number % 3]
        phantom = draw_phantom("mri", finding, seed=number, plane="axial", side=128)
        Image.fromarray(phantom.pixels).save(path)
    rows = {"path": [str(names[n % files]) for n in range(scans)],
            "id": [f"scan-{n}" for n in range(scans)]}  # fmt: skip
    pyarrow.parquet.write_table(pa.table(rows), folder / "index.parquet")
    return folder / "index.parquet"


def run(on: str, job: Path, chosen: argparse.Namespace) -> None:
    """Run one job through its kills, and print what became of it."""
    moments = random.Random(f"{chosen.seed} {on}")
    started = time.monotonic()
    runs = RUNS[on](job)
    watch = Watch(job / "parts")
    watch.start()
    shards = -(-chosen.scans // chosen.shard_size)
    # Spread over the job: a kill when so many parts are there.
    at = sorted(moments.sample(range(1, shards), chosen.kills))
    kills: Counter[str] = Counter()
    ended = 0
    try:
        while True:
            running = runs.keep_running()
            if at and watch.parts >= at[0]:
                at.pop(0)
                what = moments.choice(list(runs.kinds))
                time.sleep(moments.uniform(0, 1))  # somewhere in a shard
                ended += runs.kinds[what](moments)
                kills[what] += 1
            elif not running and not at:
                break
            time.sleep(0.05)
    finally:
        runs.stop()
        watch.is_over.set()
    watch.join()
    verified = tumorlens("batch", "verify", job).strip()
    named = ", ".join(f"{count} {what}" for what, count in sorted(kills.items()))
    minutes = (time.monotonic() - started) / 60
    print(f"| {on} | {chosen.scans:,} | {shards} | {kills.total()} ({named}) | {ended} | "
          f"{watch.twice} | {minutes:.1f} | {verified} |", flush=True)  # fmt: skip
    assert verified.startswith("whole"), verified


def tumorlens(*words: object) -> str:
    """Run a command to its end; returns what it writes."""
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    return done.stdout


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tumorlens", *map(str, words)]


class Watch(threading.Thread):
    """Sees each part come; one that is written again is another file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._seen = folder, dict[str, int]()
        self.parts = self.twice = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        """Look until the run is over, and once more."""
        while not self.is_over.wait(0.02):
            self._look()
        self._look()

    def _look(self) -> None:
        if not self._folder.is_dir():
            return
        with os.scandir(self._folder) as entries:
            found = {e.name: e.inode() for e in entries if e.name.endswith(".parquet")}
        self.twice += sum(self._seen.get(name, inode) != inode for name, inode in found.items())
        self._seen = found
        self.parts = len(found)


class Drivers:
    """Commands that are started again until they end well."""

    def __init__(self, commands: list[list[str]], address: str = "") -> None:
        self._commands = commands
        self._environment = os.environ | ({"RAY_ADDRESS": address} if address else {})
        self._left: dict[int, subprocess.Popen[bytes]] = {}
        self._is_done: set[int] = set()
        self.kinds: dict[str, Callable[[random.Random], int]] = {
            "driver": self.kill_driver,
            "worker": self.kill_worker,
        }

    def keep_running(self) -> bool:
        """Start what is not done and does not run; returns whether anything is left."""
        for number, words in enumerate(self._commands):
            driver = self._left.get(number)
            if driver is not None and driver.poll() == 0:
                self._is_done.add(number)
            if number not in self._is_done and (driver is None or driver.poll() is not None):
                self._left[number] = subprocess.Popen(
                    words, env=self._environment, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )  # fmt: skip
        return len(self._is_done) < len(self._commands)

    def kill_driver(self, moments: random.Random) -> int:
        """End a driver; its workers end with it. Returns how many shards that may have ended."""
        driver = moments.choice([d for d in self._left.values() if d.poll() is None] or [None])
        if driver is None:
            return 0
        workers = len(self.workers_of(driver))
        driver.kill()
        driver.wait()
        return workers

    def kill_worker(self, moments: random.Random) -> int:
        """End one worker."""
        workers = [w for d in self._left.values() if d.poll() is None for w in self.workers_of(d)]
        if not workers:
            return 0
        with suppress(psutil.NoSuchProcess):
            moments.choice(workers).kill()
        return 1

    def workers_of(self, driver: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """List the processes of a driver that do shards."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(driver.pid).children()
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return []

    def stop(self) -> None:
        """End what is left."""
        for driver in self._left.values():
            driver.kill()


class OnRay(Drivers):
    """A driver on a cluster of two nodes, on loopback, with a token."""

    def __init__(self, job: Path) -> None:
        os.environ |= RAY_ENVIRONMENT  # Ray reads it as it is imported
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster()
        self._add(0)
        self._nodes = [self._add(1) for _ in range(NODES)]
        words = command("batch", "run", job, "--on", "ray", "--workers", NODES)
        super().__init__([words], self._cluster.address)
        self.kinds["node"] = self.kill_node

    def workers_of(self, driver: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """List the actors of the cluster."""
        return [p for p in psutil.process_iter(["name", "cmdline"])
                if " ".join(p.info["cmdline"] or ()).startswith(ACTOR)]  # fmt: skip

    def kill_node(self, moments: random.Random) -> int:
        """End a node with all on it, and add another."""
        number = moments.randrange(NODES)
        self._cluster.remove_node(self._nodes[number], allow_graceful=False)
        self._nodes[number] = self._add(1)
        return 1

    def _add(self, cores: int) -> Any:
        """Add a node, again where the machine was too busy for the limits of Ray."""
        for _ in range(TRIES):
            with suppress(Exception):
                return self._cluster.add_node(num_cpus=cores)
        return self._cluster.add_node(num_cpus=cores)

    def stop(self) -> None:
        """End the driver and the cluster."""
        super().stop()
        self._cluster.shutdown()


def on_processes(job: Path) -> Drivers:
    """One driver with its workers."""
    return Drivers([command("batch", "run", job, "--workers", WORKERS)])


def as_array(job: Path) -> Drivers:
    """Four tasks of an array with a worker each, as Slurm starts them."""
    return Drivers([
        command("batch", "run", job, "--shard", f"{number}/{TASKS}", "--workers", 1)
        for number in range(1, TASKS + 1)
    ])  # fmt: skip


RUNS: dict[str, Callable[[Path], Drivers]] = {
    "local": on_processes,
    "array": as_array,
    "ray": OnRay,
}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
