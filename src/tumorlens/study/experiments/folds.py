"""Cross-validation: every case is predicted by a network that saw nothing of its group."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from tumorlens.errors import SplitError
from tumorlens.files import read_table, write_table
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.table import COLUMNS, table_row
from tumorlens.progress import Progress, TrainingCallback
from tumorlens.records import Case, Prediction
from tumorlens.settings import load_settings
from tumorlens.study.data import splits
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.fold_figures import cross_figures
from tumorlens.study.experiments.head_folds import LookedAt, build_frozen, look, predict_held_out
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.run import Job, train
from tumorlens.study.training.run_folder import open_or_resume, write_json
from tumorlens.study.training.transfer.initialize import run_digest

INNER_PIECES = 6  # one of them is the validation part of a fold, about 17 % of its rest
PLAN_FILE, TABLE_FILE, FIGURES_FILE = "folds.json", "predictions.csv", "cross_validation.json"
FOLD_COLUMNS = ("repeat", "fold", "case", "label", "group", *COLUMNS)
Row = dict[str, str]
HeldOut = Callable[[Split, int, Path], Sequence[tuple[Case, Prediction]]]


@dataclass(frozen=True)
class CrossJob:
    """A cross-validation: what, how often, and where to."""

    recipe: Recipe
    folds: int
    repeats: int
    out: Path
    cache: Path  # of prepared images
    weights: str = ""  # as in a Job
    start: Path | None = None  # as in a Job

    def folder(self, repeat: int, fold: int) -> Path:
        """Name the folder of one fold; both count from 1, and repeats go on counting."""
        return self.out / f"fold-{(repeat - 1) * self.folds + fold}"


def fold_parts(
    cases: Sequence[Case], groups: NDArray[np.int64], *, folds: int, seed: int
) -> list[list[str]]:
    """Give each fold's part of each case, by whole groups, stratified by data set and label.

    In fold k the k-th piece is `test`; of the rest, one piece is `val` and the others `train`.
    Raises SplitError where a label has fewer groups than there are folds, or than two.
    """
    strata = np.array([f"{case.dataset}/{case.label}" for case in cases])
    _check(strata, groups, folds=folds)
    outer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [
        _with_validation(held, strata, groups, seed=seed).tolist()
        for _, held in outer.split(strata, strata, groups)
    ]


def _check(strata: NDArray[np.str_], groups: NDArray[np.int64], *, folds: int) -> None:
    if folds < 2:
        raise SplitError("folds", f"{folds} is fewer than two", "Give --folds at least 2.")
    for stratum in np.unique(strata):
        count = len(np.unique(groups[strata == stratum]))
        if count < max(3, folds):
            fact = f"has {count} independent groups, too few for {folds} folds"
            fix = "Take fewer folds, add scans of other patients, or leave this class out."
            raise SplitError(stratum, fact, fix)


def _with_validation(
    held: NDArray[np.int64], strata: NDArray[np.str_], groups: NDArray[np.int64], *, seed: int
) -> NDArray[np.object_]:
    parts = np.full(len(strata), "train", object)
    parts[held] = "test"
    rest = np.flatnonzero(parts == "train")
    largest = int(np.unique(strata[rest], return_counts=True)[1].max())
    pieces = min(INNER_PIECES, len(np.unique(groups[rest])), largest)
    inner = StratifiedGroupKFold(pieces, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label with fewer cases than pieces is no news: it is seen to below.
        warnings.simplefilter("ignore", UserWarning)
        _, inside = next(inner.split(rest, strata[rest], groups[rest]))
    parts[rest[inside]] = "val"
    for stratum in np.unique(strata):
        own = strata == stratum
        learned, counts = np.unique(groups[own & (parts == "train")], return_counts=True)
        if not (own & (parts == "val")).any() and len(learned) > 1:
            parts[groups == learned[counts.argmin()]] = "val"
    return parts


def cross_validate(
    cases: Sequence[Case],
    groups: splits.Groups,
    job: CrossJob,
    *,
    callback: TrainingCallback,
    resume: bool = False,
    begun: Callable[[int, int], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    extracting: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train every fold of every repeat and judge each case where it was held out.

    Writes fold-1 ..., predictions.csv and cross_validation.json into `job.out` and gives what
    stands in the latter. A fold that was finished is not trained again; `begun` hears which
    one of how many begins. More repeats may be asked for later. Raises TrainingError where the
    folder holds other runs, or holds these and `resume` is False.
    """
    # Each repeat draws other folds, and starts from other weights.
    drawn = [
        fold_parts(cases, groups.groups, folds=job.folds, seed=repeat)
        for repeat in range(job.repeats)
    ]
    open_or_resume(job.out / PLAN_FILE, _plan(job, groups), resume=resume)
    planned = [(repeat, fold) for repeat in range(1, job.repeats + 1)
               for fold in range(1, job.folds + 1)]  # fmt: skip
    named = splits.with_groups(cases, groups)
    predict = _by_heads if job.recipe.head_epochs and not job.recipe.epochs else _by_networks
    held_out = predict(named, job, callback=callback, progress=progress, extracting=extracting)
    rows: list[Row] = []
    for number, (repeat, fold) in enumerate(planned, start=1):
        folder = job.folder(repeat, fold)
        if not (folder / TABLE_FILE).exists():
            if begun:
                begun(number, len(planned))
            parts = drawn[repeat - 1][fold - 1]
            split = splits.write_split(folder / "split.csv", cases, parts, groups=groups)
            held = held_out(split, repeat, folder)
            write_table(
                folder / TABLE_FILE,
                FOLD_COLUMNS,
                [_row(c, p, repeat=repeat, fold=fold) for c, p in held],
            )
        rows += read_table(folder / TABLE_FILE)
    write_table(job.out / TABLE_FILE, FOLD_COLUMNS, rows)
    figures = {**_plan(job, groups), "repeats": job.repeats, **cross_figures(rows)}
    write_json(job.out / FIGURES_FILE, figures)
    return figures


