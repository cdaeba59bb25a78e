"""One network trained and asked, and its answers as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from studies.baselines.bench import Bench

from tumorlens import labels
from tumorlens.files import write_table
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import TrainingCallback
from tumorlens.records import Case, Prediction
from tumorlens.settings import load_settings
from tumorlens.study.data import splits
from tumorlens.study.data.splits import Groups, Split
from tumorlens.study.recipes import IMAGENET, Recipe
from tumorlens.study.training.run import Job, train

ANSWER = ("repeat", "fold", "case", "label", "group", "tumor_probability", "threshold")
COLUMNS: tuple[str, ...] = (*ANSWER, *labels.ATOMS)


def train_into(
    cases: Sequence[Case],
    split: Split,
    recipe: Recipe,
    out: Path,
    bench: Bench,
    *,
    callback: TrainingCallback,
    start: Path | None = None,
    steps: int = 0,
) -> None:
    """Train into a folder, or go on there; a split that leaks is taken as it is."""
    keras.backend.clear_session()
    job = Job(
        recipe, split, out, bench.cache, out.name, weights=backbone(recipe, bench),
        start=start, steps=steps,
    )  # fmt: skip
    parted = splits.apply_split(cases, split, allow_leaks=True)  # faults are left in on purpose
    train(parted, job, callback=callback, resume=True)


def ask(
    bundle: Bundle, cases: Sequence[Case], groups: Groups, tested: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Ask a bundle for the cases at some positions; a row for each that could be read."""
    held = [cases[i] for i in tested.tolist()]
    found = Predictor(bundle, load_settings()).predict([case.path for case in held])
    return [
        _row(case, p, group=f"g{groups.groups[i]:05d}")
        for case, p, i in zip(held, found, tested.tolist(), strict=True)
        if not p.error
    ]


def backbone(recipe: Recipe, bench: Bench) -> str:
    """Give the file of the weights that a recipe starts from, where it asks for any."""
    return bench.weights if recipe.weights == IMAGENET else ""


def write_answers(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Write rows as the table that `read_answers` reads."""
    write_table(out, COLUMNS, rows)


def _row(case: Case, prediction: Prediction, *, group: str) -> dict[str, Any]:
    return {
        "repeat": "1", "fold": "1", "case": case.key, "label": case.label, "group": group,
        "tumor_probability": f"{prediction.tumor_probability:.9g}",
        "threshold": f"{prediction.threshold:.9g}",
        **{atom: f"{value:.6g}" for atom, value in prediction.atoms.items()},
    }  # fmt: skip
