"""What people of this field ran into, each with the right answer; docs/reference/field-cases.md."""

import csv
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command import Ended, Run, command_runner
from support.not_plain import as_png, phantom, sheet, with_box, with_heatmap

from tumorlens.images.raster import encode_png
from tumorlens.inputs.prepare import InputSpec
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.study.audit.survey import survey_files
from tumorlens.study.data.index import read_cases, read_set
from tumorlens.study.phantom import draw_phantom


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Run:
    monkeypatch.chdir(tmp_path)
    return command_runner(monkeypatch, capsys)


@pytest.fixture
def predict(run: Run, tiny_bundle: Bundle) -> Run:
    def go(*words: str | Path) -> Ended:
        return run("predict", *words, "--bundle", tiny_bundle.folder)

    return go


def draw(name: str, finding: str = "glioma", *, seed: int = 1) -> Path:
    """Write a phantom under a name in the working folder."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(draw_phantom("mri", finding, seed=seed, side=64).pixels))
    return path


def draw_set(folder: str, *, count: int = 2) -> Path:
    for number in range(count):
        draw(f"{folder}/yes/t{number}.png", seed=number)
        draw(f"{folder}/no/h{number}.png", "healthy", seed=number)
    return Path(folder)


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


# --- what is there stays --------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_the_table_of_answers_does_not_replace_the_scan(predict, flags):
    scan = draw("slice.png")
    before = scan.read_bytes()
    ended = predict(scan, "--out", scan, *flags)
    assert (ended.status, scan.read_bytes()) == (2, before)
    assert "slice.png: is one of the files that are read" in ended.err


def test_an_index_does_not_replace_the_table_it_was_read_from(run):
    table = draw_set("scans") / "cases.csv"
    table.write_text("path,label,age,hospital\nyes/t0.png,yes,54,North\nno/h0.png,no,44,South\n")
    before = table.read_bytes()
    ended = run("data", "index", "scans")
    assert (ended.status, table.read_bytes()) == (2, before)


@pytest.mark.parametrize("words", [("--out", "new.csv"), ("--overwrite",)])
def test_an_index_keeps_the_columns_that_it_does_not_know(run, words):
    table = draw_set("scans") / "cases.csv"
    table.write_text("path,label,age,hospital\nyes/t0.png,yes,54,North\nno/h0.png,no,44,South\n")
    assert run("data", "index", "scans", *words).status == 0
    rows = rows_of("new.csv" if "--out" in words else str(table))
    assert [(row["label"], row["age"], row["hospital"]) for row in rows] == [
        ("tumor", "54", "North"), ("healthy", "44", "South"),
    ]  # fmt: skip


def test_phantoms_are_not_drawn_among_files_of_somebody(run):
    scan = draw("mine/ct_healthy/ct_healthy_0001.png")
    before = scan.read_bytes()
    ended = run("data", "phantoms", "mine", "--per-class", "1")
    assert (ended.status, scan.read_bytes()) == (2, before)
    assert "did not make" in ended.err


def test_a_report_alone_leaves_the_table_of_an_earlier_run(predict):
    scan = draw("slice.png")
    assert predict(scan).status == 0
    before = Path("predictions.csv").read_bytes()
    assert predict(draw("other.png", seed=2), "--report", "other.html").status == 0
    assert Path("predictions.csv").read_bytes() == before


def test_a_report_does_not_replace_what_it_did_not_make(predict):
    Path("slice.json").write_text('{"mine": 1}')
    ended = predict(draw("slice.png"), "--report", "slice.html")
    assert (ended.status, Path("slice.json").read_text()) == (2, '{"mine": 1}')


def test_out_that_names_the_working_folder_is_one_line(predict):
    ended = predict(draw("slice.png"), "--out", ".")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "is a folder" in ended.err


# --- what was given is what was answered and what was refused -------------------------------


def test_a_split_deals_out_what_can_be_read_and_counts_the_rest(run):
    scans = draw_set("set", count=9)
    for number in range(5):
        path = scans / "no" / f"h{number}.png"
        path.write_bytes(path.read_bytes()[:200])
    ended = run("split", scans, "--out", "s.csv")
    assert ended.status == 0, ended
    assert "5 of 18 scans could not be read (5 of 9 healthy): 5 damaged" in ended.err
    lost = [row for row in rows_of("s.csv") if not row["split"]]
    assert [Path(row["path"]).name for row in lost] == [f"h{n}.png" for n in range(5)]
    assert all(row["notes"].startswith("damaged or incomplete") for row in lost)


def test_of_several_pages_it_is_said_which_were_answered(predict):
    pages = [Image.open(draw(f"{n}.png", seed=n)) for n in range(3)]
    pages[0].save("stack.tif", save_all=True, append_images=pages[1:])
    ended = predict("stack.tif", "--out", "p.csv")
    rows = rows_of("p.csv")
    assert len(rows) == 3 or "3 frames" in rows[0]["notes"]
    assert len(rows) == 3 or "3 frames" in ended.err


def test_of_a_labeled_stack_without_a_mask_it_is_said_that_it_is_left_out(run):
    scans = draw_set("set")
    pages = [Image.open(path) for path in sorted(scans.rglob("*.png"))]
    pages[0].save(scans / "yes" / "stack.tif", save_all=True, append_images=pages[1:])
    ended = run("data", "index", scans, "--out", "i.csv")
    assert ended.status == 0
    assert "of volumes 4 slices left out: 4 of tumor volumes without a mask" in ended.err


def test_a_volume_among_the_scans_has_a_row(predict):
    draw("scans/a.png")
    Path("scans/vol.nii.gz").write_bytes(b"\x1f\x8b\x08\0")
    ended = predict("scans", "--out", "p.csv")
    assert ended.status == 3
    assert [Path(row["path"]).name for row in rows_of("p.csv")] == ["a.png", "vol.nii.gz"]


@pytest.mark.parametrize("name", ["t0_mask.png", "t0-mask.png", "t0_seg.tif", "t0 Mask.PNG"])
def test_a_mask_beside_its_scan_is_its_mask_and_no_scan(run, predict, name):
    scans = draw_set("set")
    (scans / "yes" / name).write_bytes((scans / "yes" / "t0.png").read_bytes())
    found = {case.path.name: case.mask for case in read_cases(scans)}
    assert found == {"h0.png": None, "h1.png": None, "t0.png": scans / "yes" / name, "t1.png": None}
    ended = predict(scans, "--out", "p.csv")
    assert len(rows_of("p.csv")) == 4
    assert "passed over: 1 mask" in ended.err


def test_what_lies_beside_scans_and_classes_is_counted(run):
    scans = draw_set("set")
    for name in ("yes/Thumbs.db", "yes/desktop.ini", "yes/._t0.png", "yes/notes.txt"):
        (scans / name).write_bytes(b"x")
    draw("set/loose.png")
    found = read_set(scans)
    assert len(found.cases) == 4
    assert found.passed_over == {
        ".txt file": 1, "file outside of class folders": 1, "system file": 3,
    }  # fmt: skip


def test_a_folder_beside_the_parts_is_counted(run):
    draw_set("set/train")
    draw("set/more/yes/x.png")
    assert read_set("set").passed_over == {"file beside the parts, in more": 1}


def test_a_pipe_among_the_scans_is_waited_for_by_nobody(predict):
    draw("scans/a.png")
    os.mkfifo("scans/pipe.png")
    found = survey_files([Path("scans/pipe.png")], InputSpec())
    assert found.errors == ("is not a regular file",)
    assert predict("scans", "--out", "p.csv").status == 3


# --- tables, folders, names -----------------------------------------------------------------

TABLES = {
    "case": "Path,LABEL\nyes/t0.png,yes\n",
    "semicolons": "path;label\nyes/t0.png;yes\n",
    "tabs": "path\tlabel\nyes/t0.png\tyes\n",
    "blanks": "path, label\n yes/t0.png , yes\n",
    "empty rows": "path,label\n\nyes/t0.png,yes\n,\n",
    "backslashes": "path,label\nyes\\t0.png,yes\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES.keys())
def test_a_table_is_read_as_a_spreadsheet_wrote_it(run, text, encoding):
    table = draw_set("set") / "cases.csv"
    table.write_text(text, encoding=encoding)
    [case] = read_cases("set")
    assert (case.label, case.path.resolve()) == ("tumor", Path("set/yes/t0.png").resolve())


WRONG = {
    "path,label\nyes/t0.png,yes\nno/h0.png,\n": "has no label in row 3",
    "path,label\n\nyes/t0.png,yes\nyes/t0.png,yes\n": "named twice, in rows 3, 4",
    "path,label\nyes/t0.png,yes\nno/gone.png,no\n": "first no/gone.png in row 3",
    "path,label,split\nyes/t0.png,yes,fold1\n": "fold1 (row 2)",
    "file,class\nyes/t0.png,yes\n": "has no column label, path; it has file, class",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_a_table_is_named_with_its_row(run, text):
    (draw_set("set") / "cases.csv").write_text(text)
    ended = run("data", "index", "set", "--out", "i.csv")
    assert ended.status == 2
    assert WRONG[text] in ended.err


@pytest.mark.parametrize(("given", "named"), [("archive", "archive/inner"), (".", "archive")])
def test_a_folder_one_level_off_is_answered_with_the_right_one(run, given, named):
    draw_set("archive")
    draw_set("archive/inner")
    ended = run("data", "index", given, "--out", "i.csv")
    assert ended.status == 2
    assert "holds class folders itself" in ended.err
    assert f"Give {named}," in ended.err


@pytest.mark.parametrize(
    "names", [("CT", "MRI"), ("Brain CT scan Images", "Brain tumor MRI images")]
)
def test_the_modality_is_read_from_the_folders_above(run, names):
    for name in names:
        draw(f"set/{name}/Healthy/a.png")
        draw(f"set/{name}/Tumor/b.png")
    assert [case.label for case in read_cases("set")] == [
        "ct_healthy", "ct_tumor", "mri_healthy", "mri_tumor",
    ]  # fmt: skip
    assert [case.label for case in read_cases(f"set/{names[0]}")] == ["ct_healthy", "ct_tumor"]


def test_an_image_that_is_wholly_transparent_is_read_without_its_alpha(predict):
    gray = np.asarray(Image.open(draw("plain.png")))
    alpha = np.zeros_like(gray)
    Image.fromarray(np.dstack([gray, gray, gray, alpha])).save("clear.png")
    predict("plain.png", "clear.png", "--out", "p.csv")
    plain, clear = rows_of("p.csv")
    assert clear["tumor_probability"] == plain["tumor_probability"] != ""
    assert clear["notes"].startswith("transparency ignored")


def test_one_scan_is_answered_on_the_terminal(predict):
    ended = predict(draw("slice.png"))
    assert "slice.png: " in ended.err
    assert "tumor probability 0." in ended.err or "tumor probability 1." in ended.err
    assert "1 scan in" in ended.err


def test_a_long_name_has_a_heatmap(predict):
    scan = draw("x" * 251 + ".png")
    assert predict(scan, "--heatmaps", "maps", "--out", "p.csv").status == 0
    assert len(list(Path("maps").glob("00001_x*.png"))) == 1


@pytest.mark.parametrize("report", ["r.html", "r.pdf"])
def test_a_name_that_is_not_utf8_is_no_traceback(predict, report):
    scan = Path(os.fsdecode(b"scan-\xff.png"))
    draw("plain.png").rename(scan)
    ended = predict(scan, "--report", report, "--out", "p.csv", "--heatmaps", "maps")
    assert ended.status == 0, ended
    assert os.fsencode(rows_of("p.csv")[0]["path"]) == b"scan-\xff.png"


def test_a_port_in_use_is_an_error_before_the_address_is_printed(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("serve", "--port", str(port), "--store", "x.sqlite")
    assert ended.status == 2
    assert ended.err == f"error: 127.0.0.1:{port}: is in use. Choose another with --port.\n"


@pytest.mark.parametrize("kind", [str, Path])
def test_python_takes_one_path_for_a_list_of_one(run, tiny_bundle, kind):
    scan = draw("slice.png")
    [found] = Predictor(tiny_bundle).predict(kind(scan))
    assert (found.path, found.error) == ("slice.png", "")


def test_python_names_what_takes_pixels(tiny_bundle):
    with pytest.raises(TypeError, match=r"predict_scans\(\[Scan\(pixels, name\)\]\)"):
        Predictor(tiny_bundle).predict(np.zeros((64, 64)))


# --- what is not one plain slice, and what a run needs --------------------------------------


def test_marks_and_sheets_are_out_of_scope_with_the_reason(predict, tiny_bundle):
    images = {"box.png": with_box(phantom(0)), "cam.png": with_heatmap(phantom(2)),
              "four.png": sheet(2, 2), "two.png": sheet(2, 1, first=4)}  # fmt: skip
    Path("scans").mkdir()
    for name, image in images.items():
        Path("scans", name).write_bytes(as_png(image))
    assert predict("scans", "--out", "p.csv").status == 0
    rows = {Path(row["path"]).name: row for row in rows_of("p.csv")}
    assert {row["decision"] for row in rows.values()} == {"out of scope"}
    assert "colored marks over the head" in rows["box.png"]["notes"]
    assert "colored marks over the head" in rows["cam.png"]["notes"]
    assert "several heads, 4 or more" in rows["four.png"]["notes"]
    assert "several heads, 2 or more" in rows["two.png"]["notes"]


@pytest.mark.parametrize("words", [("train",), ("train", "--folds", "3"), ("tune",),
                                   ("size-curve",)])  # fmt: skip
def test_a_set_of_tumors_alone_is_refused_before_anything_is_read(run, monkeypatch, words):
    def prepare(*_, **__):
        raise AssertionError("copies were looked for first")

    monkeypatch.setattr("tumorlens.study.audit.duplicates.copies.group_cases", prepare)
    for number in range(3):
        draw(f"set/glioma/t{number}.png", seed=number)
    command, *flags = words
    ended = run(command, "set", "--recipe", "quick", "--out", "run", *flags)
    assert ended.status == 2
    assert "holds no scan without a tumor (n=3)" in ended.err
    assert "tumorlens train DIR OTHER" in ended.err
