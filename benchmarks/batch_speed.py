"""Time a batch job beside `predict` and beside Ray Data, in one run; and what a shard costs.

    python benchmarks/batch_speed.py [--images 2000] [--workers 1 2 4] [--shard-size 250]
        [--bundle tumorlens-small] [--repeats 3] [--side 224]

Drawn slices as JPEG, the same for all. Each row is a whole command, as a person runs it; the rate
is of the time in which scans were predicted, without starting processes and loading the network,
the best of the repeats. Rows take turns, so that all see the same load. `map_batches` of Ray Data
does the same preparation and the same network in actors of one core and writes Parquet.
"""

import argparse
import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image

from tumorlens.batch.parts import PartRecord, read_record
from tumorlens.batch.plan import load_plan
from tumorlens.batch.storage import Folder
from tumorlens.study.phantom import draw_phantom

RAY_DATA = """
import json, sys, time
import ray
from tumorlens.predictions.document import table_values
from tumorlens.predictions.predictor import load_predictor
from tumorlens.settings import Settings


class Predict:
    def __init__(self, bundle):
        import cv2
        cv2.setNumThreads(1)
        self.predictor = load_predictor(bundle, Settings(workers=1))

    def __call__(self, batch):
        rows = [table_values(p) for p in self.predictor.predict([str(x) for x in batch["item"]])]
        return {name: [row[name] for row in rows] for name in ("path", "decision", "tumor_probability", "error")}


if __name__ == "__main__":
    bundle, workers, out, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3], json.load(sys.stdin)
    ray.init(address="local", num_cpus=workers + 1, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    ray.data.DataContext.get_current().enable_progress_bars = False
    def run(given, to):
        started = time.perf_counter()
        ray.data.from_items(given, override_num_blocks=max(workers * 4, len(given) // 250)).map_batches(
            Predict, fn_constructor_args=(bundle,), concurrency=workers, batch_size=32, num_cpus=1
        ).write_parquet(to)
        return time.perf_counter() - started

    first = run(paths[:32 * workers], out + "-warm")  # starting actors and loading the network
    print(json.dumps({"seconds": run(paths, out), "start": first}))
"""  # noqa: E501


@dataclass(frozen=True)
class Timed:
    """What one row took."""

    seconds: float  # in which scans were predicted
    cpu_ms: float | None = None  # of all processes, for each scan


def main() -> None:
    """Draw, run each row in turns, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=2000)
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    arguments.add_argument("--shard-size", type=int, default=250)
    arguments.add_argument("--bundle", default="tumorlens-small")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--side", type=int, default=224)
    arguments.add_argument("--without", nargs="*", default=[], choices=["predict", "ray", "data"])
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(chosen, draw(Path(folder, "scans"), chosen.images, chosen.side))
        found: dict[str, list[Timed]] = defaultdict(list)
        walls: dict[str, list[float]] = defaultdict(list)
        for repeat in range(chosen.repeats):
            for name, row in rows.items():
                started = time.perf_counter()
                found[name].append(row(Path(folder, f"{name}-{repeat}")))
                walls[name].append(time.perf_counter() - started)
                print(f"{name}: {found[name][-1]}, {walls[name][-1]:.1f} s", file=sys.stderr)
        print_table(chosen, found, walls)
        print_overhead(chosen, Path(folder))


def rows_of(chosen: argparse.Namespace, scans: Path) -> dict[str, Callable[[Path], Timed]]:
    """Return what is timed, by name: each takes a place to write to."""
    rows: dict[str, Callable[[Path], Timed]] = {}
    if "predict" not in chosen.without:
        rows |= {f"predict, {n} threads": lambda out, n=n: predict(scans, out, n, chosen.bundle)
                 for n in chosen.workers}  # fmt: skip
    rows |= {f"batch, {n} local": lambda out, n=n: batch(scans, out, n, chosen, "local")
             for n in chosen.workers}  # fmt: skip
    if "ray" not in chosen.without:
        rows |= {f"batch, {n} on Ray": lambda out, n=n: batch(scans, out, n, chosen, "ray")
                 for n in chosen.workers}  # fmt: skip
    if "data" not in chosen.without:
        rows |= {f"Ray Data, {n} actors": lambda out, n=n: ray_data(scans, out, n, chosen.bundle)
                 for n in chosen.workers}  # fmt: skip
    return rows


def draw(folder: Path, count: int, side: int) -> Path:
    """Draw slices as JPEG; 100 heads under many names, as drawing is slow."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number >= 100:
            shutil.copyfile(folder / f"{number % 100:06}.jpg", path)
            continue
        finding = ("healthy", "glioma", "meningioma")[number % 3]
        phantom = draw_phantom("mri", finding, seed=number, plane="axial", side=side)
        Image.fromarray(phantom.pixels).save(path, quality=90)
    return folder


