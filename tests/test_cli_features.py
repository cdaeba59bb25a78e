"""`tumorlens features`: what it prints, writes and how it ends."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tumorlens.cli.explore import register
from tumorlens.errors import CasesError
from tumorlens.images.raster import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.study.features.picture import head_of, measure
from tumorlens.study.features.table import read_features


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUMORLENS_CACHE", str(tmp_path / "cache"))
    app = typer.Typer()
    app.callback()(lambda: None)  # one command alone would lose its name
    register(app)

    def go(*words: str | Path):
        return CliRunner().invoke(app, ["features", *map(str, words)])

    return go


@pytest.fixture
def scans(tmp_path, head, write_image) -> Path:
    write_image(head, "scans/yes/a.png")
    write_image(head[:, ::-1].copy(), "scans/no/b.png")
    return tmp_path / "scans"


def measured(path: Path, side: int) -> np.ndarray:
    return measure(prepare(read_scan(path), InputSpec(side=side)).pixels)


def test_a_folder_becomes_a_table_of_prepared_scans(run, scans):
    ended = run(scans, "--out", "deep/f.csv")
    assert ended.exit_code == 0, ended.output
    assert "2 scans measured at 128 px, of the whole square" in ended.stderr
    assert ended.stdout.strip() == "deep/f.csv"
    table = read_features(Path("deep/f.csv"))
    assert table.labels == ("healthy", "tumor")
    assert np.array_equal(table.values[1], measured(scans / "yes/a.png", 128))


def test_side_and_head_only_are_obeyed(run, scans):
    ended = run(scans, "--side", "64", "--head-only")
    assert "at 64 px, inside the head" in ended.stderr
    pixels = prepare(read_scan(scans / "yes/a.png"), InputSpec(side=64)).pixels
    table = read_features(Path("features.csv"))
    assert np.array_equal(table.values[1], measure(pixels, mask=head_of(pixels)))


def test_a_broken_file_is_a_row_and_status_three(run, scans):
    (scans / "yes/broken.jpg").write_bytes(b"\xff\xd8 cut")
    ended = run(scans)
    assert ended.exit_code == 3
    assert "1 could not be read" in ended.stderr
    table = read_features(Path("features.csv"))
    assert table.usable.tolist() == [True, True, False]
    assert "broken.jpg" in table.errors[2]


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_scans_is_refused(run, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert isinstance(run(folder).exception, CasesError)
    assert not Path("features.csv").exists()


@pytest.mark.parametrize("side", ["31", "1025", "wide"])
def test_a_side_outside_its_range_is_refused(run, scans, side):
    assert run(scans, "--side", side).exit_code == 2


def test_the_module_imports_nothing_heavy():
    heavy = "numba", "scipy", "sklearn", "cv2", "keras"
    code = f"import sys, tumorlens.cli.explore; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
