"""Cross-validation: whole groups, each held out once a repeat, and figures of what came out."""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tumorlens.errors import SplitError, TrainingError
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments import folds
from tumorlens.study.experiments.fold_figures import cross_figures
from tumorlens.study.experiments.folds import CrossJob, cross_validate, fold_parts, groups_of
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.run import Job

RECIPE = replace(
    find_recipe("quick"), side=48, train_side=48, epochs=1, batch=8, warmup_epochs=0.0,
    sensitivity_aim=0.9, options={"widths": [8, 8, 8], "stem": 8},
)  # fmt: skip
KINDS = ("ct_healthy", "ct_tumor", "mri_healthy", "mri_glioma")


def many(per_class: int = 40, of_group: int = 2) -> tuple[list[Case], np.ndarray]:
    """Cases without files, and their groups."""
    cases = [
        Case(Path(f"{kind}/{i}.png"), f"set/{kind}/{i}.png", kind, "set")
        for kind in KINDS
        for i in range(per_class)
    ]
    return cases, np.arange(len(cases)) // of_group


CASES, GROUPS = many()
FOLDS = fold_parts(CASES, GROUPS, folds=5, seed=0)


def test_every_case_is_held_out_exactly_once():
    held = np.array([[part == "test" for part in fold] for fold in FOLDS])
    assert (held.sum(axis=0) == 1).all()


def test_no_group_parts_in_any_fold():
    for fold in FOLDS:
        seen = {(group, part) for group, part in zip(GROUPS.tolist(), fold, strict=True)}
        assert len(seen) == len(np.unique(GROUPS))


def test_every_part_of_every_fold_has_every_label():
    for fold in FOLDS:
        found = {(case.label, part) for case, part in zip(CASES, fold, strict=True)}
        assert found == {(kind, part) for kind in KINDS for part in ("train", "val", "test")}


def test_validation_is_a_sixth_of_what_is_not_held_out():
    for fold in FOLDS:
        assert fold.count("val") / (len(fold) - fold.count("test")) == pytest.approx(
            1 / 6, abs=0.05
        )


def test_another_seed_draws_other_folds_and_the_same_seed_the_same():
    assert fold_parts(CASES, GROUPS, folds=5, seed=0) == FOLDS
    assert fold_parts(CASES, GROUPS, folds=5, seed=1) != FOLDS


def test_a_label_with_hardly_any_groups_still_gets_a_validation_case():
    cases, groups = many(per_class=3, of_group=1)
    for fold in fold_parts(cases, groups, folds=2, seed=0):
        assert {c.label for c, part in zip(cases, fold, strict=True) if part == "train"}
        in_validation = [c.label for c, part in zip(cases, fold, strict=True) if part == "val"]
        assert len(set(in_validation)) > 1


@pytest.mark.parametrize(
    ("per_class", "folds", "match"),
    [(6, 4, "too few for 4 folds"), (2, 2, "too few for 2 folds"), (40, 1, "fewer than two")],
)
def test_folds_that_cannot_be_drawn_are_refused(per_class, folds, match):
    cases, groups = many(per_class=per_class)
    with pytest.raises(SplitError, match=match):
        fold_parts(cases, groups, folds=folds, seed=0)


# --- figures of rows that are given ---------------------------------------------------------


def row(
    number: int, score: float, *, label: str, fold: int = 1, repeat: int = 1, **changes
) -> dict:
    """One row of predictions.csv."""
    return {
        "repeat": str(repeat), "fold": str(fold), "case": f"set/c{number}", "label": label,
        "group": f"g{number}", "modality": label[: label.index("_")],
        "tumor_probability": str(score), "threshold": "0.5",
        "p_glioma": "0.2", "p_meningioma": "0.7", "p_pituitary": "0.1",
        "error": "", **changes,
    }  # fmt: skip


