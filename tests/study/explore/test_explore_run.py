"""The exploration of a set as a whole, what it keeps out, and the record that it leaves."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.errors import CasesError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.records import Case
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore import montage, separation
from tumorlens.study.explore.drawing import draw_difference, draw_pictures, file_name
from tumorlens.study.explore.file_facts import file_columns
from tumorlens.study.explore.hypothesis_tests import Evidence, judge
from tumorlens.study.explore.montage import show_sample
from tumorlens.study.explore.permutation import Significance
from tumorlens.study.explore.pictures import (
    MONTAGE,
    TESTED_GROUPS,
    TESTED_SIDE,
    Batch,
    ClassPictures,
    Difference,
    merge_pictures,
)
from tumorlens.study.explore.record import (
    explore_figures,
    finite,
    picture_names,
    write_exploration,
)
from tumorlens.study.explore.run import Exploration, explore
from tumorlens.study.features.table import read_features
from tumorlens.study.phantom import draw_phantom

LABELS = ("ct_healthy", "ct_tumor", "mri_healthy", "mri_glioma", "mri_meningioma")
PER_LABEL = 6
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def write_cases(folder: Path, names: Sequence[str] = LABELS, count: int = PER_LABEL) -> list[Case]:
    """Draw phantoms of some labels; every second one publishes the part test."""
    cases = []
    for label in names:
        modality, finding = label.split("_")
        for number in range(count):
            kind = "glioma" if finding == "tumor" else finding
            pixels = draw_phantom(modality, kind, seed=number + 7, plane="axial", side=96).pixels
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
            part = "test" if number % 2 else "train"
            cases.append(Case(path, f"set/{label}/{number}.png", label, "set", part))
    return cases


def alone(cases: Sequence[Case]) -> Groups:
    numbers = np.arange(len(cases))
    return Groups(numbers, numbers, "0123456789abcdef")


def one_fast_model(patch: pytest.MonkeyPatch) -> None:
    models = {"random_forest": separation.MODELS["logistic_regression"]}
    patch.setattr(separation, "MODELS", models)


def run(cases: Sequence[Case], cache: Path, groups: Groups | None = None) -> Exploration:
    return explore(
        cases, InputSpec(side=48), cache=cache, groups=groups or alone(cases), permutations=40
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def explored(tmp_path_factory, cache) -> Exploration:
    cases = write_cases(tmp_path_factory.mktemp("set"))
    cases[0].path.write_bytes(b"no picture at all")
    with pytest.MonkeyPatch.context() as patch:
        one_fast_model(patch)
        return run(cases, cache)


@pytest.fixture(scope="module")
def figures(explored) -> dict:
    return explore_figures(explored, judge(Evidence(explored)), folders=["set"], now=NOW)


def test_every_label_and_modality_has_pictures(explored):
    pooled = {"all ct", "all mri", "all mri tumors"}
    assert set(explored.pictures) == {*LABELS, *pooled} == set(explored.montages)


def test_a_file_that_cannot_be_read_is_counted_and_in_no_picture(explored, figures):
    assert figures["unreadable"] == 1
    assert figures["n"] == len(explored.cases) == PER_LABEL * len(LABELS)
    assert explored.counts["ct_healthy"] == (PER_LABEL - 1, PER_LABEL - 1)
    assert explored.pictures["ct_healthy"].count == PER_LABEL - 1


def test_counts_are_those_of_the_pictures(explored):
    assert {name: n for name, (n, _) in explored.counts.items()} == {
        name: kept.count for name, kept in explored.pictures.items()
    }


def test_only_labels_of_one_modality_are_compared(explored):
    pairs = {(found.first, found.second) for found in explored.differences}
    assert pairs == {
        ("ct_healthy", "ct_tumor"),
        ("mri_healthy", "all mri tumors"),
        ("mri_healthy", "mri_glioma"),
        ("mri_healthy", "mri_meningioma"),
        ("mri_glioma", "mri_meningioma"),
    }


def test_detection_compares_healthy_with_all_tumors(explored):
    named = {name: (d.first, d.second) for name, d in explored.detection.items()}
    assert named == {
        "ct": ("ct_healthy", "ct_tumor"),
        "mri": ("mri_healthy", "all mri tumors"),
    }


def test_copies_are_one_piece_of_evidence(tmp_path, cache, monkeypatch):
    one_fast_model(monkeypatch)
    cases = write_cases(tmp_path, ("mri_healthy", "mri_glioma"))
    numbers = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    found = run(cases, cache, Groups(numbers, numbers, "x"))
    assert found.counts["mri_glioma"] == (6, 2)
    assert found.studies["mri"]["n_groups"] == 4
    test = found.detection["mri"].test
    assert test is not None
    assert (test.n_first, test.n_second) == (2, 2)


def test_labels_that_leave_the_modality_open_are_compared_too(tmp_path, cache, monkeypatch):
    one_fast_model(monkeypatch)
    cases = write_cases(tmp_path, ("mri_healthy", "mri_glioma"))
    vague = {"mri_healthy": "healthy", "mri_glioma": "tumor"}
    found = run([replace(case, label=vague[case.label]) for case in cases], cache)
    assert list(found.detection) == ["unknown"]
    assert set(found.pictures) == {"healthy", "tumor"}


def test_one_class_alone_is_drawn_and_not_compared(tmp_path, cache):
    found = run(write_cases(tmp_path, ("mri_healthy",), 2), cache)
    assert not found.differences
    assert found.studies["mri"]["models"] is None
    drawn = dict(draw_pictures(found))
    assert "mean_mri_healthy.png" in drawn


def test_a_set_without_a_readable_scan_is_refused(tmp_path, cache):
    cases = write_cases(tmp_path, ("mri_healthy",), 1)
    cases[0].path.write_bytes(b"")
    with pytest.raises(CasesError, match="no readable scan"):
        run(cases, cache)


def batch_of(pixels: np.ndarray, label: str, start: int) -> Batch:
    numbers = range(start, start + len(pixels))
    groups, names = [f"g{i // 2}" for i in numbers], [f"{label}/{i}" for i in numbers]
    return Batch(pixels, [label] * len(pixels), groups, names)


def test_merged_pictures_are_those_of_one_stream():
    pixels = np.random.default_rng(1).integers(0, 256, (900, 10, 10)).astype(np.uint8)
    whole, first, second = (ClassPictures(10, seed=4) for _ in range(3))
    whole.add(batch_of(pixels, "a", 0))
    first.add(batch_of(pixels[:401], "a", 0))
    second.add(batch_of(pixels[401:], "a", 401))
    merged = merge_pictures([first, second])
    assert merged.count == 900
    assert np.array_equal(merged.mean, whole.mean)
    assert np.array_equal(merged.deviation, whole.deviation)
    assert np.array_equal(merged.histogram, whole.histogram)
    assert [kept[1] for kept in merged.montage] == [kept[1] for kept in whole.montage]
    assert len(merged.montage) == MONTAGE
    means, expected = merged.group_means(), whole.group_means()
    assert means.keys() == expected.keys()
    assert len(means) == TESTED_GROUPS
    assert all(np.allclose(means[key], expected[key]) for key in means)


def test_pictures_of_two_sizes_do_not_merge():
    with pytest.raises(ValueError, match="one side"):
        merge_pictures([ClassPictures(8), ClassPictures(9)])


def with_text_over_head() -> np.ndarray:
    pixels = draw_phantom("ct", "healthy", seed=4, plane="axial", side=256).pixels.copy()
    cv2.putText(
        pixels, "MUSTERMANN 1951", (50, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.5, [255], 1, cv2.LINE_AA
    )
    return pixels


def test_a_scan_with_text_over_the_head_is_not_shown(write_image):
    path = write_image(with_text_over_head(), "named.png")
    kept = ClassPictures(64)
    kept.add(Batch(prepare(read_scan(path), InputSpec(side=64)).pixels[None], ["ct_healthy"],
                   ["g"], [str(path)]))  # fmt: skip
    found = show_sample(kept)
    assert not found.pictures
    assert found.withheld == 1


def test_shown_scans_are_small(head, write_image):
    path = write_image(head, "head.png")
    kept = ClassPictures(128)
    kept.add(Batch(prepare(read_scan(path)).pixels[None], ["mri_glioma"], ["g"], [str(path)]))
    found = show_sample(kept)
    assert [picture.shape for picture in found.pictures] == [(montage.SIDE, montage.SIDE)]
    assert found.withheld == 0


def test_columns_hold_nothing_of_a_file_that_cannot_be_read(tmp_path, head, write_image, cache):
    good, bad = write_image(head, "good.png"), tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG cut")
    stored, prepared = file_columns([good, bad], InputSpec(side=48), cache=cache)
    assert stored["width"].tolist()[0] == head.shape[1]
    assert stored["bytes"][0] == good.stat().st_size
    assert stored["format"].tolist() == ["PNG", ""]
    assert all(np.isnan(column[1]) for column in prepared.values())
    assert np.isfinite([column[0] for column in prepared.values()]).all()


def difference_of(significant: np.ndarray | None) -> Difference:
    pixels = np.zeros((64, 64))
    pixels[16:48, 16:48] = 30
    if significant is None:
        return Difference("mri_healthy", "mri_glioma", pixels, None)
    p = np.where(significant, 0.01, 0.5).ravel()
    test = Significance(t=p, p=p, threshold=3.0, n_first=5, n_second=5, permutations=99)
    return Difference("mri_healthy", "mri_glioma", pixels, test)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_a_line_runs_around_what_is_significant():
    square = np.zeros((TESTED_SIDE, TESTED_SIDE), bool)
    square[12:36, 12:36] = True
    plain = decoded(draw_difference(difference_of(None), "title"))
    lined = decoded(draw_difference(difference_of(square), "title"))
    blue, green, red = np.moveaxis(lined, -1, 0)
    drawn = (green > red + 60) & (green > blue + 20)
    assert drawn.sum() > 200
    assert not np.array_equal(plain, lined)
    rows = np.flatnonzero(drawn.any(1))
    assert rows[-1] - rows[0] < 0.7 * lined.shape[0]


def test_where_the_second_class_is_brighter_the_difference_is_orange():
    picture = decoded(draw_difference(difference_of(None), "title"))
    blue, _, red = picture[picture.shape[0] // 2, picture.shape[1] // 3]
    assert red > blue + 60


def test_the_same_figures_give_the_same_picture():
    first, second = (draw_difference(difference_of(None), "title") for _ in range(2))
    assert first == second


def test_names_of_pictures_have_no_blanks():
    assert file_name("difference", "all mri tumors", "mri_healthy") == (
        "difference_all_mri_tumors_mri_healthy.png"
    )


def test_the_record_is_json_of_finite_numbers(figures):
    text = json.dumps(figures, allow_nan=False)
    assert json.loads(text) == figures
    assert figures["schema"] == 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.nan, None),
        (np.float32(np.inf), None),
        (np.int64(3), 3),
        (np.array([1.5, np.nan]), [1.5, None]),
        ({1: (np.bool_(True), "x")}, {"1": [True, "x"]}),
    ],
)
def test_numbers_become_what_json_holds(value, plain):
    assert finite(value) == plain


def test_every_picture_that_the_record_names_lies_beside_it(explored, figures, tmp_path):
    write_exploration(explored, figures, tmp_path)
    names = set(picture_names(figures))
    assert names == {path.name for path in tmp_path.glob("*.png")}
    assert all(Path(name).name == name for name in names)
    assert json.loads((tmp_path / "explore.json").read_text()) == figures
    assert read_features(tmp_path / "features.csv").usable.sum() == len(explored.cases) - 1
    assert not list(tmp_path.glob("*.partial"))


def test_the_record_counts_classes_by_part(figures):
    assert figures["balance"]["test"]["mri_glioma"] == {"n": 3, "n_groups": 3}
    assert figures["pictures"]["mri_glioma"]["n"] == PER_LABEL
    assert sum(figures["pictures"]["mri_glioma"]["histogram"]) == PER_LABEL * 48 * 48
