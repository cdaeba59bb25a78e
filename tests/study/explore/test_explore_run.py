"""The exploration of a set as a whole, what it keeps out, and the record that it leaves."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.errors import CasesError, StudyError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.json_records import to_json
from tumorlens.records import Case
from tumorlens.study.audit.facts import read_file_facts
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore import separation
from tumorlens.study.explore.class_images import (
    MONTAGE_SIDE,
    TESTED_SIDE,
    ClassStatistics,
    MeanDifference,
    montage,
)
from tumorlens.study.explore.hypothesis_tests import Evidence, judge_hypotheses
from tumorlens.study.explore.record import (
    Counts,
    ExploreResult,
    ImageSize,
    ImageSizes,
    image_file,
    read_result,
)
from tumorlens.study.explore.report import (
    plot_difference,
    plot_images,
    summarize,
    write_exploration,
)
from tumorlens.study.explore.run import Exploration, class_balance, explore, image_sizes
from tumorlens.study.features.table import read_features
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.stats.class_differences import Significance

STORED = Path(__file__).parents[2] / "support/study/explore/explore.json"
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
def result(explored) -> ExploreResult:
    judgments = judge_hypotheses(Evidence(explored))
    return summarize(explored, judgments, folders=["set"], now=NOW)


def test_every_label_and_modality_has_images(explored):
    pooled = {"all ct", "all mri", "all mri tumors"}
    assert set(explored.statistics) == {*LABELS, *pooled} == set(explored.montages)


def test_a_file_that_cannot_be_read_is_counted_and_in_no_image(explored, result):
    assert result.unreadable == 1
    assert result.n == len(explored.cases) == PER_LABEL * len(LABELS)
    assert explored.counts["ct_healthy"] == Counts(PER_LABEL - 1, PER_LABEL - 1)
    assert explored.statistics["ct_healthy"].count == PER_LABEL - 1


def test_counts_are_those_of_the_images(explored):
    assert {name: found.n for name, found in explored.counts.items()} == {
        name: kept.count for name, kept in explored.statistics.items()
    }


def test_only_labels_of_one_modality_are_compared(explored):
    assert set(explored.differences) == {
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
    assert found.counts["mri_glioma"] == Counts(6, 2)
    assert found.studies["mri"].n_groups == 4
    test = found.detection["mri"].test
    assert test is not None
    assert (test.n_first, test.n_second) == (2, 2)


def test_labels_that_leave_the_modality_open_are_compared_too(tmp_path, cache, monkeypatch):
    one_fast_model(monkeypatch)
    cases = write_cases(tmp_path, ("mri_healthy", "mri_glioma"))
    vague = {"mri_healthy": "healthy", "mri_glioma": "tumor"}
    found = run([replace(case, label=vague[case.label]) for case in cases], cache)
    assert list(found.detection) == ["unknown"]
    assert set(found.statistics) == {"healthy", "tumor"}


def test_one_class_alone_is_drawn_and_not_compared(tmp_path, cache):
    found = run(write_cases(tmp_path, ("mri_healthy",), 2), cache)
    assert not found.differences
    assert found.studies["mri"].models is None
    drawn = dict(plot_images(found))
    assert "mean_mri_healthy.png" in drawn


def test_a_set_without_a_readable_scan_is_refused(tmp_path, cache):
    cases = write_cases(tmp_path, ("mri_healthy",), 1)
    cases[0].path.write_bytes(b"")
    with pytest.raises(CasesError, match="no readable scan"):
        run(cases, cache)


def with_text_over_head() -> np.ndarray:
    pixels = draw_phantom("ct", "healthy", seed=4, plane="axial", side=256).pixels.copy()
    cv2.putText(
        pixels, "MUSTERMANN 1951", (50, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.5, [255], 1, cv2.LINE_AA
    )
    return pixels


def test_a_scan_with_text_over_the_head_is_not_shown(write_image):
    path = write_image(with_text_over_head(), "named.png")
    kept = ClassStatistics(64)
    kept.add(
        prepare(read_scan(path), InputSpec(side=64)).pixels, Case(path, "k", "ct_healthy", "s")
    )
    found = montage(kept)
    assert not found.images
    assert found.withheld == 1


def test_shown_scans_are_small(head, write_image):
    path = write_image(head, "head.png")
    kept = ClassStatistics(128)
    kept.add(prepare(read_scan(path)).pixels, Case(path, "k", "mri_glioma", "s"))
    found = montage(kept)
    assert [image.shape for image in found.images] == [(MONTAGE_SIDE, MONTAGE_SIDE)]
    assert found.withheld == 0


def difference_of(significant: np.ndarray | None) -> MeanDifference:
    pixels = np.zeros((64, 64))
    pixels[16:48, 16:48] = 30
    if significant is None:
        return MeanDifference("mri_healthy", "mri_glioma", 10, pixels, None)
    p = np.where(significant, 0.01, 0.5).ravel()
    test = Significance(t=p, p=p, threshold=3.0, n_first=5, n_second=5, permutations=99)
    return MeanDifference("mri_healthy", "mri_glioma", 10, pixels, test)


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_a_line_runs_around_what_is_significant():
    square = np.zeros((TESTED_SIDE, TESTED_SIDE), bool)
    square[12:36, 12:36] = True
    plain = decoded(plot_difference(difference_of(None), "title"))
    lined = decoded(plot_difference(difference_of(square), "title"))
    blue, green, red = np.moveaxis(lined, -1, 0)
    drawn = (green > red + 60) & (green > blue + 20)
    assert drawn.sum() > 200
    assert not np.array_equal(plain, lined)
    rows = np.flatnonzero(drawn.any(1))
    assert rows[-1] - rows[0] < 0.7 * lined.shape[0]


def test_where_the_second_class_is_brighter_the_difference_is_orange():
    image = decoded(plot_difference(difference_of(None), "title"))
    blue, _, red = image[image.shape[0] // 2, image.shape[1] // 3]
    assert red > blue + 60


def test_the_same_figures_give_the_same_image():
    first, second = (plot_difference(difference_of(None), "title") for _ in range(2))
    assert first == second


def test_names_of_images_have_no_blanks():
    assert image_file("difference", "all mri tumors", "mri_healthy") == (
        "difference_all_mri_tumors_mri_healthy.png"
    )


@pytest.fixture(scope="module")
def written(explored, result, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("written")
    write_exploration(explored, result, out)
    return out


def test_the_record_is_read_as_it_was_written(written, result):
    assert read_result(written / "explore.json") == result


def test_a_record_of_the_last_version_is_read_and_written_as_it_was():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    written = to_json(read_result(STORED))
    for judgment in stored["hypotheses"]:
        for finding in judgment["findings"]:
            finding["n"] = finding["n"] or 0  # that version gave no n for the test of means
    stored["input"]["ct_window"] = [40.0, 80.0]  # as it was when none was stored
    assert written == stored


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 2}'])
def test_what_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "explore.json").write_text(text)
    with pytest.raises(StudyError, match=r"explore\.json"):
        read_result(tmp_path / "explore.json")


def test_every_image_that_the_record_names_lies_beside_it(explored, result, written):
    names = set(result.image_names())
    assert names == {path.name for path in written.glob("*.png")}
    assert all(Path(name).name == name for name in names)
    assert read_features(written / "features.csv").usable.sum() == len(explored.cases) - 1
    assert not list(written.glob("*.partial"))


def test_the_record_counts_classes_by_part(result):
    assert result.balance["test"]["mri_glioma"] == Counts(3, 3)
    assert result.images["mri_glioma"].n == PER_LABEL
    assert sum(result.images["mri_glioma"].histogram) == PER_LABEL * 48 * 48


def test_sizes_are_those_of_the_headers(tmp_path, head, write_image):
    paths = [
        write_image(head, "a.png"), write_image(head, "b.jpg"),
        write_image(np.pad(head, ((0, 0), (16, 16))), "c.png"), tmp_path / "gone.png",
    ]  # fmt: skip
    facts = [read_file_facts(path.read_bytes()) if path.exists() else None for path in paths]
    assert image_sizes(["tumor"] * 4, facts) == ImageSizes(
        (
            ImageSize("tumor", 128, 128, 1.0, "JPEG", 1),
            ImageSize("tumor", 128, 128, 1.0, "PNG", 1),
            ImageSize("tumor", 160, 128, 1.25, "PNG", 1),
        ),
        unreadable=1,
    )


def test_balance_counts_scans_and_groups_of_each_part():
    parts = [("train", "g1"), ("train", "g1"), ("test", None), ("train", None), (None, None)]
    cases = [
        Case(Path(), f"s/{i}", "mri_glioma", "s", split=split, group=group)
        for i, (split, group) in enumerate(parts)
    ]
    assert class_balance([*cases, replace(cases[0], label="mri_healthy")]) == {
        "none": {"mri_glioma": Counts(1, 1)},
        "test": {"mri_glioma": Counts(1, 1)},
        "train": {"mri_glioma": Counts(3, 2), "mri_healthy": Counts(1, 1)},
    }