def _plan(job: CrossJob, groups: splits.Groups) -> dict[str, Any]:
    return {
        "recipe": job.recipe.to_json(),
        "folds": job.folds,
        "cases": len(groups.groups),
        "groups": len(np.unique(groups.groups)),
        "audit": groups.audit,
        **({"start": run_digest(job.start)} if job.start else {}),
    }


def _by_networks(
    cases: Sequence[Case],
    job: CrossJob,
    *,
    callback: TrainingCallback,
    progress: Progress | None,
    extracting: Progress | None,
) -> HeldOut:
    """Give what trains a network of its own for a fold, with a bundle, and asks that."""

    def held_out(split: Split, repeat: int, folder: Path) -> list[tuple[Case, Prediction]]:
        parted = splits.apply_split(cases, split, allow_leaks=True)  # whole groups: it has none
        one = Job(
            recipe=_of_repeat(job.recipe, repeat), split=split, out=folder, cache=job.cache,
            name=folder.name, weights=job.weights, start=job.start,
        )  # fmt: skip
        keras.backend.clear_session()
        train(parted, one, callback=callback, progress=progress, extracting=extracting, resume=True)
        held = [case for case in parted if case.split == "test"]
        predictor = Predictor(load_bundle(folder), load_settings())
        return list(zip(held, predictor.predict([c.path for c in held]), strict=True))

    return held_out


def _by_heads(
    cases: Sequence[Case],
    job: CrossJob,
    *,
    callback: TrainingCallback,
    progress: Progress | None,
    extracting: Progress | None,
) -> HeldOut:
    """Give what trains a head for a fold, on features that are computed once for all folds."""
    seen: list[LookedAt] = []  # not before a fold asks: all may be done already

    def held_out(split: Split, repeat: int, folder: Path) -> list[tuple[Case, Prediction]]:
        if not seen:
            model = build_frozen(job.recipe, weights=job.weights, start=job.start)
            seen.append(
                look(cases, model, job.recipe, pictures=split.image_ids, cache=job.cache,
                     out=job.out, progress=progress, extracting=extracting)
            )  # fmt: skip
        return predict_held_out(seen[0], split.parts, _of_repeat(job.recipe, repeat))

    return held_out


def _of_repeat(recipe: Recipe, repeat: int) -> Recipe:
    return replace(recipe, seed=recipe.seed + repeat - 1)


def _row(case: Case, prediction: Prediction, *, repeat: int, fold: int) -> Row:
    # With more digits than a person reads: figures are computed from this table.
    exact = {
        name: "" if value is None else f"{value:.9g}"
        for name, value in (("tumor_probability", prediction.tumor_probability),
                            ("threshold", prediction.threshold))
    }  # fmt: skip
    place = {"repeat": str(repeat), "fold": str(fold), "case": case.key, "label": case.label}
    return {**place, "group": str(case.group), **table_row(prediction), **exact}


def groups_of(split: Split, cases: Sequence[Case]) -> splits.Groups:
    """Give the groups that a split file knows of, for the cases it names."""
    keys = [case.key for case in cases]
    numbers = [
        np.unique([column[key] for key in keys], return_inverse=True)[1].astype(np.int64)
        for column in (split.groups, split.image_ids)
    ]
    return splits.Groups(numbers[0], numbers[1], split.audit)
