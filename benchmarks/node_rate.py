"""Time what the DICOM node receives, beside dcmtk's storescp, and a series from end to end.

    python benchmarks/node_rate.py [--slices 300] [--side 512] [--rounds 3] [--bundle FOLDER]

dcmtk's storescu sends the same drawn slices, uncompressed and as JPEG 2000, to storescp and to
`tumorlens dicom node`, in turns, over 127.0.0.1; printed are instances a second (the median of the
rounds) and their ratio. The node syncs each slice to the disk before it acknowledges it; storescp
does not. So both are also printed for a node whose spool lies in memory (/dev/shm), where there is
one. Then a series of 30 slices is sent, and the seconds until its answer is in the store are
printed, without and with the quiet time after which a series is complete.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from pydicom import uid
from pydicom.encaps import encapsulate

from tumorlens.study.phantom import draw_phantom
from tumorlens.study.phantom.volumes import slice_dataset

QUIET_S = 2
SERIES_SLICES = 30
WAIT_S = 600
SYNTAXES = {"raw": uid.ExplicitVRLittleEndian, "JPEG 2000": uid.JPEG2000Lossless}
PROPOSED = {"raw": "-xe", "JPEG 2000": "-xv"}  # words of storescu


def main() -> None:
    """Make slices, send them in turns, print rates and ratios."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--slices", type=int, default=300)
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--bundle", default="")
    chosen = arguments.parse_args()
    for program in ("storescu", "storescp"):
        if shutil.which(program, path="/usr/bin") is None:
            sys.exit(f"{program} of dcmtk is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, syntax in SYNTAXES.items():
            compare(folder / kind.split()[0], kind, syntax, chosen)
        series = write_slices(folder / "one", SERIES_SLICES, chosen.side, SYNTAXES["raw"], seed=9)
        end_to_end(folder / "node", series, chosen.bundle)


def compare(folder: Path, kind: str, syntax: str, chosen: argparse.Namespace) -> None:
    """Send the same slices to each receiver in turns, and print their rates."""
    files = write_slices(folder / "in", chosen.slices, chosen.side, syntax, seed=1)
    mib = sum(file.stat().st_size for file in files) / 2**20
    places = {"node": folder / "spool"}
    if Path("/dev/shm").is_dir():
        places["node, spool in memory"] = Path(tempfile.mkdtemp(dir="/dev/shm")) / "spool"
    receivers: dict[str, Callable[[], float]] = {
        "storescp": lambda: timed(storescp(folder / "out"), files, kind)
    }
    for name, spool in places.items():
        receivers[name] = lambda spool=spool: timed(node(spool, chosen.bundle), files, kind)
    rates: dict[str, list[float]] = {name: [] for name in receivers}
    for _ in range(chosen.rounds):
        for name, run in receivers.items():
            rates[name].append(len(files) / run())
    if memory := places.get("node, spool in memory"):
        shutil.rmtree(memory.parent)
    theirs = median(rates["storescp"])
    print(f"{kind}: {len(files)} slices of {chosen.side} pixels, {mib:.0f} MiB")
    for name, found in rates.items():
        spread = f"{min(found):.0f} to {max(found):.0f}"
        ratio = median(found) / theirs
        print(f"  {name:22} {median(found):6.0f} instances/s ({spread}), {ratio:.2f} of storescp")


def timed(running: AbstractContextManager[tuple[str, int]], files: list[Path], kind: str) -> float:
    """Return the seconds that storescu takes to send files to a receiver."""
    with running as (title, port):
        started = time.perf_counter()
        words = ["-aec", title, "-R", PROPOSED[kind], "127.0.0.1", str(port), *map(str, files)]
        subprocess.run(["/usr/bin/storescu", *words], check=True, capture_output=True)
        return time.perf_counter() - started


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[str, int]]:
    """Run dcmtk's receiver, which writes what it gets."""
    folder.mkdir(exist_ok=True)
    words = ["--output-directory", str(folder), "+B", "+xa"]  # as it comes, any syntax
    with _process(["/usr/bin/storescp", *words]) as port:
        yield "STORESCP", port
    shutil.rmtree(folder)


