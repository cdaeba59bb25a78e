"""How well and how fast copies are found, on phantoms whose copies are known.

    python benchmarks/audit_copies.py planted [--n 20000] [--phantoms DIR]
    python benchmarks/audit_copies.py posed [--n 2000] [--phantoms DIR]
    python benchmarks/audit_copies.py posed --n 300 --scans DIR... [--rounds 12]
    python benchmarks/audit_copies.py growth [--largest 100000] [--phantoms DIR]
    python benchmarks/audit_copies.py hashes [--largest 1000000] [--phantoms DIR]

- planted: distinct phantoms, half of the set copies of them, equally many of each change.
  Prints for each change how many pairs are linked as copies, and with the right orientation;
  then the precision over all reported copy pairs, time and peak memory.
- posed: each image with one copy in another pose, as augmentation makes them: rotated to 15
  degrees, shifted and scaled to 15 %, mirrored, darker or brighter, all of it at once, cropped by
  12 and 15 % of each side, inverted. A round is one search; in the next, each image gets the next
  change. `--scans` takes images of labeled folders, one of each group of copies and neighbors,
  for phantoms. Prints recall by change, and the precision over all reported copy pairs.
- growth: the whole search, each phantom with four changed copies, each size with an empty
  cache. Prints seconds and exponents: 1 is linear, 2 all with all.
- hashes: the candidate search alone, on hashes of coefficients drawn from the mean and
  covariance that phantoms of each kind and plane have, so that strangers are about as alike
  as heads are; each has one noisy, turned copy.

`--phantoms` names a folder of ready PNG files, named in the order in which they are drawn here;
without it they are drawn, about 10 ms each. Intervals are of 95 % (Wilson).
"""

import argparse
import math
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tumorlens.study.audit.duplicates.candidates import candidate_pairs
from tumorlens.study.audit.duplicates.copies import (
    SAME,
    Link,
    connected,
    group_cases,
    hash_distance,
    link_copies,
)
from tumorlens.study.audit.duplicates.fingerprints import (
    HASH_SIDE,
    ORIENTATIONS,
    fingerprint,
    orient,
    perceptual_hashes,
)
from tumorlens.study.data.index import read_cases
from tumorlens.study.phantom import PLANES, draw_phantom

