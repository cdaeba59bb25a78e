"""Train experiments on a cluster of Ray that is killed in the middle, beside the same ones here.

    python benchmarks/experiments_kill.py [--only NAME ...] [--per-class 6] [--kills 2] [--seed 0]
        [--store FOLDER]

Each kind of experiment runs on drawn scans with a tiny recipe: first on processes of this machine,
then on a cluster of two nodes on loopback, both with one core a network. On the cluster a worker, a
node and the driver are ended by SIGKILL in turn, each when another epoch has ended; the driver is
started again with the same words, as a scheduler does it. At the end both tables of scores have to
name the same rows. The greatest difference between their numbers is printed. With --store, what has
ended stays, and is not done again.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from ray_cluster import RayCluster

from tumorlens.files import read_table
from tumorlens.json_records import write_json
from tumorlens.study.recipes import find_recipe

NODES = 2
EPOCHS = 3
HERE = Path(__file__).resolve().parent
SETS = ("multimodal", "br35h", "navoneel", "bohaju", "figshare")
TINY = {
    "name": "tiny", "side": 48, "train_side": 48, "epochs": EPOCHS, "batch": 16,
    "warmup_epochs": 0.0, "ood_images": 0,
    "options": {"stem": 8, "widths": [8, 16], "depths": [1, 1]},
}  # fmt: skip
Words = Sequence[object]
Rows = dict[tuple[str, ...], list[float]]  # figures by what names a row of scores


@dataclass(frozen=True)
class Experiment:
    """A command that trains several networks, and the tables it leaves."""

    words: Callable[[Path, Path], Words]  # of the folder of drawn scans, and of its own
    tables: str  # a pattern below its folder
    keys: tuple[str, ...]  # columns that name a row
    figures: tuple[str, ...]  # columns that are compared
    on_resume: Words = ()  # added where it was started before


@dataclass(frozen=True)
class Ended:
    """What came of an experiment."""

    minutes: float
    kills: Mapping[str, int]
    rows: Rows


def tumorlens(*words: object) -> Words:
    return (sys.executable, "-m", "tumorlens", *words)


def of_one_set(command: str, *more: object) -> Callable[[Path, Path], Words]:
    """Return the words of a command that takes scans, a recipe and maybe more."""
    return lambda given, out: tumorlens(
        command, given / "scans", "--recipe", given / "tiny.json", *more,
        *(("--split", given / "split.csv") if command != "train" else ()),
        "--cache", given / "cache", "--out", out,
    )  # fmt: skip


def of_study(script: str, *more: object) -> Callable[[Path, Path], Words]:
    """Return the words of a script of benchmarks/ that takes several sets and their audit."""
    return lambda given, out: (
        sys.executable, HERE / script, given / "sets", "--audit", given / "audit",
        "--runs", out, "--out", out.with_suffix(".md"), *more,
    )  # fmt: skip


ROWS = ("navoneel-cnn-random", "br35h-cnn-random")  # of the baselines
SCORES = ("tumor_probability", "threshold")
EXPERIMENTS: Mapping[str, Experiment] = {
    "folds": Experiment(of_one_set("train", "--folds", 2), "predictions.csv",
                        ("repeat", "fold", "case"), SCORES, ("--resume",)),
    # Random trials alone: what is drawn later depends on which trial ends first.
    "tune": Experiment(of_one_set("tune", "--trials", 3), "trials.csv", ("learning_rate",),
                       ("val_loss",)),
    "size-curve": Experiment(of_one_set("size-curve", "--shares", "50,100", "--seeds", 1),
                             "size-*/scores.csv", ("case",), SCORES),
    "hypotheses": Experiment(
        lambda given, out: tumorlens(
            "hypotheses", given / "sets/br35h", given / "sets/bohaju", "--audit", given / "audit",
            "--recipe", given / "tiny.json", "--folds", 3, "--runs", 2, "--cache", given / "cache",
            "--out", out,
        ),
        "networks/*/scores.csv", ("case", "network"), SCORES),
    "left-out": Experiment(
        of_study("external_validation.py", "--seeds", 1, "--epochs", EPOCHS, "--steps", 2,
                 "--only", "without-bohaju-geometric-0", "without-br35h-geometric-0"),
        "*/scores.csv", ("case",), SCORES),
    "baselines": Experiment(
        lambda given, out: (*of_study("baselines.py", "--only", *ROWS)(given, out),
                            "--results", out.with_suffix(".figures.json")),
        "*/scores.csv", ("case",), SCORES),
}  # fmt: skip


def main() -> None:
    """Draw scans, run each experiment twice, and compare."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=[*EXPERIMENTS])
    arguments.add_argument("--per-class", type=int, default=6)
    arguments.add_argument("--kills", type=int, default=2)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--store", type=Path, help="Folder to go on in; default: temporary.")
    chosen = arguments.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    with ExitStack() as stack:
        folder = chosen.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given = draw(folder.resolve(), chosen.per_class)
        os.environ["TUMORLENS_CACHE"] = str(given / "cache")
        print("| experiment | kills | rows here, on Ray, of both | greatest difference | "
              "minutes here, on Ray |\n|---|---|---|---|---|", flush=True)  # fmt: skip
        for name in chosen.only:
            print(compared(name, given, chosen), flush=True)


