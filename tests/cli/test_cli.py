"""The command line is a contract: what it prints, writes and how it ends."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from support.command import Ended, Run, command_runner

from tumorlens import __version__, cli
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import COLUMNS
from tumorlens.study.data.registry import DATASETS
from tumorlens.study.data.splits import read_split
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import PRETRAININGS, RECIPES

COMMANDS = ("demo", "data list", "data fetch", "data index", "data phantoms", "audit", "explore",
            "features", "split", "train", "tune", "size-curve", "evaluate", "recipes list",
            "recipes show", "predict", "doctor")  # fmt: skip


QUICK = (
    "--no-controls",
    "--no-robustness",
    "--no-explanations",
)  # what one test asks for is enough


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Run:
    """Run `tumorlens ...` in this process, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("BUNDLE", "WORKERS", "BATCH", "MAX_BYTES", "MAX_PIXELS"):
        monkeypatch.delenv(f"TUMORLENS_{name}", raising=False)
    return command_runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Bundle) -> Path:
    return tiny_bundle.folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Seventy-two phantoms, enough groups of each class for a split."""
    return write_phantoms(tmp_path_factory.mktemp("scans") / "scans", per_class=12, seed=3, side=64)


@pytest.fixture
def three(scans, tmp_path) -> Path:
    """Three files, the middle one broken."""
    folder = tmp_path / "three"
    folder.mkdir()
    for name, label in (("a", "ct_healthy"), ("c", "mri_glioma")):
        shutil.copy(scans / label / f"{label}_0001.png", folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"not a picture")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_one_error_line(ended: Ended) -> bool:
    lines = ended.err.strip().splitlines()
    return ended.status == 2 and len(lines) == 1 and lines[0].startswith("error: ")


# --- help -----------------------------------------------------------------------------------


def test_help_lists_every_command(run):
    ended = run("--help")
    assert ended.status == 0
    assert all(command.split()[0] in ended.out for command in COMMANDS)
    assert "Research use only" in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_holds_an_example_of_it(run, command):
    ended = run(*command.split(), "--help")
    assert ended.status == 0
    text = " ".join(ended.out.split())
    assert "Example:" in text
    assert f"tumorlens {command}" in text.split("Example:")[1]


def test_the_version_is_that_of_the_package(run):
    assert run("--version") == Ended(0, f"tumorlens {__version__}\n", "")


def test_an_unknown_command_ends_with_status_2(run):
    assert run("zebra").status == 2


def test_alone_it_shows_the_three_commands_that_a_newcomer_needs(run):
    ended = run()
    named = [word for word in ("demo", "predict", "dashboard") if f"tumorlens {word}" in ended.out]
    assert (ended.status, named) == (0, ["demo", "predict", "dashboard"])
    assert "Research use only" in ended.out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['tumorlens', '--help']\n"
        "from tumorlens.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'keras', 'tensorflow', 'sklearn', 'scipy', 'numba', 'matplotlib', 'cv2',\n"
        "         'onnxruntime', 'jinja2'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("heavy: []")


# --- data and recipes -----------------------------------------------------------------------


def test_data_list_shows_every_set_with_license_and_caution(run):
    ended = run("data", "list")
    text = " ".join((ended.out + ended.err).split())
    assert ended.status == 0
    for row in DATASETS.values():
        assert all(" ".join(part.split()) in text for part in (row.name, row.license, row.caution))


def test_data_index_writes_a_table_and_prints_its_path(run, tmp_path):
    for name in ("yes/a.png", "yes/b.png", "no/c.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    ended = run("data", "index", tmp_path / "set")
    assert ended.status == 0
    assert ended.out.strip() == str(tmp_path / "set" / "cases.csv")
    assert [row["path"] for row in rows_of(tmp_path / "set" / "cases.csv")] == [
        "no/c.png", "yes/a.png", "yes/b.png",
    ]  # fmt: skip
    assert "2" in next(line for line in ended.err.splitlines() if "tumor" in line)


def test_data_phantoms_draws_a_folder_that_can_be_indexed(run, tmp_path):
    assert run("data", "phantoms", tmp_path / "p", "--per-class", "1", "--seed", "9").status == 0
    assert len(rows_of(tmp_path / "p" / "cases.csv")) == 6


def test_recipes_list_shows_every_recipe(run):
    ended = run("recipes", "list")
    assert ended.status == 0
    listed = [line.split()[0] for line in ended.out.splitlines()]
    assert listed == [*RECIPES, *PRETRAININGS]


def test_recipes_show_shows_every_field(run):
    ended = run("recipes", "show", "quick")
    shown = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert shown == {key: str(value) for key, value in RECIPES["quick"].to_json().items()}


# --- split ----------------------------------------------------------------------------------


@pytest.fixture
def split_file(run, scans, tmp_path) -> Path:
    assert run("split", scans, "--out", tmp_path / "split.csv").status == 0
    return tmp_path / "split.csv"


def test_split_writes_a_file_and_says_what_is_in_it(run, scans, tmp_path):
    ended = run("split", scans, "--out", tmp_path / "deep" / "split.csv")
    made = read_split(tmp_path / "deep" / "split.csv")
    assert ended.status == 0
    assert ended.out.strip() == str(tmp_path / "deep" / "split.csv")
    assert set(made.parts.values()) == {"train", "val", "test"}
    assert "72 scans, 72 distinct images" in ended.err
    assert f"fingerprint {made.fingerprint}" in ended.err
    assert "no test scan has a copy" in ended.err


def test_split_prints_the_leaks_of_a_published_split(run, scans, tmp_path):
    for part, number in (("train", 1), ("test", 1), ("test", 2), ("val", 3)):
        target = tmp_path / "set" / part / "glioma" / f"{part}{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scans / "mri_glioma" / f"mri_glioma_000{number}.png", target)
    ended = run("split", tmp_path / "set", "--published", "--out", tmp_path / "s.csv")
    assert ended.status == 0
    assert "1 (1) of 2  = 50.0%" in ended.err


# --- predict --------------------------------------------------------------------------------


def test_predict_answers_every_file_and_prints_the_table(run, scans, bundle, tmp_path):
    out = tmp_path / "new" / "p.csv"
    ended = run("predict", scans / "ct_tumor", "--bundle", bundle, "--out", out)
    assert ended.status == 0
    assert ended.out.strip() == str(out)
    assert tuple(rows_of(out)[0]) == COLUMNS
    assert len(rows_of(out)) == 12
    assert not any(row["error"] for row in rows_of(out))
    assert "12 scans" in ended.err
    assert "Research use only" in ended.err


def test_predict_writes_predictions_csv_where_nothing_else_is_said(run, three, bundle):
    run("predict", three / "a.png", "--bundle", bundle)
    assert len(rows_of(Path("predictions.csv"))) == 1


def test_a_broken_file_among_three_is_one_row_and_status_3(run, three, bundle):
    ended = run("predict", three, "--bundle", bundle)
    rows = rows_of(Path("predictions.csv"))
    assert ended.status == 3
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.png"]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert [row["decision"] == "" for row in rows] == [False, True, False]
    assert "1 of 3 scans could not be read: 1 is not a PNG" in ended.err
    assert "Traceback" not in ended.err


def test_a_file_that_is_not_there_is_a_row_too(run, three, bundle):
    ended = run("predict", three / "a.png", three / "lost.png", "--bundle", bundle)
    assert ended.status == 3
    assert [bool(row["error"]) for row in rows_of(Path("predictions.csv"))] == [False, True]


def test_an_empty_folder_is_an_error_and_leaves_no_table(run, bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = run("predict", tmp_path / "empty", "--bundle", bundle)
    assert is_one_error_line(ended)
    assert "holds no images" in ended.err
    assert not Path("predictions.csv").exists()


def test_heatmaps_are_pictures_one_for_each_scan_that_was_read(run, three, bundle, tmp_path):
    run("predict", three, "--bundle", bundle, "--heatmaps", tmp_path / "maps")
    found = sorted((tmp_path / "maps").glob("*.png"))
    assert [path.name for path in found] == ["00001_a.png", "00003_c.png"]
    assert all(cv2.imread(str(path)).std() > 5 for path in found)


def test_heatmaps_of_files_of_one_name_do_not_overwrite_one_another(run, scans, bundle, tmp_path):
    for folder, label in (("one", "ct_healthy"), ("two", "mri_glioma")):
        (tmp_path / folder).mkdir()
        shutil.copy(scans / label / f"{label}_0001.png", tmp_path / folder / "slice.png")
    run("predict", tmp_path / "one", tmp_path / "two", "--bundle", bundle,
        "--heatmaps", tmp_path / "maps")  # fmt: skip
    first, second = sorted((tmp_path / "maps").glob("*.png"))
    assert first.read_bytes() != second.read_bytes()


def test_without_the_flag_no_heatmaps_are_written(run, three, bundle):
    run("predict", three, "--bundle", bundle)
    assert [path.name for path in Path.cwd().iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_the_number_of_workers_does_not_change_the_table(run, scans, bundle, tmp_path, workers):
    run("predict", scans / "mri_glioma", "--bundle", bundle, "--out", tmp_path / "default.csv")
    run("predict", scans / "mri_glioma", "--bundle", bundle, "--out", tmp_path / "w.csv",
        "--workers", workers)  # fmt: skip
    assert (tmp_path / "w.csv").read_bytes() == (tmp_path / "default.csv").read_bytes()


def test_the_bundle_may_come_from_the_environment(run, three, bundle, monkeypatch):
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(bundle))
    run("predict", three / "a.png")
    assert rows_of(Path("predictions.csv"))[0]["bundle"].startswith("tiny@")


# --- evaluate -------------------------------------------------------------------------------


def test_evaluate_measures_the_test_part_of_a_split(run, scans, bundle, split_file, tmp_path):
    ended = run("evaluate", scans, "--bundle", bundle, "--split", split_file,
                "--out", tmp_path / "results")  # fmt: skip
    found = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    made = read_split(split_file)
    assert ended.status == 0
    assert ended.out.strip() == str(tmp_path / "results" / "evaluation.html")
    assert (found["part"], found["split"]["fingerprint"]) == ("test", made.fingerprint)
    assert found["n"] == list(made.parts.values()).count("test")
    assert "AUC" in ended.err


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize("part", ["train", "val", "all"])
def test_evaluate_measures_the_part_it_is_told(  # noqa: PLR0917
    run, scans, bundle, split_file, tmp_path, part
):
    run("evaluate", scans, "--bundle", bundle, "--split", split_file, "--part", part,
        "--out", tmp_path / "results", *QUICK)  # fmt: skip
    found = json.loads((tmp_path / "results" / "evaluation.json").read_text())
    parts = list(read_split(split_file).parts.values())
    assert found["n"] == (len(parts) if part == "all" else parts.count(part))


@pytest.mark.usefixtures("without_plots")
def test_evaluate_without_a_split_measures_all_and_the_page_says_so(run, scans, bundle, tmp_path):
    run("evaluate", scans, "--bundle", bundle, "--out", tmp_path / "results", *QUICK)
    assert json.loads((tmp_path / "results" / "evaluation.json").read_text())["n"] == 72
    assert "No split was given" in (tmp_path / "results" / "evaluation.html").read_text()


@pytest.fixture
def leaking(run, scans, tmp_path) -> tuple[Path, Path]:
    """A published split whose only test scan is also in training."""
    root = tmp_path / "leaky"
    for part, name in (("train", "a"), ("test", "a"), ("train", "b"), ("val", "c"), ("test", "d")):
        number = "abcd".index(name) + 1
        target = root / part / "glioma" / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scans / "mri_glioma" / f"mri_glioma_000{number}.png", target)
    assert run("split", root, "--published", "--out", tmp_path / "leaky.csv").status == 0
    return root, tmp_path / "leaky.csv"


@pytest.mark.usefixtures("without_plots")
def test_a_leaking_split_is_refused_until_it_is_allowed_and_then_printed(
    run, leaking, bundle, tmp_path
):
    words = ("evaluate", leaking[0], "--bundle", bundle, "--split", leaking[1], "--out",
             tmp_path / "results", *QUICK)  # fmt: skip
    refused = run(*words)
    assert is_one_error_line(refused)
    assert "1 of 2 test cases" in refused.err
    allowed = run(*words, "--allow-leaks")
    assert allowed.status == 0
    assert "this split leaks: 50.0%" in allowed.err
    assert "This split leaks" in (tmp_path / "results" / "evaluation.html").read_text()


# --- errors a user can mend -----------------------------------------------------------------

MISTAKES = {
    "no such folder": ("split", "{nowhere}", "--out", "s.csv"),
    "no scans": ("split", "{empty}", "--out", "s.csv"),
    "unknown class": ("split", "{zebra}", "--out", "s.csv"),
    "too few scans": ("split", "{few}", "--out", "s.csv"),
    "shares": ("split", "{scans}", "--out", "s.csv", "--test", "0.9", "--val", "0.2"),
    "no published split": ("split", "{scans}", "--out", "s.csv", "--published"),
    "split onto a folder": ("split", "{scans}", "--out", "{empty}"),
    "index nowhere": ("data", "index", "{nowhere}"),
    "unknown recipe": ("train", "{scans}", "--out", "run", "--recipe", "zebra"),
    "recipe shown": ("recipes", "show", "zebra"),
    "train on no folder": ("train", "{nowhere}", "--out", "run"),
    "train by no split": ("train", "{scans}", "--out", "run", "--split", "{nowhere}"),
    "train into a file": ("train", "{scans}", "--out", "{file}"),
    "no bundle": ("predict", "{scans}", "--bundle", "{empty}"),
    "predict onto a folder": ("predict", "{one}", "--bundle", "{bundle}", "--out", "{empty}"),
    "heatmaps into a file": ("predict", "{one}", "--bundle", "{bundle}", "--heatmaps", "{file}"),
    "evaluate no folder": ("evaluate", "{nowhere}", "--bundle", "{bundle}", "--out", "r"),
    "evaluate into a file": ("evaluate", "{few}", "--bundle", "{bundle}", "--out", "{file}"),
    "phantoms into a file": ("data", "phantoms", "{file}", "--per-class", "1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_user_is_one_line_and_status_2(run, mistake, scans, bundle, tmp_path):
    places = {"nowhere": tmp_path / "nowhere", "empty": tmp_path / "empty", "scans": scans,
              "zebra": tmp_path / "zebra", "few": tmp_path / "few", "file": tmp_path / "a.txt",
              "bundle": bundle, "one": scans / "ct_tumor" / "ct_tumor_0001.png"}  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("here")
    (tmp_path / "zebra" / "zebra").mkdir(parents=True)
    shutil.copy(places["one"], tmp_path / "zebra" / "zebra")
    for label in ("ct_tumor", "ct_healthy"):
        (tmp_path / "few" / label).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(scans / label / f"{label}_000{number}.png", tmp_path / "few" / label)
    ended = run(*(str(word).format(**places) for word in MISTAKES[mistake]))
    assert is_one_error_line(ended), ended
    assert ended.err.count(". ") >= 1, "the fact, and then the fix"


def test_an_unknown_recipe_is_answered_with_the_known_ones(run, scans):
    ended = run("train", scans, "--out", "run", "--recipe", "zebra")
    assert "default" in ended.err
    assert "quick" in ended.err
    assert not Path("run").exists(), "nothing was begun"


def test_a_part_that_the_split_does_not_have_is_answered_with_the_known_ones(
    run, scans, bundle, split_file
):
    ended = run("evaluate", scans, "--bundle", bundle, "--split", split_file, "--part", "zebra",
                "--out", "r")  # fmt: skip
    assert is_one_error_line(ended)
    assert "train, val, test, all" in ended.err


@pytest.mark.parametrize(("name", "value"), [("BATCH", "many"), ("WORKERS", "-1")])
def test_a_setting_that_cannot_work_is_named(  # noqa: PLR0917
    run, three, bundle, monkeypatch, name, value
):
    monkeypatch.setenv(f"TUMORLENS_{name}", value)
    ended = run("predict", three, "--bundle", bundle)
    assert is_one_error_line(ended)
    assert name.lower() in ended.err.lower()


def test_ctrl_c_ends_with_status_130_and_no_traceback(run, three, bundle, monkeypatch):
    def stop(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr("tumorlens.predictions.predictor.load_predictor", stop)
    ended = run("predict", three, "--bundle", bundle)
    assert ended.status == 130
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("keras", ["train", "{scans}", "--out", "{out}/run"]),
        ("sklearn", ["split", "{scans}", "--out", "{out}/s.csv"]),
        ("matplotlib", ["evaluate", "{scans}", "--bundle", "{bundle}", "--out", "{out}/r"]),
    ],
)
def test_without_the_bench_a_command_of_it_names_the_extra(module, words, scans, bundle, tmp_path):
    words = [word.format(scans=scans, bundle=bundle, out=tmp_path) for word in words]
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['tumorlens', *{words!r}]\n"
        "from tumorlens.cli import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2, found.stderr
    assert "Traceback" not in found.stderr
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {module}")
    assert last.endswith('is not installed. Install it: pip install "tumorlens[train]".')


def test_prediction_needs_nothing_of_the_bench(three, bundle, tmp_path):
    blocked = [*cli.EXTRAS["train"].split(), "streamlit", "fastapi"]
    words = ["tumorlens", "predict", str(three / "a.png"), "--bundle", str(bundle),
             "--out", str(tmp_path / "p.csv")]  # fmt: skip
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); sys.argv = {words!r}\n"
        "from tumorlens.cli import main; main()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert rows_of(tmp_path / "p.csv")[0]["error"] == ""


# --- doctor ---------------------------------------------------------------------------------


def test_doctor_is_well_with_a_whole_bundle(run, bundle, monkeypatch):
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(bundle))
    ended = run("doctor")
    assert ended.status == 0, ended.err
    assert "hash verified" in ended.err
    assert "one prediction with heatmap" in ended.err
    assert os.environ["TUMORLENS_CACHE"] in ended.err
    assert "broken" not in ended.err


def test_doctor_finds_an_altered_bundle(run, bundle, monkeypatch, tmp_path):
    shutil.copytree(bundle, tmp_path / "altered")
    with (tmp_path / "altered" / "model.onnx").open("ab") as file:
        file.write(b"x")
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tmp_path / "altered"))
    ended = run("doctor")
    assert ended.status == 1
    assert "does not match the hash" in ended.err


def test_doctor_finds_a_cache_that_cannot_be_written(run, bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(bundle))
    (tmp_path / "file").write_text("here")
    monkeypatch.setenv("TUMORLENS_CACHE", str(tmp_path / "file" / "cache"))
    ended = run("doctor")
    assert ended.status == 1
    assert "broken" in ended.err
