"""An evaluation says how good a bundle is on labelled scans, and leaves json, csv and a page."""

import csv
import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.errors import CasesError
from tumorlens.models.bundle import Bundle
from tumorlens.models.performance import load_operating_point
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case
from tumorlens.reports.evaluation import Evaluation, SplitFacts, read_result
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.plots import PLOTS
from tumorlens.study.evaluation.run import evaluate, write_evaluation
from tumorlens.study.evaluation.subgroups import Context
from tumorlens.study.evaluation.test_access_log import log_evaluation
from tumorlens.study.phantom import write_phantoms

SPLIT = SplitFacts("0123456789abcdef", 10, 0.0)
CHOICE = {"aim": "sensitivity >= 0.98", "part": "validation", "n": 50, "n_tumor": 20,
          "threshold": 0.5, "sensitivity": 0.98, "specificity": 0.5}  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tiny_bundle) -> Bundle:
    """The tiny bundle with an operating point described as training describes it."""
    return replace(tiny_bundle, operating_point=load_operating_point(CHOICE, threshold=0.5))


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    """Thirty phantoms, one of them broken and one with a mask of another size."""
    root = write_phantoms(tmp_path_factory.mktemp("set") / "set", per_class=5, seed=2, side=96)
    found = read_cases(root)
    found[0].path.write_bytes(b"broken")
    cv2.imwrite(str(next(c for c in found if c.mask).mask), np.full((40, 40), 255, np.uint8))
    return found


@pytest.fixture(scope="module")
def evaluation(bundle, cases) -> Evaluation:
    other = replace(bundle, operating_point=replace(bundle.operating_point, threshold=0.3))
    context = Context(validation=tuple(cases[2:]), copies={cases[3].key: True},
                      conflicts={cases[4].key: ("tumor",)})  # fmt: skip
    return evaluate(
        cases, Predictor(bundle), part="test", split=SPLIT, context=context, controls=True,
        baseline=Predictor(other), robustness=True, explanations=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(evaluation, bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "deep" / "results"
    write_evaluation(evaluation, out, bundle=bundle)
    return out


def test_page_figures_and_tables_are_written_and_nothing_partial(written):
    assert sorted(path.name for path in written.iterdir()) == [
        "data", "evaluation.html", "evaluation.json", "evaluation.pdf", "failures",
        "predictions.csv",
    ]  # fmt: skip


def test_every_failure_that_may_be_shown_has_its_small_picture(written, evaluation):
    rows = [row for kind in evaluation.result.failures.values() for row in kind.worst]
    named = {row.image for row in rows if not row.hidden}
    assert named == {f"failures/{path.name}" for path in (written / "failures").iterdir()}
    assert named


def test_every_plot_has_its_data_beside_the_page(written, evaluation):
    found = {path.stem for path in (written / "data").iterdir()}
    assert found == set(PLOTS) | {"checklists", "thresholds"}
    with (written / "data" / "roc.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rows"] == "all"]
    assert [float(row["tpr"]) for row in rows] == list(evaluation.result.roc["all"]["tpr"])


def test_the_json_is_strict_and_holds_the_figures(written, evaluation):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = json.loads((written / "evaluation.json").read_text(), parse_constant=refuse)
    assert found["schema"] == 2
    assert read_result(written / "evaluation.json") == evaluation.result


@pytest.mark.parametrize("modality", ["all", "ct", "mri"])
def test_detection_has_the_keys_of_the_contract(written, modality):
    found = json.loads((written / "evaluation.json").read_text())["detection"][modality]
    assert set(found) >= {"n", "auc", "auc_low", "auc_high", "sensitivity", "specificity",
                          "threshold"}  # fmt: skip
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("type", {"n", "accuracy", "macro_f1"}),
        ("calibration", {"ece", "brier"}),
        ("localisation", {"pointing", "centre_prior", "n"}),
        ("split", {"fingerprint", "n", "share"}),
        ("looks", set()),
        ("against", {"bundle", "rows"}),
    ],
)
def test_the_other_sections_have_the_keys_of_the_contract(written, section, keys):
    found = json.loads((written / "evaluation.json").read_text())
    assert set(found[section] or ()) >= keys


def test_modalities_add_up_to_all(evaluation):
    detection = evaluation.result.detection
    assert detection["all"].n == detection["ct"].n + detection["mri"].n == 29
    assert detection["mri"].n == 20


def test_an_unreadable_file_is_counted_and_left_out_of_the_figures(evaluation, cases):
    assert (evaluation.result.n, evaluation.result.unreadable) == (30, 1)
    assert len(evaluation.predictions) == len(evaluation.cases) == len(cases)
    assert [bool(p.error) for p in evaluation.predictions].count(True) == 1
    assert sum(evaluation.result.decisions.values()) == 29


def test_the_predictions_stand_beside_in_the_order_of_the_cases(written, cases):
    with (written / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(case.path) for case in cases]
    assert [row["decision"] == "" for row in rows] == [bool(row["error"]) for row in rows]


