"""A folder full of what people have, commands that write, and places for them to write to."""

import hashlib
import os
import random
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tumorlens.files import write_table
from tumorlens.images.raster import encode_png
from tumorlens.outputs import mark_folder
from tumorlens.predictions.document import COLUMNS
from tumorlens.study.features.table import COLUMNS as FEATURES
from tumorlens.study.phantom import draw_phantom

# Commands by name: the words before the place to write to. {w} is the world, {b} a bundle.
FILES: Mapping[str, str] = {
    "predict": "predict {w}/scans/yes {w}/scans/no/b0.png --bundle {b} --out",
    "report": "predict {w}/scans/yes/a0.png --bundle {b} --report",
    "index": "data index {w}/scans --out",
    "index a table": "data index {w}/tabled --out",
    "split": "split {w}/scans --out",
    "features": "features {w}/scans --out",
}
FOLDERS: Mapping[str, str] = {
    "heatmaps": "predict {w}/scans --bundle {b} --out {w}/new.csv --heatmaps",
    "phantoms": "data phantoms --per-class 1",
}
# These work long; without --overwrite they are refused wherever something of others stands.
LONG: Mapping[str, str] = {
    "audit": "audit {w}/scans --bundle {b} --out",
    "explore": "explore {w}/scans --bundle {b} --out",
    "tabular": "tabular {w}/features.csv --out",
    "train": "train {w}/scans --recipe quick --epochs 1 --out",
    "tune": "tune {w}/scans --recipe quick --epochs 1 --trials 1 --out",
    "evaluate": "evaluate {w}/scans --bundle {b} --out",
    "hypotheses": "hypotheses {w}/scans --out",
    "demo": "demo {w}/scans --out",
}


@dataclass(frozen=True)
class Draw:
    """One command and the place that it is to write to."""

    command: str
    words: tuple[str, ...]
    target: Path
    overwrite: bool


def build_world(root: Path) -> None:
    """Fill a folder: scans, tables, reports and notes, of ours and of others, links and pipes."""
    for label, finding in (("yes", "glioma"), ("no", "healthy")):
        for number in range(3):
            image = draw_phantom("mri", finding, seed=number, side=64).pixels
            path = root / "scans" / label / f"{'a' if label == 'yes' else 'b'}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(image))
    shutil.copytree(root / "scans", root / "tabled")
    rows = ("path,label,age", "yes/a0.png,yes,54", "no/b0.png,no,9")
    (root / "tabled" / "cases.csv").write_text("\n".join(rows))
    write_table(root / "features.csv", FEATURES, [["a.png", "mri_glioma", *range(13), ""]] * 3)
    write_table(root / "earlier.csv", COLUMNS, [])
    (root / "notes.txt").write_text("a year of notes\n")
    (root / "predictions.json").write_text('{"mine": 1}')
    (root / "page.html").write_text("<!doctype html><title>Mine</title>")
    (root / "mine" / "images").mkdir(parents=True)
    for name in ("audit.html", "split.csv", "00001_a0.png", "images/a.png", "cases.csv"):
        (root / "mine" / name).write_text(f"mine: {name}")
    mark_folder(root / "ours")
    (root / "to-scan.csv").symlink_to("scans/yes/a0.png")
    (root / "to-mine").symlink_to("mine")
    (root / "nowhere.csv").symlink_to("gone.csv")
    os.link(root / "scans" / "no" / "b1.png", root / "twin.png")
    os.mkfifo(root / "pipe.csv")


TARGETS = (
    "scans/yes/a0.png", "scans/no/b0.png", "scans", "scans/yes", ".", "tabled/cases.csv", "tabled",
    "features.csv", "earlier.csv", "notes.txt", "predictions.json", "page.html", "mine",
    "mine/audit.html", "mine/split.csv", "mine/cases.csv", "ours", "to-scan.csv", "to-mine",
    "nowhere.csv", "twin.png", "pipe.csv", "pipe.html", "mine/00001_a0.png", "notes.txt/below.csv",
)  # fmt: skip


def draw(world: Path, bundle: Path, rng: random.Random) -> Draw:
    """Choose a command, a place, and whether it may write over what others made."""
    overwrite = rng.random() < 0.5
    known = {**FILES, **FOLDERS} if overwrite else {**FILES, **FOLDERS, **LONG}
    command = rng.choice(sorted(known))
    target = world / rng.choice([name for name in TARGETS if command not in LONG or name != "ours"])
    words = known[command].format(w=world, b=bundle).split()
    flags = ("--overwrite",) if overwrite else ()
    return Draw(command, (*words, str(target), *flags), target, overwrite)


def may_change(chosen: Draw, world: Path) -> Callable[[str], bool]:
    """Return whether a command may change a path of the world: its target alone, never a scan."""
    target = os.path.relpath(chosen.target, world)
    inside = os.path.realpath(chosen.target) + os.sep

    def is_open(name: str) -> bool:
        if name.startswith(("scans", "tabled/yes", "tabled/no")):
            return False
        is_target = name == target or (
            chosen.command in FOLDERS and f"{world / name}".startswith(inside)
        )
        if name in ("earlier.csv", "features.csv") or name.startswith("ours"):  # by tumorlens
            return is_target and chosen.command != "tabular"
        twin = chosen.command == "report" and Path(name) == Path(target).with_suffix(".json")
        return chosen.overwrite and (is_target or twin)

    return is_open


def digests(world: Path) -> dict[str, str]:
    """Return what each path of the world is: its kind, and what it holds or leads to."""
    found = {}
    for path in sorted(world.rglob("*")):
        mode = path.lstat().st_mode
        held = os.readlink(path) if path.is_symlink() else ""
        if stat.S_ISREG(mode):
            held = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(world).as_posix()] = f"{stat.S_IFMT(mode)} {held}"
    return found