Picture = NDArray[np.uint8]
KINDS = (("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "glioma"),
         ("mri", "meningioma"), ("mri", "pituitary"))  # fmt: skip
MIXTURE = len(KINDS) * len(PLANES)  # after so many phantoms, kinds and planes repeat
FIRST_SEED, SIDE = 1_000_000, 160
STEP = math.sqrt(10)  # from one size to the next
MEASURED = 4500  # phantoms, 250 of each kind and plane
SQUARE = 64  # pixels, in which hashes are computed
NOISE = 0.3  # of each coefficient's deviation


@dataclass(frozen=True)
class Change:
    """What is done to a copy, and what has to be found for it."""

    apply: Callable[[Picture], Picture]
    orientation: str = ORIENTATIONS[0]
    suffix: str = ".png"


def cropped(a: Picture) -> Picture:
    """Cut 5 % off each side."""
    rows, columns = round(0.05 * a.shape[0]), round(0.05 * a.shape[1])
    return a[rows:-rows, columns:-columns]


CHANGES = {
    "flip left-right": Change(np.fliplr, "flip left-right"),
    "rotate 90": Change(lambda a: np.rot90(a, -1), "rotate 90"),
    "brightness x1.3": Change(lambda a: np.clip(a * 1.3, 0, 255).astype(np.uint8)),
    "crop 5 % of each side": Change(cropped),
    "JPEG quality 60": Change(np.asarray, suffix=".jpg"),
    "half size": Change(lambda a: cv2.resize(a, None, fx=0.5, fy=0.5, interpolation=3)),
}
GROWING = ("flip left-right", "rotate 90", "brightness x1.3", "crop 5 % of each side")


def main() -> None:
    """Run the part that was chosen."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = arguments.add_subparsers(required=True)
    for run, size, default in (
        (planted, "--n", 20_000),
        (posed, "--n", 2000),
        (growth, "--largest", 100_000),
        (hashes, "--largest", 1_000_000),
    ):
        part = parts.add_parser(run.__name__)
        part.add_argument(size, dest="size", type=int, default=default)
        part.add_argument("--phantoms", type=Path, help="a folder of distinct phantoms")
        part.set_defaults(run=run)
    poses = parts.choices["posed"]
    poses.add_argument("--scans", type=Path, nargs="+", help="labeled folders, for phantoms")
    poses.add_argument("--rounds", type=int, default=1)
    chosen = vars(arguments.parse_args())
    run = chosen.pop("run")
    with tempfile.TemporaryDirectory() as folder:
        run(chosen.pop("size"), chosen.pop("phantoms"), Path(folder), **chosen)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def phantom_files(count: int, ready: Path | None, folder: Path) -> list[Path]:
    """Take `count` distinct phantoms from a folder, or draw them into one."""
    if ready:
        found = sorted(ready.glob("*.png"))[:count]
        if len(found) < count:
            sys.exit(f"{ready} holds {len(found)} phantoms, {count} are needed")
        return found
    paths = [folder / f"{i:06d}.png" for i in range(count)]
    for i, path in enumerate(paths):
        kind, plane = KINDS[i % 6], PLANES[i // 6 % 3]
        phantom = draw_phantom(*kind, seed=FIRST_SEED + i, plane=plane, side=SIDE)
        cv2.imwrite(str(path), phantom.pixels)
        if i % 1000 == 999:
            tell(f"drawn {i + 1} of {count}")
    return paths


def write_copy(source: Path, name: str, folder: Path) -> Path:
    """Write a changed copy of a file."""
    change = CHANGES[name]
    out = folder / f"{source.stem} {name.replace(' %', '')}{change.suffix}"
    pixels = change.apply(cv2.imread(str(source), cv2.IMREAD_GRAYSCALE))
    options = [cv2.IMWRITE_JPEG_QUALITY, 60] if change.suffix == ".jpg" else []
    cv2.imwrite(str(out), np.ascontiguousarray(pixels), options)
    return out


def search(paths: Sequence[Path], folder: Path) -> tuple[list[Link], float, float]:
    """Search with an empty cache; give links, and seconds for fingerprints and for links."""
    cache = Path(tempfile.mkdtemp(dir=folder))
    started = time.perf_counter()
    prints = fingerprint(paths, cache=cache, progress=lambda n, m: tell(f"read {n} of {m}"))
    read = time.perf_counter()
    links = link_copies(prints)
    linking = time.perf_counter() - read
    tell(f"linked {len(paths)}: {len(links)} links")
    shutil.rmtree(cache)
    return links, read - started, linking


def peak_gib() -> float:
    """Give the largest memory this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def sizes(first: int, largest: int) -> list[int]:
    """Give even sizes a constant factor apart, the largest last."""
    steps = max(0, round(math.log(largest / first) / math.log(STEP)))
    return [2 * round(n / 2) for n in np.geomspace(largest, first, steps + 1)[::-1]]


def exponent(before: tuple[int, float], now: tuple[int, float]) -> float:
    """Give the slope between two (size, seconds) in logarithms."""
    return math.log(now[1] / before[1]) / math.log(now[0] / before[0])


def planted(size: int, ready: Path | None, folder: Path) -> None:
    """Print recall by change, and precision."""
    each = size // (2 * len(CHANGES))
    originals = phantom_files(size - each * len(CHANGES), ready, folder)
    wanted: dict[tuple[int, int], str] = {}
    paths = list(originals)
    for number, name in enumerate(CHANGES):
        for source in range(number * each, (number + 1) * each):
            wanted[source, len(paths)] = name
            paths.append(write_copy(originals[source], name, folder))
        tell(f"copied {each}: {name}")
    search(paths[:20], folder)  # compiles what is compiled at first use
    links, reading, linking = search(paths, folder)
    copies = {(link.a, link.b): link for link in links if link.kind in SAME}
    print("| change | planted | linked as copy | and with its orientation |")
    print("|---|---:|---|---|")
    for name, change in CHANGES.items():
        pairs = [pair for pair, other in wanted.items() if other == name]
        linked = [pair for pair in pairs if pair in copies]
        right = [p for p in linked if copies[p].orientation == change.orientation]
        print(f"| {name} | {each} | {share(len(linked), each)} | {share(len(right), each)} |")
    false = [link for pair, link in copies.items() if pair not in wanted]
    print(f"\n{len(paths)} images, {len(originals)} of them distinct phantoms; copies reported: "
          f"{len(copies)} pairs, precision {share(len(copies) - len(false), len(copies))}; "
          f"fingerprints {reading:.0f} s, links {linking:.0f} s, "
          f"peak memory {peak_gib():.1f} GiB")  # fmt: skip
    for link in sorted(false, key=lambda link: -link.score)[:20]:
        a, b = paths[link.a].name, paths[link.b].name
        tell(f"false: {a} and {b}, {link.orientation}, score {link.score}")


def warped(a: Picture, rng: np.random.Generator, *, degrees: float = 0, scale: float = 0,
           shift: float = 0) -> Picture:  # fmt: skip
    """Rotate, scale and shift by up to so much; what comes in is black, or the edge repeated."""
    height, width = a.shape
    turned, scaled = rng.uniform(-degrees, degrees), 1 + rng.uniform(-scale, scale)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turned, scaled)
    matrix[:, 2] += rng.uniform(-shift, shift, 2) * (width, height)
    edge = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)[rng.integers(2)]
    return cv2.warpAffine(a, matrix, (width, height), borderMode=edge)


