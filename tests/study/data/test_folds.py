"""Folds are drawn by whole groups, and each has every label in every part."""

from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import SplitError
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.folds import fold_parts, groups_of

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


def test_the_groups_of_a_split_file_are_found_again(tmp_path):
    groups = splits.Groups(GROUPS, np.arange(len(CASES)), "f00d")
    split = splits.write_split(tmp_path / "split.csv", CASES, FOLDS[0], groups=groups)
    found = groups_of(split, CASES)
    assert found.groups.tolist() == GROUPS.tolist()
    assert found.audit == "f00d"
