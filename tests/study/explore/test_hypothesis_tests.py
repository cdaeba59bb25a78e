"""Verdicts follow from intervals by the rules that are written down, and say why not."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tumorlens.errors import CasesError
from tumorlens.models.performance import Provenance, TrainingData
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Estimate
from tumorlens.study.audit.shortcuts import Shortcut
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore.class_images import TESTED_SIDE, MeanDifference
from tumorlens.study.explore.held_out_performance import (
    HeldOutPerformance,
    measure_held_out,
    read_experiments,
)
from tumorlens.study.explore.hypothesis_tests import (
    HYPOTHESES,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    by_interval,
    judge_hypotheses,
)
from tumorlens.study.explore.record import GroupedAuc, Judgment
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.stats.class_differences import compare_groups

RNG_SEED = 5


def exploration(**parts: Any) -> Any:
    """What a verdict looks at of an exploration."""
    nothing: dict[str, Any] = {"cases": (), "detection": {}, "studies": {}, "shortcuts": ()}
    return SimpleNamespace(**(nothing | parts))


def verdict(name: str, evidence: Evidence) -> Judgment:
    return next(row for row in judge_hypotheses(evidence) if row.id == name)


def difference_of(gap: float, groups: int) -> MeanDifference:
    """Two classes of noise; a square of the second is brighter by `gap`."""
    rng = np.random.default_rng(RNG_SEED)
    sides = [
        {f"{side}{i}": rng.normal(100, 10, TESTED_SIDE**2) for i in range(groups)} for side in "ab"
    ]
    square = np.zeros((TESTED_SIDE, TESTED_SIDE))
    square[10:20, 10:20] = gap
    brighter = {name: pixels + square.ravel() for name, pixels in sides[1].items()}
    test = compare_groups(sides[0], brighter, permutations=200)
    return MeanDifference("mri_healthy", "mri_tumor", 2 * groups, square, test)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.76, 0.9, SUPPORTED),
        (0.7, 0.8, UNDECIDED),
        (0.5, 0.74, REFUTED),
        (0.75, 0.9, UNDECIDED),
        (None, 0.9, UNDECIDED),
        (np.nan, np.nan, UNDECIDED),
    ],
)
def test_an_interval_is_held_against_a_bar(low, high, expected):
    assert by_interval(Estimate(0.8, low, high, 90), 0.75) == expected


def test_without_figures_all_are_undecided_and_say_why():
    found = judge_hypotheses(Evidence(exploration()))
    assert [row.id for row in found] == [f"H{i}" for i in range(1, 7)]
    assert {row.verdict for row in found} == {UNDECIDED}
    # H5 alone has no reason of its own: it repeats those of its tasks, and here there is none.
    assert all(row.reason for row in found if row.id != "H5")


def test_ids_are_unique_and_every_rule_is_stated():
    assert len({h.id for h in HYPOTHESES}) == len(HYPOTHESES)
    assert all(h.statement and h.test and h.rule for h in HYPOTHESES)


@pytest.mark.parametrize(
    ("gap", "groups", "expected"),
    [
        (40.0, 60, SUPPORTED),
        (0.0, 60, REFUTED),
        (0.0, 10, UNDECIDED),  # nothing seen, but with few groups that says little
        (7.9, 200, REFUTED),  # certain, and too faint to be seen
        (7.9, 40, UNDECIDED),
        (40.0, 1, UNDECIDED),
    ],
)
def test_means_differ_where_a_test_and_an_eye_say_so(gap, groups, expected):
    found = verdict("H1", Evidence(exploration(detection={"mri": difference_of(gap, groups)})))
    assert found.verdict == expected


def test_the_figure_of_means_is_the_corrected_p():
    difference = difference_of(40.0, 60)
    (finding,) = verdict("H1", Evidence(exploration(detection={"mri": difference}))).findings
    assert difference.test is not None
    p = finding.estimate
    assert p.value == difference.test.p.min() == 1 / 201
    assert p.low == 0.0
    assert p.value < (p.high or 0) < 0.05
    assert (p.n, finding.n_groups) == (120, 120)
    assert "up to 40 of 255 gray levels" in finding.note


NOTHING = Estimate(None, None, None, 0)


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.03, value + 0.03, 90)


def auc(value: float) -> GroupedAuc:
    return GroupedAuc(estimate(value), 80)


def model(value: float) -> SimpleNamespace:
    """What a verdict looks at of the features of one modality."""
    models = {"random_forest": auc(value), "gradient_boosting": auc(0.99)}
    return SimpleNamespace(models=models)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.97, SUPPORTED), (0.77, UNDECIDED), (0.6, REFUTED)]
)
def test_a_network_is_judged_by_its_interval(value, expected):
    evidence = Evidence(exploration(), HeldOutPerformance({"mri": auc(value)}, "net@0"))
    assert verdict("H2", evidence).verdict == expected


def test_modalities_that_disagree_leave_it_undecided_and_are_named():
    evidence = Evidence(exploration(), HeldOutPerformance({"ct": auc(0.6), "mri": auc(0.97)}))
    found = verdict("H2", evidence)
    assert found.verdict == UNDECIDED
    assert found.reason == "CT: not supported; MRI: supported"


def test_texture_is_held_against_the_network():
    evidence = Evidence(
        exploration(studies={"mri": model(0.9)}), HeldOutPerformance({"mri": auc(0.97)})
    )
    found = verdict("H4", evidence)
    assert found.verdict == SUPPORTED
    assert found.findings[0].estimate.value == 0.9
    assert found.findings[0].note == "+0.070 of AUC from here to the network"


def test_texture_of_one_class_is_undecided():
    evidence = Evidence(exploration(studies={"mri": SimpleNamespace(models=None)}))
    assert verdict("H4", evidence).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("value", "expected"), [(0.8, SUPPORTED), (0.61, UNDECIDED), (0.5, REFUTED)]
)
def test_shortcuts_count_as_the_files_are_stored(value, expected):
    rows = (
        Shortcut("MRI detection", "all of these", "as stored", 80, estimate(value)),
        Shortcut("MRI detection", "all of these", "prepared", 80, Estimate(0.99, 0.98, 1.0, 90)),
        Shortcut("MRI detection", "file bytes", "as stored", 80, Estimate(0.99, 0.98, 1.0, 90)),
        Shortcut("type", "all of these", "as stored", 80, Estimate(0.99, 0.98, 1.0, 90)),
        Shortcut("CT detection", "all of these", "as stored", 0, NOTHING, "no files"),
    )  # fmt: skip
    found = verdict("H5", Evidence(exploration(shortcuts=rows)))
    assert found.verdict == expected
    assert [finding.where for finding in found.findings] == ["MRI"]


def test_shortcuts_that_cannot_be_measured_say_why():
    row = Shortcut("CT detection", "all of these", "as stored", 0, NOTHING, "no files")
    assert verdict("H5", Evidence(exploration(shortcuts=(row,)))).reason == "CT detection: no files"


def results(path: Path, *rows: dict[str, Any], schema: int = 1) -> Path:
    path.write_text(json.dumps({"schema": schema, "experiments": rows}))
    return path


def pairs(*gains: float) -> dict[str, Any]:
    rows = [{"seed": i, "without": 0.8, "with": 0.8 + gain} for i, gain in enumerate(gains)]
    return {"id": "augmentation", "measure": "AUC on another set", "pairs": rows}


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((0.03, 0.04, 0.05), SUPPORTED),
        ((-0.03, -0.04, -0.05), REFUTED),
        ((0.03, -0.02, 0.05), UNDECIDED),
        ((0.03, 0.04), UNDECIDED),
    ],
)
def test_augmentation_is_judged_pair_by_pair(tmp_path, gains, expected):
    experiments = read_experiments(results(tmp_path / "r.json", pairs(*gains)))
    found = verdict("H3", Evidence(exploration(), experiments=experiments))
    assert found.verdict == expected
    assert found.findings[0].estimate.value == pytest.approx(np.mean(gains))


def test_the_interval_of_a_gain_is_students(tmp_path):
    experiments = read_experiments(results(tmp_path / "r.json", pairs(0.03, 0.04, 0.05)))
    (finding,) = verdict("H3", Evidence(exploration(), experiments=experiments)).findings
    half = 4.30265 * 0.01 / np.sqrt(3)  # the t quantile of 2 degrees of freedom
    assert finding.estimate.low == pytest.approx(0.04 - half, abs=1e-6)
    assert finding.estimate.high == pytest.approx(0.04 + half, abs=1e-6)


def matrix(**aucs: float) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in aucs.items():
        trained, tested = name.split("_")
        cell = {"auc": value, "auc_low": value - 0.03, "auc_high": value + 0.03, "n": 90}
        table.setdefault(trained, {})[tested] = cell
    return {"id": "transfer", "measure": "AUC", "matrix": table}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"a_a": 0.95, "a_b": 0.9, "b_a": 0.85}, SUPPORTED),
        ({"a_b": 0.9, "b_a": 0.6}, REFUTED),  # one that fails is enough
        ({"a_b": 0.9, "b_a": 0.76}, UNDECIDED),
        ({"a_a": 0.95, "b_b": 0.95}, UNDECIDED),  # its own set is no other
    ],
)
def test_a_network_holds_if_it_holds_on_every_other_set(tmp_path, cells, expected):
    experiments = read_experiments(results(tmp_path / "r.json", matrix(**cells)))
    assert verdict("H6", Evidence(exploration(), experiments=experiments)).verdict == expected


def test_transfer_names_what_the_network_reaches_at_home(tmp_path):
    experiments = read_experiments(results(tmp_path / "r.json", matrix(a_a=0.95, a_b=0.9)))
    (finding,) = verdict("H6", Evidence(exploration(), experiments=experiments)).findings
    assert (finding.where, finding.note) == ("a to b", "0.950 on a itself")


BROKEN = {
    "no json": "{",
    "a list": "[]",
    "another schema": json.dumps({"schema": 2, "experiments": []}),
    "no experiments": json.dumps({"schema": 1}),
    "no id": json.dumps({"schema": 1, "experiments": [{"measure": "AUC"}]}),
    "not a share": json.dumps({"schema": 1, "experiments": [pairs(0.3)]}),
    "nan": '{"schema": 1, "experiments": [{"id": "augmentation", "measure": "AUC", '
    '"pairs": [{"seed": 0, "without": NaN, "with": 0.5}]}]}',
    "a seed twice": json.dumps(
        {"schema": 1, "experiments": [pairs(0.1) | {"pairs": 2 * pairs(0.1)["pairs"]}]}
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_results_that_are_no_results_are_refused(tmp_path, name):
    (tmp_path / "r.json").write_text(BROKEN[name])
    with pytest.raises(CasesError, match=r"r\.json"):
        read_experiments(tmp_path / "r.json")


def test_an_auc_outside_its_interval_is_refused(tmp_path):
    wrong = matrix(a_b=0.8)
    wrong["matrix"]["a"]["b"]["auc_high"] = 0.7
    with pytest.raises(CasesError, match="outside its interval"):
        read_experiments(results(tmp_path / "r.json", wrong))


def test_a_missing_file_of_results_is_refused(tmp_path):
    with pytest.raises(CasesError, match=r"gone\.json"):
        read_experiments(tmp_path / "gone.json")


@pytest.fixture
def cases(write_image) -> list[Case]:
    found = []
    for label in ("mri_healthy", "mri_glioma"):
        for number in range(4):
            kind = label.split("_")[1]
            pixels = draw_phantom("mri", kind, seed=number, plane="axial", side=96).pixels
            path = write_image(pixels, f"{label}/{number}.png")
            found.append(Case(path, f"set/{label}/{number}.png", label, "set"))
    return found


@pytest.fixture
def split(cases, tmp_path) -> tuple[Path, str]:
    numbers = np.arange(len(cases))
    made = splits.write_split(
        tmp_path / "split.csv", cases, ["train", "val", "test", "test"] * 2,
        groups=Groups(numbers, numbers, "a"),
    )  # fmt: skip
    return tmp_path / "split.csv", made.fingerprint


def predictor_of(bundle, fingerprint: str) -> Predictor:
    return Predictor(replace(bundle, provenance=Provenance(data=TrainingData(fingerprint))))


def test_a_bundle_is_tested_on_the_test_part_of_its_own_split(cases, split, tiny_bundle):
    found = measure_held_out(cases, split[0], predictor_of(tiny_bundle, split[1]))
    assert found.reason == ""
    assert list(found.figures) == ["mri"]
    assert (found.figures["mri"].auc.n, found.figures["mri"].n_groups) == (4, 4)
    assert found.figures["mri"].auc.value in (0, 0.25, 0.5, 0.75, 1)
    assert found.bundle.startswith("tiny@")


def test_the_auc_of_a_bundle_is_that_of_its_tumor_probabilities(cases, split, tiny_bundle):
    predictor = predictor_of(tiny_bundle, split[1])
    tested = [cases[i] for i in (2, 3, 6, 7)]
    p = [float(a.tumor_probability or 0) for a in predictor.predict([c.path for c in tested])]
    expected = np.mean([(p[i] > p[j]) + 0.5 * (p[i] == p[j]) for i in (2, 3) for j in (0, 1)])
    found = measure_held_out(cases, split[0], predictor).figures["mri"]
    assert found.auc.value == expected


def test_a_bundle_of_another_split_is_not_tested(cases, split, tiny_bundle):
    found = measure_held_out(cases, split[0], predictor_of(tiny_bundle, "f" * 16))
    assert not found.figures
    assert "may have seen these scans" in found.reason


def test_a_split_that_leaks_is_not_used(cases, tmp_path, tiny_bundle):
    same = np.zeros(len(cases), int)
    made = splits.write_split(
        tmp_path / "leaks.csv", cases, ["train", "test"] * 4, groups=Groups(same, same, "a")
    )
    predictor = predictor_of(tiny_bundle, made.fingerprint)
    found = measure_held_out(cases, tmp_path / "leaks.csv", predictor)
    assert not found.figures
    assert "leaks" in found.reason


def test_a_table_that_is_no_split_file_gives_a_reason(cases, tmp_path, tiny_bundle):
    (tmp_path / "mine.csv").write_text("path,split\na.png,test\n")
    found = measure_held_out(cases, tmp_path / "mine.csv", Predictor(tiny_bundle))
    assert "is not a split file" in found.reason


def test_without_a_split_nothing_is_held_out(cases, tiny_bundle):
    assert measure_held_out(cases, None, Predictor(tiny_bundle)).reason == "no split was given"