def augmented(a: Picture, rng: np.random.Generator) -> Picture:
    """Do everything at once."""
    moved = warped(a, rng, degrees=15, scale=0.15, shift=0.1)
    return lit(cv2.flip(moved, int(rng.integers(-1, 2))), rng)


def lit(a: Picture, rng: np.random.Generator) -> Picture:
    return np.clip(a * rng.uniform(0.5, 1.4), 0, 255).astype(np.uint8)


def without_edge(a: Picture, share_of_side: float) -> Picture:
    rows, columns = (round(share_of_side * side) for side in a.shape)
    return a[rows:-rows, columns:-columns]


def part_of(a: Picture, rng: np.random.Generator) -> Picture:
    """Cut 24 % off each dimension, anywhere."""
    top, left = (int(rng.uniform(0, 0.24) * side) for side in a.shape)
    return a[top : top + round(0.76 * a.shape[0]), left : left + round(0.76 * a.shape[1])]


POSES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "rotated to 15 degrees": lambda a, rng: warped(a, rng, degrees=15),
    "shifted to 15 %": lambda a, rng: warped(a, rng, shift=0.15),
    "scaled to 15 %": lambda a, rng: warped(a, rng, scale=0.15),
    "mirrored": lambda a, rng: cv2.flip(a, int(rng.integers(-1, 2))),
    "brightness 0.5 to 1.4": lit,
    "all of these (shift to 10 %)": augmented,
    "cropped by 12 % a side": lambda a, _: without_edge(a, 0.12),
    "cropped by 15 % a side": lambda a, _: without_edge(a, 0.15),
    "cropped by 24 % off the middle": part_of,
    "inverted": lambda a, _: 255 - a,
    "inverted, and all of these": lambda a, rng: 255 - augmented(a, rng),
}  # fmt: skip