def test_the_figures_follow_from_the_predictions(evaluation):
    read = [(c, p) for c, p in zip(evaluation.cases, evaluation.predictions, strict=True)
            if not p.error]  # fmt: skip
    tumors = [p.tumor_probability >= p.threshold for c, p in read if "healthy" not in c.label]
    found = evaluation.result.detection["all"]
    assert found.sensitivity.value == pytest.approx(np.mean(tumors))
    assert found.n_tumor == len(tumors)


def test_a_mask_that_does_not_fit_its_scan_is_left_out(evaluation, cases):
    assert sum(case.mask is not None for case in cases) == 20
    assert evaluation.result.localization.n == 19


def test_cases_without_masks_have_no_localisation_and_heatmaps_of_failures_alone(bundle, cases):
    bare = [replace(case, mask=None) for case in cases[1:9]]
    found = evaluate(bare, Predictor(bundle), part="all", split=SPLIT)
    assert found.result.localization is None
    kinds = found.result.failures.values()
    listed = {row.position for kind in kinds for row in kind.worst if not row.hidden}
    assert {i for i, p in enumerate(found.predictions) if p.heatmap} == listed


def test_pointing_is_right_where_the_mask_covers_the_whole_scan(bundle, cases, tmp_path):
    cv2.imwrite(str(tmp_path / "all.png"), np.full((96, 96), 255, np.uint8))
    whole = [replace(case, mask=tmp_path / "all.png") for case in cases[1:7]]
    found = evaluate(whole, Predictor(bundle), part="all", split=SPLIT).result.localization
    assert (found.pointing.value, found.center_prior.value) == (1.0, 1.0)


def test_cases_of_one_group_are_counted_as_one(bundle, cases):
    grouped = [replace(case, group=f"g{i % 4}") for i, case in enumerate(cases[1:13])]
    found = evaluate(grouped, Predictor(bundle), part="all", split=SPLIT)
    assert found.result.detection["all"].n_groups == 4


@pytest.mark.usefixtures("without_plots")
def test_one_label_alone_still_gives_an_evaluation_and_a_page(bundle, cases, tmp_path):
    healthy = [case for case in cases if case.label == "mri_healthy"]
    found = evaluate(healthy, Predictor(bundle), part="all", split=SPLIT)
    assert found.result.detection["all"].auc.value is None
    assert found.result.type is None
    write_evaluation(found, tmp_path)
    assert "not measurable" in (tmp_path / "evaluation.html").read_text()


def test_progress_of_each_step_ends_at_the_number_of_cases(bundle, cases):
    heard = {}

    def steps(what):
        return nullcontext(lambda done, total: heard.__setitem__(what, (done, total)))

    evaluate(cases[1:7], Predictor(bundle), part="all", split=SPLIT, controls=True, steps=steps)
    assert heard == {"predicting": (6, 6), "negative controls": (6, 6)}


def test_what_a_split_tells_of_the_cases_is_in_the_result(evaluation):
    assert evaluation.result.conformal["detection"][0].n_validation == 28
    copies = evaluation.result.subgroups["copy in training or validation"]
    assert copies["has one"].detection.n == 1


@pytest.mark.usefixtures("without_plots")
def test_a_bundle_without_calibration_says_so_instead_of_showing_one(bundle, cases, tmp_path):
    plain = Predictor(replace(bundle, temperature=1.0))
    write_evaluation(evaluate(cases[1:9], plain, part="all", split=SPLIT), tmp_path)
    assert "This bundle has no calibration" in (tmp_path / "evaluation.html").read_text()


@pytest.mark.usefixtures("without_plots")
def test_what_was_not_asked_for_is_said_to_be_missing(bundle, cases, tmp_path):
    found = evaluate(cases[1:9], Predictor(bundle), part="all", split=SPLIT)
    assert found.result.controls is found.result.comparison is None
    write_evaluation(found, tmp_path)
    page = (tmp_path / "evaluation.html").read_text()
    assert "Not asked for" in page
    assert "none were given" in page
    assert not (tmp_path / "data" / "controls.csv").exists()


@pytest.mark.usefixtures("without_plots")
def test_an_access_is_written_into_the_result_and_the_page(evaluation, bundle, tmp_path):
    now = datetime(2026, 1, 2, tzinfo=UTC)
    for _ in range(2):
        found = log_evaluation(evaluation, bundle, out=tmp_path, now=now)
    assert found.result.test_accesses.same_scans == 2
    write_evaluation(found, tmp_path)
    assert "Evaluation 2 of these scans" in (tmp_path / "evaluation.html").read_text()


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_readable_is_an_error(bundle, cases, count):
    with pytest.raises(CasesError, match="no readable scan"):
        evaluate(cases[:count], Predictor(bundle), part="all", split=SPLIT)


def test_the_page_of_the_evaluation_stands_alone_and_says_research_use(written):
    page = (written / "evaluation.html").read_text()
    assert "Research use only" in page
    assert "<script" not in page
    assert page.count("<svg") == 11
    assert 'src="http' not in page


@pytest.mark.usefixtures("without_plots")
def test_any_bundle_that_loads_can_be_evaluated_onto_a_page(tiny_bundle, cases, tmp_path):
    found = evaluate(cases, Predictor(tiny_bundle), part="test", split=SPLIT)
    write_evaluation(found, tmp_path)
    assert (tmp_path / "evaluation.html").is_file()
