"""Memory of a batch job while its rows grow: what `batch run` holds, shard after shard.

    python benchmarks/batch_memory.py [--rows 100000] [--files 1000] [--shard-size 1000]
        [--bundle tumorlens-tiny] [--store FOLDER]

An index names drawn slices, each file many times under another id. One worker does the job; what
the driver and the worker hold (resident, sampled four times a second) is printed for each tenth of
the shards, and the growth a row between the second tenth and the last.
"""

import argparse
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from batch_kill import command, draw_index, tumorlens

STEPS = 10
WARM = 1  # steps in which a process is still loading


def main() -> None:
    """Plan, run, sample, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--files", type=int, default=1000)
    arguments.add_argument("--shard-size", type=int, default=1000)
    arguments.add_argument("--bundle", default="tumorlens-tiny")
    arguments.add_argument("--store", type=Path, help="Folder for the job; default: temporary.")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.store and chosen.store.resolve()) as folder:
        job = Path(folder, "job")
        index = draw_index(Path(folder), chosen.files, chosen.rows)
        tumorlens("batch", "plan", index, "--out", job, "--bundle", chosen.bundle,
                  "--shard-size", chosen.shard_size)  # fmt: skip
        peaks = run(job, -(-chosen.rows // chosen.shard_size))
        verified = tumorlens("batch", "verify", job).strip()
    print("| rows done | driver, MB | worker, MB |\n|---:|---:|---:|")
    for step, (driver, worker) in enumerate(peaks):
        print(
            f"| {chosen.rows * (step + 1) // STEPS:,} | {driver / 1e6:.0f} | {worker / 1e6:.0f} |"
        )
    rows = chosen.rows * (STEPS - 1 - WARM) / STEPS
    for name, first, last in zip(("driver", "worker"), peaks[WARM], peaks[-1], strict=True):
        print(f"{name}: {(last - first) / rows:.0f} bytes a row")
    print(verified)


def run(job: Path, shards: int) -> list[tuple[int, int]]:
    """Run a job and return the most that driver and worker held in each step."""
    peaks = [(0, 0)] * STEPS
    driver = psutil.Popen(
        command("batch", "run", job, "--workers", 1), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while driver.poll() is None:
        done = len(list((job / "parts").glob("*.parquet")))
        step = min(STEPS - 1, done * STEPS // shards)
        with suppress(psutil.NoSuchProcess):
            held = driver.memory_info().rss
            workers = [child.memory_info().rss for child in driver.children(recursive=True)]
            peaks[step] = max(peaks[step][0], held), max([peaks[step][1], *workers])
        time.sleep(0.25)
    return peaks


if __name__ == "__main__":
    main()