def posed(
    size: int, ready: Path | None, folder: Path, *, scans: list[Path] | None, rounds: int
) -> None:
    """Print recall by change of pose, and precision."""
    sources = distinct_scans(scans, size) if scans else phantom_files(size, ready, folder)
    rng, names = np.random.default_rng(0), list(POSES)
    found: dict[str, list[bool]] = {name: [] for name in names}
    right = wrong = 0
    for round_ in range(rounds):
        paths = list(sources)
        for i, source in enumerate(sources):
            change = POSES[names[(i + round_) % len(names)]]
            image = change(cv2.imread(str(source), cv2.IMREAD_GRAYSCALE), rng)
            paths.append(folder / f"{round_}_{i}.jpg")
            cv2.imwrite(str(paths[-1]), np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, 92])
        links = link_copies(fingerprint(paths, cache=folder))
        together = connected(len(paths), links, SAME)
        for i in range(len(sources)):
            found[names[(i + round_) % len(names)]].append(
                together[i] == together[len(sources) + i]
            )
        pairs = [link.a % len(sources) == link.b % len(sources) for link in links
                 if link.kind in SAME]  # fmt: skip
        right, wrong = right + sum(pairs), wrong + len(pairs) - sum(pairs)
        tell(f"round {round_ + 1} of {rounds}: {right} right, {wrong} wrong")
    print("| change | planted | found |")
    print("|---|---:|---|")
    for name, row in found.items():
        print(f"| {name} | {len(row)} | {share(sum(row), len(row))} |")
    print(f"\n{len(sources)} images; copies reported: {right + wrong} pairs, "
          f"precision {share(right, right + wrong)}")  # fmt: skip


def distinct_scans(folders: Sequence[Path], size: int) -> list[Path]:
    """Draw images of labeled folders, one of each group of copies, neighbors and patients."""
    cases = read_cases(list(folders))
    rng = np.random.default_rng(1)
    drawn = [cases[i] for i in rng.permutation(len(cases))[: 3 * size]]
    first = np.unique(group_cases(drawn).groups, return_index=True)[1]
    if len(first) < size:
        sys.exit(f"only {len(first)} groups among {len(drawn)} images, {size} are needed")
    return [drawn[i].path for i in rng.permutation(first)[:size].tolist()]


def share(count: int | np.integer, n: int | np.integer) -> str:
    """Write a share with its interval."""
    if not n:
        return "-"
    interval = binomtest(int(count), int(n)).proportion_ci(method="wilson")
    return f"{count / n:.4f} ({interval.low:.4f}-{interval.high:.4f})"


def growth(size: int, ready: Path | None, folder: Path) -> None:
    """Print the time of whole searches, from 1,000 files on."""
    each = 1 + len(GROWING)
    paths: list[Path] = []
    for source in phantom_files(math.ceil(size / each), ready, folder):
        paths += [source, *(write_copy(source, name, folder) for name in GROWING)]
        if len(paths) % 5000 == 0:
            tell(f"copied: {len(paths)} files")
    search(paths[:20], folder)  # compiles what is compiled at first use
    rows: list[tuple[int, float, float]] = []
    print("| files | fingerprints, s | links, s | exponents of both | peak memory, GiB | links |")
    print("|---:|---:|---:|---|---:|---:|")
    for n in sizes(min(1000, size), size):
        links, reading, linking = search(paths[:n], folder)
        rows.append((n, reading, linking))
        print(f"| {n} | {reading:.1f} | {linking:.1f} | {both_exponents(rows[-2:])} | "
              f"{peak_gib():.1f} | {len(links)} |", flush=True)  # fmt: skip
    print(f"\nexponents from the smallest to the largest: {both_exponents([rows[0], rows[-1]])}")


def both_exponents(rows: Sequence[tuple[int, float, float]]) -> str:
    """Write the exponents of reading and of linking between two sizes."""
    if len(rows) < 2 or rows[0][0] == rows[1][0]:
        return "-"
    (n, *before), (m, *now) = rows
    return ", ".join(f"{exponent((n, b), (m, t)):.2f}" for b, t in zip(before, now, strict=True))