@contextmanager
def node(spool: Path, bundle: str, *, quiet_s: int = 3600) -> Iterator[tuple[str, int]]:
    """Run the node; with the default quiet time it answers nothing meanwhile."""
    words = ["-m", "tumorlens", "dicom", "node", str(spool), "--quiet", str(quiet_s), "--bundle",
             bundle, "--store", str(spool.with_name(f"{spool.name}.db")), "--port"]  # fmt: skip
    with _process([sys.executable, *words], log=spool.with_name(f"{spool.name}.log")) as port:
        yield "TUMORLENS", port
    shutil.rmtree(spool)


@contextmanager
def _process(words: list[str], *, log: Path | None = None) -> Iterator[int]:
    """Run a receiver on a free port, its last word, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    written = log.open("wb") if log else subprocess.DEVNULL
    child = subprocess.Popen([*words, str(port)], stderr=written, start_new_session=True)
    try:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def end_to_end(folder: Path, files: list[Path], bundle: str) -> None:
    """Print the seconds from the first slice of a series to its answer, twice."""
    folder.mkdir()
    log = folder / "spool.log"
    with node(folder / "spool", bundle, quiet_s=QUIET_S) as (title, port):
        for number, what in enumerate(("first series, with the start of its process", "second")):
            given = [relabeled(file, folder / f"in{number}", number) for file in files]
            sent_at = time.perf_counter()
            words = ["-aec", title, "-R", "-xe", "127.0.0.1", str(port), *map(str, given)]
            subprocess.run(["/usr/bin/storescu", *words], check=True, capture_output=True)
            received = time.perf_counter() - sent_at
            while len(times(log, "answered")) <= number:
                if time.perf_counter() - sent_at > WAIT_S:
                    sys.exit(f"no answer: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            seconds = time.perf_counter() - sent_at
            print(f"end to end, {len(files)} slices, {what}: {seconds:.1f} s; received in "
                  f"{received:.1f} s, quiet for {QUIET_S} s, answered with objects in "
                  f"{seconds - received - QUIET_S:.1f} s")  # fmt: skip


def times(log: Path, event: str) -> list[str]:
    """Return when an event was logged."""
    lines = (line for line in log.read_text().splitlines() if line.startswith("{"))
    return [row["at"] for row in map(json.loads, lines) if row["event"] == event]


def relabeled(file: Path, folder: Path, number: int) -> Path:
    """Write a slice as one of another series."""
    from pydicom import dcmread

    folder.mkdir(exist_ok=True)
    dataset = dcmread(file)
    dataset.SeriesInstanceUID = f"1.2.3.{100 + number}"
    dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{number + 1}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(folder / file.name)
    return folder / file.name


def write_slices(folder: Path, count: int, side: int, syntax: str, *, seed: int) -> list[Path]:
    """Write slices of one drawn series, each with noise of its own."""
    from openjpeg import encode

    folder.mkdir(parents=True)
    head = draw_phantom("mri", "glioma", seed=seed, plane="axial", side=side).pixels
    study, files = f"1.2.3.{seed}", []
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = head.astype(np.uint16) * 16 + random.integers(0, 64, head.shape).astype(np.uint16)
        dataset = slice_dataset(
            pixels, number=number + 1, instance=f"{study}.1.{number + 1}", series=f"{study}.1",
            study=study, frame=f"{study}.9", pixel_mm=0.5,
        )  # fmt: skip
        if syntax == uid.JPEG2000Lossless:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelData = encapsulate([encode(pixels, photometric_interpretation=2)])
            dataset["PixelData"].VR = "OB"
        files.append(folder / f"{number:04}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


if __name__ == "__main__":
    main()
