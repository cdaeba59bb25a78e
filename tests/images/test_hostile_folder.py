"""Facts about a folder of everything that was ever found among scans."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.broken_files import BROKEN, HEAD, MEASURED_CHILD, encoded

from tumorlens import errors
from tumorlens.errors import ImageError

GOOD = ["good.png", "with space.png", "köpf 脳 🧠.jpg", "two\nlines.png", "comma, \"quoted\".png",
        "-flag.png", "UPPER.PNG", "no suffix", "deep/er/good.tif", "%s {} $HOME.gif",
        os.fsdecode(b"not \xff unicode.png")]  # fmt: skip
BLANK = ["black.png", "white.jpg", "flat.tif"]
UNUSABLE = ["folder.png", "loop.png", "pool.png", "nowhere.png", "up", "pipe.png", "deep/up again"]

CHILD = (
    MEASURED_CHILD
    + """
from tumorlens import errors
from tumorlens.images.readers import find_scans
from tumorlens.inputs import prepare as module
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.settings import Settings

kinds = {}
def seen(call):
    def run(first, *rest, **options):
        try:
            return call(first, *rest, **options)
        except BaseException as error:
            kinds[str(getattr(first, "source", first))] = type(error).__name__
            raise
    return run

module.open_images, module.prepare = seen(module.open_images), seen(module.prepare)
bundle = load_bundle(sys.argv[1])
predictor = Predictor(bundle, Settings(workers=2, batch=8))
before = peak_kb()
paths = find_scans([sys.argv[2]])
rows = predictor.predict(paths, heatmaps=True)
print(json.dumps({
    "paths": [str(p) for p in paths],
    "rows": [[r.path, r.error, r.decision] for r in rows],
    "kinds": kinds,
    "growth_kb": peak_kb() - before,
}))
"""
)


def build(folder: Path) -> None:
    formats = {".jpg": "JPEG", ".tif": "TIFF", ".gif": "GIF"}
    for name in GOOD:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(HEAD, formats.get(path.suffix, "PNG")))
    (folder / "black.png").write_bytes(encoded(np.zeros((64, 64), np.uint8), "PNG"))
    (folder / "white.jpg").write_bytes(encoded(np.full((64, 64), 255, np.uint8), "JPEG"))
    (folder / "flat.tif").write_bytes(encoded(np.full((64, 64), -3.5, np.float32), "TIFF"))
    for name, (data, _) in BROKEN.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(b"")
    (folder / "loop.png").symlink_to(folder / "pool.png")
    (folder / "pool.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(folder / "not there")
    (folder / "up").symlink_to(folder)
    (folder / "deep" / "up again").symlink_to(folder.parent / folder.name)
    os.mkfifo(folder / "pipe.png")
    for beside in ("notes.txt", "cases.csv", ".DS_Store"):
        (folder / beside).write_bytes(b"not a scan")


@pytest.fixture(scope="module")
def outcome(tiny_bundle, tmp_path_factory):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names on this system")
    folder = tmp_path_factory.mktemp("hostile")
    build(folder)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tiny_bundle.folder), str(folder)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    found["rows"] = {path: (error, decision) for path, error, decision in found["rows"]}
    found["folder"] = folder
    return found


def test_the_folder_holds_at_least_thirty_hostile_entries():
    assert len(BROKEN) + len(BLANK) + len(UNUSABLE) >= 30


def test_every_entry_is_exactly_one_row(outcome):
    expected = [str(outcome["folder"] / name) for name in [*GOOD, *BLANK, *UNUSABLE, *BROKEN]]
    assert sorted(outcome["paths"]) == sorted(expected)
    assert list(outcome["rows"]) == outcome["paths"]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_scan_under_an_odd_name_is_answered(outcome, name):
    error, decision = outcome["rows"][str(outcome["folder"] / name)]
    assert error == ""
    assert decision in ("tumor", "no tumor", "uncertain", "out of scope")


@pytest.mark.parametrize("name", [*BLANK, *UNUSABLE, *BROKEN])
def test_a_hostile_entry_is_an_error_and_no_answer(outcome, name):
    error, decision = outcome["rows"][str(outcome["folder"] / name)]
    assert error
    assert decision == ""


def test_nothing_but_image_errors_was_raised(outcome):
    assert len(outcome["kinds"]) == len(BLANK) + len(UNUSABLE) + len(BROKEN)
    kinds = {getattr(errors, kind, OSError) for kind in outcome["kinds"].values()}
    assert all(issubclass(kind, ImageError) for kind in kinds)


def test_memory_stays_bounded(outcome):
    assert outcome["growth_kb"] < 500_000