def hashes(size: int, ready: Path | None, folder: Path) -> None:
    """Print the time of the candidate search alone, from 10,000 hashes on."""
    coefficients = measured_coefficients(phantom_files(MEASURED, ready, folder))
    turned = sampled_hashes(coefficients, size - size % 2)
    stored = np.ascontiguousarray(turned[:, 0])
    candidate_pairs(turned[:100], stored[:100], distance=44)  # compiles
    rows: list[tuple[int, float]] = []
    print("| hashes | within, bits | seconds | exponent | pairs listed | planted within "
          "| of these found | peak memory, GiB |")  # fmt: skip
    print("|---:|---:|---:|---:|---:|---|---|---:|")
    for n in sizes(min(10_000, len(stored)), len(stored)):
        started = time.perf_counter()
        distance = hash_distance(n)
        i, j, _ = candidate_pairs(turned[:n], stored[:n], distance=distance)
        rows.append((n, time.perf_counter() - started))
        slope = f"{exponent(*rows[-2:]):.2f}" if len(rows) > 1 else "-"
        near = within_distance(turned[:n], stored[:n], distance)
        found = np.isin(np.flatnonzero(near) * 2, i[(i % 2 == 0) & (j == i + 1)])
        print(f"| {n} | {distance} | {rows[-1][1]:.1f} | {slope} | {len(i)} "
              f"| {share(near.sum(), n // 2)} "
              f"| {share(found.sum(), near.sum())} | {peak_gib():.1f} |", flush=True)  # fmt: skip
    if len(rows) > 1:
        print(f"\nexponent from the smallest to the largest: {exponent(rows[0], rows[-1]):.2f}")


def within_distance(
    turned: NDArray[np.uint64], stored: NDArray[np.uint64], distance: int
) -> NDArray[np.bool_]:
    """Tell of each phantom whether its copy, the next row, is near in any orientation."""
    bits = np.bitwise_count(turned[::2] ^ stored[1::2, None]).sum(-1, dtype=np.int64)
    return bits.min(1) <= distance


def measured_coefficients(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Give the low frequencies of pictures, [n, 256]."""
    rows = []
    for path in paths:
        picture = np.float32(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        square = cv2.resize(picture, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
        rows.append(cv2.dct(square)[:HASH_SIDE, :HASH_SIDE].ravel())
    return np.array(rows, np.float64)


def sampled_hashes(coefficients: NDArray[np.float64], n: int) -> NDArray[np.uint64]:
    """Draw n hashes like those measured, [n, 8, 4]; every second is a noisy, turned copy."""
    rng = np.random.default_rng(0)
    models = [model_of(coefficients[first::MIXTURE]) for first in range(MIXTURE)]
    made = np.empty((n, len(ORIENTATIONS), 4), np.uint64)
    for i in range(0, n, 2):
        middle, spread, deviation = models[i // 2 % MIXTURE]
        drawn = middle + spread @ rng.normal(size=len(middle))
        made[i] = perceptual_hashes(picture_of(drawn))
        noisy = picture_of(drawn + NOISE * deviation * rng.normal(size=len(middle)))
        turn = int(rng.integers(len(ORIENTATIONS)))
        made[i + 1] = perceptual_hashes(np.ascontiguousarray(orient(noisy, turn)))
        if i % 100_000 == 0:
            tell(f"drawn {i} of {n} hashes")
    return made


def model_of(coefficients: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Give mean, square root of the covariance, and deviations."""
    values, vectors = np.linalg.eigh(np.cov(coefficients.T))
    return coefficients.mean(0), vectors * np.sqrt(values.clip(0)), coefficients.std(0)


def picture_of(coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give the picture with these low frequencies and no others."""
    spectrum = np.zeros((SQUARE, SQUARE), np.float32)
    spectrum[:HASH_SIDE, :HASH_SIDE] = coefficients.reshape(HASH_SIDE, HASH_SIDE)
    return cv2.idct(spectrum)


if __name__ == "__main__":
    main()