def predict(scans: Path, out: Path, threads: int, bundle: str) -> Timed:
    """Run `tumorlens predict`; returns the seconds that it says, and what one scan adds."""
    files = sorted(scans.iterdir())
    cpu = []
    for given in (files[0], scans):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = run("predict", given, "--out", f"{out}.csv", "--bundle", bundle,
                   "--workers", threads)  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seconds = float(said.partition(" in ")[2].partition(" s ")[0])
    return Timed(seconds, 1000 * (cpu[1] - cpu[0]) / (len(files) - 1))


def batch(scans: Path, out: Path, workers: int, chosen: argparse.Namespace, on: str) -> Timed:
    """Plan and run a job; returns the seconds from the start of the first shard to the last end."""
    run("batch", "plan", scans, "--out", out, "--bundle", chosen.bundle,
        "--shard-size", chosen.shard_size)  # fmt: skip
    run("batch", "run", out, "--workers", workers, "--on", on)
    return timed(records_of(out))


def timed(records: list[PartRecord]) -> Timed:
    """Return what shards took together."""
    ends = [datetime.fromisoformat(record.finished).timestamp() for record in records]
    starts = [end - record.seconds for end, record in zip(ends, records, strict=True)]
    scans = sum(record.scans for record in records)
    cpu_ms = 1000 * sum(record.cpu_seconds for record in records) / scans
    return Timed(max(ends) - min(starts), cpu_ms)


def records_of(job: Path) -> list[PartRecord]:
    """Read what workers said of their shards."""
    folder = Folder(str(job))
    return [read_record(folder, shard) for shard in load_plan(folder).shards]


def ray_data(scans: Path, out: Path, workers: int, bundle: str) -> Timed:
    """Map the same files through Ray Data; returns the seconds of a second run in one process."""
    environment = os.environ | {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }  # fmt: skip
    script = out.with_suffix(".py")
    script.write_text(RAY_DATA)
    done = subprocess.run(
        [sys.executable, str(script), bundle, str(workers), str(out)], capture_output=True,
        input=json.dumps([str(path) for path in sorted(scans.iterdir())]), text=True,
        env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return Timed(float(json.loads(done.stdout.splitlines()[-1])["seconds"]))


def run(*words: object) -> str:
    """Run a command; returns what it says to people."""
    done = subprocess.run(
        [sys.executable, "-m", "tumorlens", *map(str, words)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return next((line for line in done.stderr.splitlines() if " scans in " in line), "")


def print_table(
    chosen: argparse.Namespace, found: dict[str, list[Timed]], walls: dict[str, list[float]]
) -> None:
    """Print rates beside that of `batch` with one worker."""
    best = {name: min(row.seconds for row in rows) for name, rows in found.items()}
    one = best[f"batch, {chosen.workers[0]} local"]
    print(f"{chosen.images} JPEG of {chosen.side} px, {chosen.bundle}, {os.cpu_count()} cores, "
          f"best of {chosen.repeats}; load {os.getloadavg()[1]:.0f}\n")  # fmt: skip
    print("| | scans/s | beside one worker | CPU ms a scan | whole command, s |")
    print("|---|---|---|---|---|")
    for name, seconds in best.items():
        cpu = [row.cpu_ms for row in found[name] if row.cpu_ms is not None]
        print(f"| {name} | {chosen.images / seconds:.0f} | {one / seconds:.2f} | "
              f"{f'{min(cpu):.2f}' if cpu else '-'} | {min(walls[name]):.1f} |")  # fmt: skip


def print_overhead(chosen: argparse.Namespace, folder: Path) -> None:
    """Print what a shard costs, from the same scans in few shards and in many."""
    jobs = []
    for size in (chosen.images // 2, 20):
        job = folder / f"overhead-{size}"
        run("batch", "plan", folder / "scans", "--out", job, "--bundle", chosen.bundle,
            "--shard-size", size)  # fmt: skip
        run("batch", "run", job, "--workers", 1)
        jobs.append(records_of(job))
    few, many = jobs
    more = len(many) - len(few)
    seconds = timed(many).seconds - timed(few).seconds
    cpu = sum(record.cpu_seconds for record in many) - sum(record.cpu_seconds for record in few)
    print(f"\na shard costs {1000 * seconds / more:.0f} ms, of them {1000 * cpu / more:.0f} ms CPU "
          f"({len(few)} shards beside {len(many)}, {chosen.images} scans, one worker)")  # fmt: skip


if __name__ == "__main__":
    main()
