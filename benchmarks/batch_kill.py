"""Kill workers, nodes and drivers of a batch job, again and again, and look for what is lost.

    python benchmarks/batch_kill.py [--scans 200000] [--files 1000] [--shard-size 500] [--kills 20]
        [--on local array ray] [--bundle tumorlens-tiny] [--seed 0] [--store FOLDER]

An index names drawn slices, each file many times under another id. The job is run on processes of
this machine, as an array of four tasks by deploy/slurm-array.sh, and on a cluster of Ray of two
nodes on loopback, each time from the beginning. At random moments something is ended by SIGKILL: a
worker, a driver (which is started again, as a scheduler does it) or a node of the cluster (which
comes back). At the end `tumorlens batch verify` has to find every scan exactly once. A watch on the
folder counts parts that were written twice: shards that were done and were done again. What a kill
may cost is what was under way: a shard for each worker that it ended.

Progress goes to standard error. With --store the same command goes on where it was stopped; what it
holds is the files, the rows of one job at a time, and a row of the table for each job that ended.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet
from PIL import Image
from ray_cluster import RayCluster

from tumorlens.json_records import write_json
from tumorlens.study.phantom import draw_phantom

WORKERS, TASKS, NODES = 2, 4, 2
ARRAY = Path(__file__).resolve().parents[1] / "deploy/slurm-array.sh"
NOTE_SECONDS = 10.0
END_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # a driver, where this program is killed


@dataclass
class Record:
    """What is known of one job, kept between two starts of this program."""

    asked: str  # the options that it depends on
    kills: dict[str, int] = field(default_factory=dict)
    ended: int = 0  # shards that kills may have ended
    twice: int = 0
    seconds: float = 0.0
    verified: str = ""  # "" until it ended


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
    arguments.add_argument("--store", type=Path, help="Folder to go on in; default: temporary.")
    chosen = arguments.parse_args()
    print("| on | scans | shards | kills | shards ended by them, at most | done twice | minutes | "
          "verify |\n|---|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
    with ExitStack() as stack:
        folder = chosen.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for on in chosen.on:
            print_row(on, run(on, folder.resolve(), chosen), chosen)


def run(on: str, folder: Path, chosen: argparse.Namespace) -> Record:
    """Run one job to its end, unless that was done before."""
    words = (chosen.scans, chosen.files, chosen.shard_size, chosen.kills, chosen.bundle,
             chosen.seed)  # fmt: skip
    file, job, record = folder / f"{on}.json", folder / f"job-{on}", Record(str(words))
    if file.exists():
        record = Record(**json.loads(file.read_text()))
        if record.asked != str(words):
            sys.exit(f"{file} is of {record.asked}, asked for are {words}: name another --store")
    if not record.verified:
        index = draw_index(folder, chosen.files, chosen.scans)
        tumorlens("batch", "plan", index, "--out", job, "--bundle", chosen.bundle,
                  "--shard-size", chosen.shard_size)  # fmt: skip
        run_and_kill(on, job, record, chosen, keep=lambda: write_json(asdict(record), file))
        record.verified = tumorlens("batch", "verify", job).strip()
        write_json(asdict(record), file)
        shutil.rmtree(job)
    return record


def print_row(on: str, record: Record, chosen: argparse.Namespace) -> None:
    """Print what became of a job."""
    named = ", ".join(f"{count} {what}" for what, count in sorted(record.kills.items()))
    shards = -(-chosen.scans // chosen.shard_size)
    print(f"| {on} | {chosen.scans:,} | {shards} | {sum(record.kills.values())} ({named}) | "
          f"{record.ended} | {record.twice} | {record.seconds / 60:.1f} | {record.verified} |",
          flush=True)  # fmt: skip
    assert record.verified.startswith("whole"), record.verified


def draw_index(folder: Path, files: int, scans: int) -> Path:
    """Draw slices, and name them in an index as often as it takes, unless that is there."""
    if (folder / "index.parquet").exists():
        return folder / "index.parquet"
    names = [folder / f"{number:05}.png" for number in range(files)]
    for number, path in enumerate(names):
        finding = ("healthy", "glioma", "meningioma")[number % 3]
        phantom = draw_phantom("mri", finding, seed=number, plane="axial", side=128)
        Image.fromarray(phantom.pixels).save(path)
    rows = {"path": [str(names[n % files]) for n in range(scans)],
            "id": [f"scan-{n}" for n in range(scans)]}  # fmt: skip
    pyarrow.parquet.write_table(pa.table(rows), folder / "index.parquet")
    return folder / "index.parquet"


def run_and_kill(
    on: str, job: Path, record: Record, chosen: argparse.Namespace, *, keep: Callable[[], None]
) -> None:
    """Run one job through the kills that are left of it; `keep` is called after each."""
    moments = random.Random(f"{chosen.seed} {on} {sum(record.kills.values())}")
    shards = -(-chosen.scans // chosen.shard_size)
    # Spread over the job: a kill when so many parts are there.
    at = sorted(random.Random(f"{chosen.seed} {on}").sample(range(1, shards), chosen.kills))
    del at[: sum(record.kills.values())]
    started, twice, before, last = time.monotonic(), record.twice, record.seconds, 0.0
    watch = Watch(job / "parts")
    watch.start()
    runs = RUNS[on](job)
    try:
        while True:
            running = runs.keep_running()
            record.twice, record.seconds = twice + watch.twice, before + time.monotonic() - started
            if at and watch.parts >= at[0]:
                at.pop(0)
                what = moments.choice(list(runs.kinds))
                time.sleep(moments.uniform(0, 1))  # somewhere in a shard
                record.ended += runs.kinds[what](moments)
                record.kills[what] = record.kills.get(what, 0) + 1
                keep()
            elif not running and not at:
                break
            if time.monotonic() - last > NOTE_SECONDS:
                last = time.monotonic()
                print(f"{time.strftime('%H:%M:%S')} {on}: {watch.parts} of {shards} parts, "
                      f"{sum(record.kills.values())} of {chosen.kills} kills", file=sys.stderr,
                      flush=True)  # fmt: skip
            time.sleep(0.05)
    finally:
        runs.stop()
        watch.is_over.set()
        watch.join()
        record.twice = twice + watch.twice
        keep()


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
        scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = os.environ | {"PATH": scripts}  # `tumorlens` of this Python
        self._environment |= {"RAY_ADDRESS": address} if address else {}
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
                    [*END_WITH_US, *words], env=self._environment, stdout=subprocess.DEVNULL,
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
        self._cluster = RayCluster(NODES)
        words = command("batch", "run", job, "--on", "ray", "--workers", NODES)
        super().__init__([words], self._cluster.address)
        self.kinds |= {"worker": self._cluster.kill_worker, "node": self._cluster.kill_node}

    def workers_of(self, driver: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """List the actors of the cluster."""
        return self._cluster.workers()

    def stop(self) -> None:
        """End the driver and the cluster."""
        super().stop()
        self._cluster.stop()


def on_processes(job: Path) -> Drivers:
    """One driver with its workers."""
    return Drivers([command("batch", "run", job, "--workers", WORKERS)])


def as_array(job: Path) -> Drivers:
    """Four tasks of an array on a core each, with what Slurm tells them."""
    cores = sorted(os.sched_getaffinity(0))
    return Drivers([
        ["taskset", "-c", str(cores[task % len(cores)]), "env", f"SLURM_ARRAY_TASK_ID={task}",
         "SLURM_ARRAY_TASK_MIN=1", f"SLURM_ARRAY_TASK_MAX={TASKS}", "SLURM_ARRAY_TASK_STEP=1",
         f"SLURM_ARRAY_TASK_COUNT={TASKS}", "bash", str(ARRAY), str(job)]
        for task in range(1, TASKS + 1)
    ])  # fmt: skip


RUNS: dict[str, Callable[[Path], Drivers]] = {
    "local": on_processes,
    "array": as_array,
    "ray": OnRay,
}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