def test_each_fold_is_judged_by_its_own_threshold():
    rows = [
        row(1, 0.3, label="mri_glioma", threshold="0.2"),
        row(2, 0.1, label="mri_healthy", threshold="0.2"),
        row(3, 0.8, label="mri_glioma", fold=2, threshold="0.7"),
        row(4, 0.6, label="mri_healthy", fold=2, threshold="0.7"),
    ]
    found = cross_figures(rows)["detection"]["all"]
    assert (found["sensitivity"], found["specificity"], found["f1"]) == (1.0, 1.0, 1.0)
    assert found["folds"]["sensitivity"]["values"] == [1.0, 1.0]


def test_a_figure_of_repeats_is_their_mean_and_a_case_counts_once():
    first = [row(1, 0.9, label="ct_tumor"), row(2, 0.1, label="ct_healthy")]
    second = [row(1, 0.1, label="ct_tumor", repeat=2), row(2, 0.1, label="ct_healthy", repeat=2)]
    found = cross_figures([*first, *second])["detection"]["ct"]
    assert (found["n"], found["n_tumor"], found["n_groups"]) == (2, 1, 2)
    assert found["sensitivity"] == pytest.approx(0.5)
    assert found["folds"]["sensitivity"]["mean"] == pytest.approx(0.5)
    assert found["folds"]["sensitivity"]["deviation"] == pytest.approx(0.5**0.5)


def test_the_type_is_judged_where_it_is_recorded_and_ct_answers_are_wrong():
    rows = [
        row(1, 0.9, label="mri_meningioma"),
        row(2, 0.9, label="mri_glioma"),
        row(3, 0.9, label="mri_tumor"),
        row(4, 0.9, label="mri_meningioma", modality="ct", p_glioma="", p_meningioma="",
            p_pituitary=""),
        row(5, 0.1, label="mri_healthy"),
    ]  # fmt: skip
    found = cross_figures(rows)["type"]
    assert (found["n"], found["accuracy"]) == (3, pytest.approx(1 / 3))


def test_each_of_several_sets_has_figures_of_its_own():
    own = [row(1, 0.9, label="mri_meningioma"), row(2, 0.9, label="mri_glioma")]
    other = [row(3, 0.9, label="mri_meningioma", case="other/c3")]
    assert cross_figures(own)["sets"] == {}
    found = cross_figures([*own, *other])["sets"]
    assert {name: part["type"]["accuracy"] for name, part in found.items()} == {
        "set": 0.5,
        "other": 1.0,
    }


def test_one_class_alone_gives_no_auc_and_no_specificity():
    found = cross_figures([row(1, 0.9, label="ct_tumor"), row(2, 0.2, label="ct_tumor")])
    assert found["detection"]["all"]["auc"] is None
    assert found["detection"]["all"]["specificity"] is None
    assert found["detection"]["all"]["sensitivity"] == 0.5
    assert found["type"] is None


def test_scans_that_cannot_be_read_are_counted_and_left_out():
    broken = row(3, 0, label="ct_tumor", error="broken", tumor_probability="", threshold="")
    rows = [row(1, 0.9, label="ct_tumor"), row(2, 0.1, label="ct_healthy"), broken]
    found = cross_figures(rows)
    assert (found["n"], found["unreadable"], found["detection"]["all"]["n"]) == (3, 1, 2)
    with pytest.raises(TrainingError, match="none of the scans"):
        cross_figures(rows[2:])


# --- a whole cross-validation ---------------------------------------------------------------


