"""What a run needs is checked before the first scan is prepared, and each error has its fix."""

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.errors import LeakError, TrainingError
from tumorlens.models.bundle import load_bundle
from tumorlens.models.performance import TeacherBundle
from tumorlens.records import Case
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.preconditions import (
    LEARNED_PARTS,
    check_batch,
    check_classes,
    check_folders,
    check_preconditions,
    check_teacher,
)

RECIPE = find_recipe("quick")


def cases(**parts: str) -> list[Case]:
    """Cases by part: t is a tumor, h is healthy."""
    return [
        Case(Path(f"{part}{i}.png"), f"{part}{i}", {"t": "mri_glioma", "h": "mri_healthy"}[kind],
             "set", split=part)
        for part, kinds in parts.items() for i, kind in enumerate(kinds)
    ]  # fmt: skip


def test_both_classes_in_each_part_are_enough():
    check_classes(cases(train="th", val="th"), LEARNED_PARTS)


@pytest.mark.parametrize(
    ("parts", "fact"),
    [
        ({"train": "tt", "val": "t"}, "the data set: holds no scan without a tumor .n=3."),
        ({"train": "hh", "val": "h"}, "the data set: holds no scan with a tumor .n=3."),
        ({"train": "th", "val": "tt"}, "the val part of the split: holds no scan without"),
        ({"train": "hh", "val": "th"}, "the train part of the split: holds no scan with a"),
        ({"train": "th"}, "the val part of the split: holds no scan"),
        ({}, "the data set: holds no scan"),
    ],
)
def test_a_missing_class_is_named_with_its_part(parts, fact):
    with pytest.raises(TrainingError, match=fact):
        check_classes(cases(**parts), LEARNED_PARTS)


def test_the_fix_for_a_set_of_tumors_alone_is_another_folder():
    with pytest.raises(TrainingError, match="tumorlens train DIR OTHER"):
        check_classes(cases(train="ttt"))


def test_too_little_space_is_said_with_what_is_needed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5 * 2**20))
    with pytest.raises(TrainingError, match="has 5 MiB free, and this run needs about 65 MiB"):
        check_folders(RECIPE, 10, out=tmp_path, cache=tmp_path)


def test_a_pretrained_network_needs_more_space(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100 * 2**20))
    check_folders(RECIPE, 10, out=tmp_path, cache=tmp_path)
    with pytest.raises(TrainingError, match="513 MiB"):
        check_folders(replace(RECIPE, weights="imagenet"), 10, out=tmp_path, cache=tmp_path)


@pytest.mark.parametrize("which", ["out", "cache"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, which):
    file = tmp_path / "file"
    file.write_bytes(b"")
    folders = {"out": tmp_path / "run", "cache": tmp_path / "cache"} | {which: file / "below"}
    with pytest.raises(TrainingError, match=f"{file.name}{os.sep}below: cannot be written"):
        check_preconditions(cases(train="th"), RECIPE, **folders)


def test_nothing_is_left_in_a_folder_that_was_checked(tmp_path):
    check_folders(RECIPE, 1, out=tmp_path / "run", cache=tmp_path / "cache")
    assert not list((tmp_path / "run").iterdir())


def test_pretraining_needs_a_whole_batch():
    check_batch(RECIPE.batch, RECIPE)
    with pytest.raises(TrainingError, match=f"leaves {RECIPE.batch - 1} distinct images, fewer"):
        check_batch(RECIPE.batch - 1, RECIPE)


def test_a_teacher_tells_the_same_classes_apart():
    teacher = load_bundle()
    other = replace(teacher, atoms=teacher.atoms[::-1])
    with pytest.raises(TrainingError, match="tells other classes apart"):
        check_teacher(other, RECIPE, teacher.provenance.data.split, allow_leaks=True)


def test_a_teacher_of_another_split_may_have_learned_what_is_held_out():
    teacher = load_bundle()
    split = teacher.provenance.data.split
    check_teacher(teacher, RECIPE, split)
    check_teacher(teacher, RECIPE, "0123456789abcdef", allow_leaks=True)
    with pytest.raises(LeakError, match=r"trained on another split.*--split"):
        check_teacher(teacher, RECIPE, "0123456789abcdef")
    second_hand = replace(
        teacher.provenance, teacher=TeacherBundle("other", "0" * 64, "0123456789abcdef")
    )
    with pytest.raises(LeakError, match="trained on another split"):
        check_teacher(replace(teacher, provenance=second_hand), RECIPE, split)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"distillation_share": 0.0},
                                     {"distillation_share": 1.5}])  # fmt: skip
def test_a_recipe_that_would_not_ask_its_teacher_is_refused(changes):
    teacher = load_bundle()
    with pytest.raises(TrainingError, match="cannot learn from a teacher"):
        check_teacher(teacher, replace(RECIPE, **changes), teacher.provenance.data.split)
