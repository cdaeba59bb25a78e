"""`tumorlens features` and `tumorlens explore`: what they print, write and how they end."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tumorlens.cli import explore as commands
from tumorlens.errors import CasesError, SplitError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.index import read_cases
from tumorlens.study.explore import report, separation
from tumorlens.study.features.table import read_features
from tumorlens.study.features.texture import head_of, measure
from tumorlens.study.phantom import draw_phantom


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)  # one command alone would lose its name
    app.command()(commands.explore)
    app.command()(commands.features)

    def go(*words: str | Path, command: str = "features"):
        return CliRunner().invoke(app, [command, *map(str, words)])

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
    assert "1 of 3 scans could not be read (1 of 2 tumor)" in ended.stderr
    table = read_features(Path("features.csv"))
    assert table.usable.tolist() == [True, True, False]
    assert "broken.jpg" in table.paths[2]
    assert table.errors[2].startswith("is not a PNG")


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_scans_is_refused(run, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert isinstance(run(folder).exception, CasesError)
    assert not Path("features.csv").exists()


@pytest.mark.parametrize("side", ["31", "1025", "wide"])
def test_a_side_outside_its_range_is_refused(run, scans, side):
    assert run(scans, "--side", side).exit_code == 2


def test_the_module_imports_nothing_heavy():
    heavy = "numba", "scipy", "sklearn", "cv2", "keras", "plotly", "matplotlib"
    code = f"import sys, tumorlens.cli.explore; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def explore(run, monkeypatch, tiny_bundle):
    """Run `tumorlens explore`, with a tiny bundle and one fast model."""
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    models = {"random_forest": separation.MODELS["logistic_regression"]}
    monkeypatch.setattr(separation, "MODELS", models)
    return lambda *words: run(*words, "--side", "48", command="explore")


@pytest.fixture
def judge(explore, monkeypatch):
    """The same without plots and page, where figures alone are looked at."""
    monkeypatch.setattr(report, "plot_images", lambda found: iter(()))
    monkeypatch.setattr(report, "render_exploration", lambda result, images: "")
    return explore


@pytest.fixture
def heads(tmp_path, write_image) -> Path:
    """Four heads of each of two classes."""
    for name, finding in (("yes", "glioma"), ("no", "healthy")):
        for seed in range(4):
            pixels = draw_phantom("mri", finding, seed=seed, plane="axial", side=96).pixels
            write_image(pixels, f"heads/{name}/{seed}.png")
    return tmp_path / "heads"


def explored(out: str = "study") -> dict:
    return json.loads(Path(out, "explore.json").read_text(encoding="utf-8"))


def test_a_folder_becomes_a_study(explore, heads):
    (heads / "yes/broken.png").write_bytes(b"cut")
    ended = explore(heads, "--out", "study")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.strip() == "study/explore.html"
    assert "9 scans, 1 unreadable" in ended.stderr
    figures = explored()
    assert figures["folders"] == [str(heads)]
    assert figures["input"]["side"] == 48
    assert {path.name for path in Path("study").glob("mean_*.png")} == {
        row["mean"] for row in figures["pictures"].values()
    }
    assert "<h1>Exploration</h1>" in Path("study/explore.html").read_text(encoding="utf-8")
    assert read_features(Path("study/features.csv")).usable.sum() == 8


def test_every_hypothesis_is_printed_with_its_verdict(judge, heads):
    said = judge(heads, "--out", "study").stderr
    for row in explored()["hypotheses"]:
        assert f"{row['id']}  {row['verdict']:13}  {row['statement']}" in said
    assert "no split was given" in said


def test_parts_are_those_of_the_split(judge, heads):
    rows = [f"{path},{'test' if path.stem == '0' else 'train'}" for path in heads.rglob("*.png")]
    Path("mine.csv").write_text("\n".join(["path,split", *rows]) + "\n")
    said = judge(heads, "--out", "study", "--split", "mine.csv").stderr
    balance = explored()["balance"]
    assert {part: balance[part]["tumor"]["n"] for part in balance} == {"test": 1, "train": 3}
    assert "mine.csv: is not a split file" in said


def test_a_bundle_of_another_split_decides_nothing(judge, heads):
    cases = read_cases(heads)
    numbers = np.arange(len(cases))
    parts = ["train", "val", "test", "test"] * 2
    splits.write_split(Path("split.csv"), cases, parts, groups=Groups(numbers, numbers, "a"))
    judge(heads, "--out", "study", "--split", "split.csv")
    network = explored()["hypotheses"][1]
    assert (network["id"], network["verdict"]) == ("H2", "undecided")
    assert "may have seen these scans" in network["reason"]


def test_groups_of_an_audit_are_taken(judge, heads):
    keys = [case.key for case in read_cases(heads)]
    Path("audit").mkdir()
    Path("audit/audit.json").write_text('{"fingerprint": "feedfeedfeedfeed"}')
    rows = [f"{key},g{i // 2},p{i}" for i, key in enumerate(keys)]
    Path("audit/files.csv").write_text("\n".join(["case,group,picture", *rows]) + "\n")
    judge(heads, "--out", "study", "--audit", "audit")
    assert (explored()["groups"], explored()["audit"]) == (4, "feedfeedfeedfeed")


def test_results_of_experiments_are_judged(judge, heads):
    rows = [{"seed": seed, "without": 0.8, "with": 0.85 + seed / 100} for seed in range(3)]
    experiment = {"id": "augmentation", "measure": "AUC", "pairs": rows}
    Path("r.json").write_text(json.dumps({"schema": 1, "experiments": [experiment]}))
    said = judge(heads, "--out", "study", "--experiments", "r.json").stderr
    assert "H3  supported" in said
    assert "gain of AUC 0.060" in said


@pytest.mark.parametrize(
    ("option", "name", "error"),
    [("--split", "gone.csv", SplitError), ("--audit", "gone", SplitError),
     ("--experiments", "gone.json", CasesError)],
)  # fmt: skip
def test_a_missing_input_is_refused_before_anything_is_written(explore, heads, option, name, error):
    assert isinstance(explore(heads, "--out", "study", option, name).exception, error)
    assert not Path("study").exists()
