"""What has to hold before a run begins: checked in one place, before any scan is prepared.

What depends on the network itself is `learner.check_network`: only that needs Keras.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tumorlens import labels
from tumorlens.errors import LeakError, TrainingError
from tumorlens.models.bundle import Bundle
from tumorlens.records import Case
from tumorlens.study.recipes import NO_WEIGHTS, Recipe

LEARNED_PARTS = ("train", "val")
_MEBIBYTE = 2**20
_RUN_BYTES = 64 * _MEBIBYTE  # weights, their averages, the optimizer, the bundle
_PRETRAINED_RUN_BYTES = 512 * _MEBIBYTE  # the same of a network of Keras Applications
_ADD_CLASS = (
    "Name a folder with the missing class beside it (`tumorlens train DIR OTHER`); "
    "`tumorlens data list` names public sets"
)
_SPLIT_AGAIN = "Make the split again with `tumorlens split`: a larger share, or another --seed"


def check_preconditions(
    cases: Sequence[Case],
    recipe: Recipe,
    *,
    out: Path,
    cache: Path,
    parts: Sequence[str] = (),
) -> None:
    """Raise TrainingError, with the fix, where a run of `recipe` on `cases` could not end well.

    Without `parts` the cases have none yet, and are looked at as a whole.
    """
    check_classes(cases, parts)
    check_folders(recipe, len(cases), out=out, cache=cache)


def check_classes(cases: Sequence[Case], parts: Sequence[str] = ()) -> None:
    """Raise TrainingError where the cases, or those of a part, are not of both classes."""
    _check_both("the data set", cases, _ADD_CLASS)
    for part in parts:
        rows = [case for case in cases if case.split == part]
        _check_both(f"the {part} part of the split", rows, _SPLIT_AGAIN)


def _check_both(name: str, cases: Sequence[Case], fix: str) -> None:
    if not cases:
        raise TrainingError(name, "holds no scan", fix)
    tumors = sum(labels.is_tumor(case.label) for case in cases)
    if tumors in (0, len(cases)):
        missing = "with a tumor" if not tumors else "without a tumor"
        fact = f"holds no scan {missing} (n={len(cases)}), and a network has to learn both"
        raise TrainingError(name, fact, fix)


def check_folders(recipe: Recipe, count: int, *, out: Path, cache: Path) -> None:
    """Raise TrainingError where a folder cannot be written, or has not the space for a run.

    `count` is how many scans are prepared.
    """
    run = _RUN_BYTES if recipe.weights == NO_WEIGHTS else _PRETRAINED_RUN_BYTES
    for folder, needed in ((cache, count * recipe.side**2), (out, run)):
        _check_writable(folder)
        free = shutil.disk_usage(folder).free
        if free < needed:
            fact = f"has {free // _MEBIBYTE} MiB free, and this run needs about"
            fix = "Free some space, or name another folder (--out, --cache)."
            raise TrainingError(folder, f"{fact} {needed // _MEBIBYTE + 1} MiB", fix)


def _check_writable(folder: Path) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        fact = f"cannot be written ({e.strerror})"
        raise TrainingError(folder, fact, "Name a folder that you may write to.") from e


def check_teacher(
    teacher: Bundle, recipe: Recipe, fingerprint: str, *, allow_leaks: bool = False
) -> None:
    """Raise TrainingError where a recipe cannot learn from a teacher, LeakError where it may not.

    What a teacher learned it hands on. A bundle keeps only the fingerprint of its split, so that
    has to be the split of the run too: else what is held out here may have been learned there.
    """
    if not (recipe.epochs and 0 < recipe.distillation_share <= 1):
        fact = "cannot learn from a teacher: it trains a head alone, or its share is not in (0, 1]"
        fix = "Leave --teacher out, or give the recipe epochs and a distillation_share."
        raise TrainingError(recipe.name, fact, fix)
    if tuple(teacher.atoms) != labels.ATOMS:
        fix = "Take a bundle that `tumorlens train` of this version made."
        raise TrainingError(teacher.name, "tells other classes apart", fix)
    if teacher.provenance.trained_on != fingerprint and not allow_leaks:
        fact = "was trained on another split, so it may have learned what is held out here"
        fix = "Name the split that it was trained on (--split), or pass --allow-leaks."
        raise LeakError(teacher.name, fact, fix)


def check_batch(distinct_images: int, recipe: Recipe) -> None:
    """Raise TrainingError where there are fewer images than pretraining shows in one step."""
    if distinct_images < recipe.batch:
        fact = f"leaves {distinct_images} distinct images, fewer than a batch"
        fix = "Give more scans; their labels do not matter."
        raise TrainingError("the train part of the split", f"{fact} ({recipe.batch})", fix)
