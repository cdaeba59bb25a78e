"""Cross-validation: each case is predicted once a repeat, by a network that knows no kin of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.trained_run import RecordingCallback

from tumorlens.errors import SplitError, TrainingError
from tumorlens.files import read_table
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments import cross_validation
from tumorlens.study.experiments.cross_validation import (
    CrossFigures,
    CrossValidation,
    cross_figures,
    cross_validate,
)
from tumorlens.study.experiments.runner import Listeners
from tumorlens.study.experiments.scores import Score, read_scores
from tumorlens.study.phantom import write_phantoms

# --- figures of scores that are given -------------------------------------------------------


def score(number: int, *, label: str, value: float = 0.9, **changes) -> Score:
    """One score of a case with a group of its own, likeliest a meningioma."""
    kept = {"case": f"set/c{number}", "modality": label[: label.index("_")], **changes}
    return Score(label=label, group=f"g{number}", tumor_probability=value, threshold=0.5,
                 **{"type": "meningioma", **kept})  # fmt: skip


def test_the_type_is_judged_where_it_is_recorded_and_ct_answers_are_wrong():
    found = cross_figures([
        score(1, label="mri_meningioma"),
        score(2, label="mri_glioma"),
        score(3, label="mri_tumor"),
        score(4, label="mri_meningioma", modality="ct", type=""),
        score(5, label="mri_healthy", value=0.1),
    ]).whole.type  # fmt: skip
    assert found is not None
    assert (found.n, found.figures["accuracy"].value) == (3, pytest.approx(1 / 3))


def test_each_of_several_sets_has_figures_of_its_own():
    own = [score(1, label="mri_meningioma"), score(2, label="mri_glioma")]
    other = [score(3, label="mri_meningioma", case="other/c3")]
    assert cross_figures(own).sets == {}
    found = {name: part.type for name, part in cross_figures([*own, *other]).sets.items()}
    assert {name: part and part.figures["accuracy"].value for name, part in found.items()} == {
        "set": 0.5,
        "other": 1.0,
    }


def test_a_modality_that_no_label_tells_is_the_one_that_the_network_sees():
    given = [Score("set/1", "tumor", "g1", 0.9, 0.5, modality="ct"), score(2, label="mri_glioma")]
    found = cross_figures(given)
    assert {name: part.n for name, part in found.whole.detection.items()} == {
        "all": 2, "ct": 1, "mri": 1,
    }  # fmt: skip
    assert found.whole.type is not None


def test_scans_that_cannot_be_read_are_counted_and_left_out():
    broken = score(3, label="ct_tumor", value=float("nan"))
    given = [score(1, label="ct_tumor"), score(2, label="ct_healthy", value=0.1), broken]
    found = cross_figures(given)
    assert (found.n, found.unreadable, found.whole.detection["all"].n) == (3, 1, 2)
    with pytest.raises(TrainingError, match="none of the scans"):
        cross_figures(given[2:])


# --- a whole cross-validation ---------------------------------------------------------------


@dataclass(frozen=True)
class Crossed:
    cases: Sequence[Case]
    groups: splits.Groups
    plan: CrossValidation
    figures: CrossFigures
    trained: list[int]  # epochs trained: at first, after a fold was lost, with a second repeat
    seeds: list[int]  # of the networks


@pytest.fixture(scope="module")
def crossed(tmp_path_factory, copied_training, small_recipe, executor) -> Crossed:
    """Two folds; the second lost what came last; then a second repeat."""
    root = tmp_path_factory.mktemp("crossed")
    cases = read_cases(write_phantoms(root / "phantoms", per_class=8, seed=2, side=48))
    cases[0].path.write_bytes(b"broken")
    groups = splits.Groups(np.arange(len(cases)) // 2, np.arange(len(cases)), "f00d")
    plan = CrossValidation(small_recipe, 2, 1, root / "run", root / "cache")
    heard = [RecordingCallback() for _ in range(3)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cross_validation, "train_network", copied_training)
        once = partial(cross_validate, cases, groups, executor=executor)
        once(plan, listeners=Listeners(heard[0]))
        (plan.folder(1, 2) / "predictions.csv").unlink()
        once(plan, listeners=Listeners(heard[1]), resume=True)
        plan = replace(plan, repeats=2)
        figures = once(plan, listeners=Listeners(heard[2]), resume=True)
    return Crossed(cases, groups, plan, figures, [len(one.epochs) for one in heard],
                   [recipe.seed for recipe in copied_training.recipes])  # fmt: skip


def test_a_fold_that_was_finished_is_not_trained_again(crossed):
    assert crossed.trained == [2, 1, 2]


def test_another_repeat_starts_from_other_weights(crossed):
    assert crossed.seeds == [0, 0, 0, 1, 1]


def test_every_case_is_predicted_once_in_each_repeat(crossed):
    rows = read_table(crossed.plan.out / "predictions.csv")
    for repeat in ("1", "2"):
        found = sorted(row["case"] for row in rows if row["repeat"] == repeat)
        assert found == sorted(case.key for case in crossed.cases)


def test_every_fold_keeps_its_bundle_its_split_and_its_sweep(crossed):
    for number in (1, 2, 3, 4):
        folder = crossed.plan.out / f"fold-{number}"
        names = {path.name for path in folder.iterdir()}
        assert {"bundle", "split.csv", "threshold.csv", "threshold.svg", "predictions.csv"} <= names
        split = splits.read_split(folder / "split.csv")
        held = {row["case"] for row in read_table(folder / "predictions.csv")}
        assert held == {key for key, part in split.parts.items() if part == "test"}
        assert splits.leaks_of(split).in_train_or_val == 0


def test_the_figures_are_those_of_the_table(crossed):
    scores = read_scores(crossed.plan.out / "predictions.csv")
    aucs = []
    for repeat in (1, 2):
        own = [s for s in scores if s.repeat == repeat and np.isfinite(s.tumor_probability)]
        aucs.append(roc_auc_score([s.is_tumor for s in own], [s.tumor_probability for s in own]))
    found = crossed.figures.whole.detection["all"]
    auc = found.figures["auc"]
    assert auc.value == pytest.approx(np.mean(aucs))
    assert auc.low <= auc.value <= auc.high
    assert len(found.folds["auc"]) == 4
    stored = json.loads((crossed.plan.out / "cross_validation.json").read_text())
    assert stored["detection"]["all"]["auc"] == auc.value
    assert stored["detection"]["all"]["auc_low"] == auc.low
    assert len(stored["detection"]["all"]["folds"]["auc"]["values"]) == 4
    assert (stored["folds"], stored["repeats"], stored["unreadable"]) == (2, 2, 1)


def test_a_folder_that_holds_folds_is_not_taken_without_resume(crossed):
    with pytest.raises(TrainingError, match="already"):
        cross_validate(crossed.cases, crossed.groups, crossed.plan)


def test_folds_that_cannot_be_drawn_leave_the_folder_as_it_was(crossed, tmp_path):
    plan = replace(crossed.plan, folds=9, out=tmp_path / "run")
    with pytest.raises(SplitError, match="too few for 9 folds"):
        cross_validate(crossed.cases, crossed.groups, plan)
    assert not list(plan.out.glob("*"))


@pytest.mark.parametrize("change", [{"folds": 3}, {"weights": "", "seed": 9}])
def test_going_on_with_another_plan_is_refused(crossed, change):
    recipe = replace(crossed.plan.recipe, seed=change.pop("seed", 0))
    plan = replace(crossed.plan, recipe=recipe, **change)
    with pytest.raises(TrainingError, match="another recipe"):
        cross_validate(crossed.cases, crossed.groups, plan, resume=True)