@dataclass
class Ear:
    """Hears which epochs were trained."""

    epochs: list[float] = field(default_factory=list)

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hear nothing of batches."""

    def on_epoch_end(self, row: Any, is_best: bool) -> None:
        self.epochs.append(row["epoch"])


@dataclass(frozen=True)
class Crossed:
    cases: Sequence[Case]
    groups: splits.Groups
    job: CrossJob
    figures: dict[str, Any]
    trained: list[int]  # epochs trained: at first, after a fold was lost, with a second repeat


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> Crossed:
    """Two folds; the second lost what came last; then a second repeat."""
    root = tmp_path_factory.mktemp("crossed")
    cases = read_cases(write_phantoms(root / "phantoms", per_class=8, seed=2, side=64))
    cases[0].path.write_bytes(b"broken")
    numbers = np.arange(len(cases)) // 2
    groups = splits.Groups(numbers, np.arange(len(cases)), "f00d")
    job = CrossJob(RECIPE, folds=2, repeats=1, out=root / "run", cache=root / "cache")
    ears = [Ear(), Ear(), Ear()]
    cross_validate(cases, groups, job, callback=ears[0])
    (job.folder(1, 2) / "predictions.csv").unlink()
    cross_validate(cases, groups, job, callback=ears[1], resume=True)
    twice = replace(job, repeats=2)

    def copied(cases: Sequence[Case], one: Job, *, callback: Ear, **ignored: Any) -> None:
        # Two networks are enough to be trained for a test.
        shutil.copytree(job.folder(1, 1), one.out, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("split.csv", "predictions.csv"))  # fmt: skip
        callback.on_epoch_end({"epoch": 1}, True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folds, "train", copied)
        figures = cross_validate(cases, groups, twice, callback=ears[2], resume=True)
    return Crossed(cases, groups, twice, figures, [len(ear.epochs) for ear in ears])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_fold_that_was_finished_is_not_trained_again(crossed):
    assert crossed.trained == [2, 0, 2]


def test_every_case_is_predicted_once_in_each_repeat(crossed):
    rows = rows_of(crossed.job.out / "predictions.csv")
    for repeat in ("1", "2"):
        found = sorted(row["case"] for row in rows if row["repeat"] == repeat)
        assert found == sorted(case.key for case in crossed.cases)


def test_every_fold_keeps_its_bundle_its_split_and_its_sweep(crossed):
    for number in (1, 2, 3, 4):
        folder = crossed.job.out / f"fold-{number}"
        names = {path.name for path in folder.iterdir()}
        assert {"bundle", "split.csv", "threshold.csv", "threshold.svg", "predictions.csv"} <= names
        split = splits.read_split(folder / "split.csv")
        held = {row["case"] for row in rows_of(folder / "predictions.csv")}
        assert held == {key for key, part in split.parts.items() if part == "test"}
        assert splits.leaks_of(split).in_train_or_val == 0


def test_the_figures_are_those_of_the_table(crossed):
    rows = [row for row in rows_of(crossed.job.out / "predictions.csv") if not row["error"]]
    aucs = []
    for repeat in ("1", "2"):
        own = [row for row in rows if row["repeat"] == repeat]
        truth = ["healthy" not in row["label"] for row in own]
        aucs.append(roc_auc_score(truth, [float(row["tumor_probability"]) for row in own]))
    found = crossed.figures["detection"]["all"]
    assert found["auc"] == pytest.approx(np.mean(aucs))
    assert found["auc_low"] <= found["auc"] <= found["auc_high"]
    assert len(found["folds"]["auc"]["values"]) == 4
    stored = json.loads((crossed.job.out / "cross_validation.json").read_text())
    assert stored["detection"] == crossed.figures["detection"]
    assert (stored["folds"], stored["repeats"], stored["unreadable"]) == (2, 2, 1)


def test_a_folder_that_holds_folds_is_not_taken_without_resume(crossed):
    with pytest.raises(TrainingError, match="holds a run already"):
        cross_validate(crossed.cases, crossed.groups, crossed.job, callback=Ear())


def test_folds_that_cannot_be_drawn_leave_the_folder_as_it_was(crossed, tmp_path):
    job = replace(crossed.job, folds=9, out=tmp_path / "run")
    with pytest.raises(SplitError, match="too few for 9 folds"):
        cross_validate(crossed.cases, crossed.groups, job, callback=Ear())
    assert not job.out.exists()


@pytest.mark.parametrize("change", [{"folds": 3}, {"recipe": replace(RECIPE, seed=9)}])
def test_going_on_with_another_plan_is_refused(crossed, change):
    job = replace(crossed.job, **change)
    with pytest.raises(TrainingError, match="another recipe"):
        cross_validate(crossed.cases, crossed.groups, job, callback=Ear(), resume=True)


def test_the_groups_of_a_split_file_are_found_again(crossed):
    split = splits.read_split(crossed.job.out / "fold-1" / "split.csv")
    found = groups_of(split, crossed.cases)
    assert found.groups.tolist() == crossed.groups.groups.tolist()
    assert found.audit == "f00d"