def draw(folder: Path, per_class: int) -> Path:
    """Draw the scans of all experiments, and what their commands need besides."""
    note(f"drawing scans in {folder}")
    for number, name in enumerate(("scans", *(f"sets/{name}" for name in SETS))):
        if not (folder / name).exists():
            done(tumorlens("data", "phantoms", folder / name, "--per-class", per_class,
                       "--seed", number))  # fmt: skip
    write_json(find_recipe("quick").to_json() | TINY, folder / "tiny.json")
    if not (folder / "split.csv").exists():
        done(tumorlens("split", folder / "scans", "--out", folder / "split.csv"))
    if not (folder / "audit").exists():
        done(tumorlens("audit", *(folder / "sets" / name for name in SETS),
                   "--out", folder / "audit"))  # fmt: skip
    return folder


def compared(name: str, given: Path, chosen: argparse.Namespace) -> str:
    """Run one experiment here and on a cluster; returns its row."""
    here, there = (run(name, on, given, chosen) for on in ("local", "ray"))
    a, b = here.rows, there.rows
    both = a.keys() & b.keys()
    differences = (abs(x - y) for key in both for x, y in zip(a[key], b[key], strict=True))
    killed = ", ".join(f"{count} {what}" for what, count in sorted(there.kills.items())) or "none"
    return (f"| {name} | {killed} | {len(a)}, {len(b)}, {len(both)} | "
            f"{max(differences, default=float('nan')):.2g} | "
            f"{here.minutes:.1f}, {there.minutes:.1f} |")  # fmt: skip


def run(name: str, on: str, given: Path, chosen: argparse.Namespace) -> Ended:
    """Run one experiment to its end, unless it has ended before."""
    experiment, out = EXPERIMENTS[name], given / f"{name}-{on}"
    kept = given / f"{name}-{on}.json"
    if not kept.exists():
        note(f"{name} on {on}")
        shutil.rmtree(out, ignore_errors=True)
        words, started = (*experiment.words(given, out), "--on", on, "--cores", 1), time.monotonic()
        kills = run_and_kill(experiment, words, out, chosen) if on == "ray" else done(words)
        minutes = (time.monotonic() - started) / 60
        write_json({"minutes": minutes, "kills": kills or {}}, kept)
    return Ended(**json.loads(kept.read_text()), rows=rows_of(experiment, out))


def rows_of(experiment: Experiment, out: Path) -> Rows:
    """Read the tables of scores."""
    found = {}
    for table in sorted(out.glob(experiment.tables)):
        for row in read_table(table):
            key = (table.parent.name if "*" in experiment.tables else "",
                   *(row[name] for name in experiment.keys))  # fmt: skip
            assert key not in found, f"{table} holds {key} twice"
            found[key] = [float(row[name] or "nan") for name in experiment.figures]
    return found


def run_and_kill(
    experiment: Experiment, words: Words, out: Path, chosen: argparse.Namespace
) -> "Counter[str]":
    """Run a command on a cluster to its end, while something is killed with each epoch."""
    moments, kills = random.Random(f"{chosen.seed} {out.name}"), Counter[str]()
    cluster = RayCluster(NODES)
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    log = out.with_suffix(".log").open("ab")
    start = partial(subprocess.Popen, env=environment, stdout=log, stderr=log)
    driver, seen = start([*map(str, words)]), 0
    kinds = cycle(("worker", "node", "driver"))
    for _ in range(list(EXPERIMENTS.values()).index(experiment)):
        next(kinds)  # each experiment begins with another
    try:
        while driver.poll() is None:
            if kills.total() < chosen.kills and epochs_ended(out) > seen and cluster.workers():
                seen, kind = epochs_ended(out), next(kinds)
                note(f"{seen} epochs have ended: the {kind} is killed")
                if kind == "driver":
                    driver.kill()
                    driver.wait()
                    driver = start([*map(str, (*words, *experiment.on_resume))])
                    kills[kind] += 1
                else:
                    kill = cluster.kill_node if kind == "node" else cluster.kill_worker
                    kills[kind] += kill(moments)
            time.sleep(0.05)
    finally:
        driver.kill()
        cluster.stop()
        log.close()
    if driver.returncode:
        sys.exit(Path(log.name).read_text()[-3000:])
    return kills


def epochs_ended(out: Path) -> int:
    """Count the epochs in the histories of all networks."""
    return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in out.rglob("history.csv"))


def done(words: Words) -> None:
    """Run a command to its end."""
    found = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{found.stderr[-3000:]}")


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
