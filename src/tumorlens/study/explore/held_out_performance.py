"""What networks reach on scans they never saw: a bundle on its test part, and stored experiments.

Experiments stand in a small JSON file, checked on reading:
`{"schema": 1, "experiments": [...]}`, where an experiment has an `id`, a `measure` (what its
figures are, such as "AUC on another set") and one of:

- `pairs`: `[{"seed": 0, "without": 0.93, "with": 0.95}, ...]`, one row per seed, and in
  `where` what they were tested on, if there are several;
- `matrix`: `{TRAINED ON: {TESTED ON: {"auc", "auc_low", "auc_high", "n"}}}`, where copies that
  two sets share were removed from the tested one. Sets are named as `set_name` does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import CasesError, SplitError
from tumorlens.files import read_file
from tumorlens.json_records import JsonObject
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Estimate
from tumorlens.study.data.splits import apply_split, read_split
from tumorlens.study.explore.record import GroupedAuc
from tumorlens.study.explore.separation import grouped_aucs
from tumorlens.study.explore.tabular import UNKNOWN, modality_name

EXPERIMENTS_SCHEMA = 1
AUGMENTATION, TRANSFER = "augmentation", "transfer"
FIX = 'Write {"schema": 1, "experiments": [{"id", "measure", "pairs" or "matrix"}]}.'


@dataclass(frozen=True)
class HeldOutPerformance:
    """How well a bundle tells tumor from healthy on scans it never saw, or why none can say."""

    figures: Mapping[str, GroupedAuc] = field(default_factory=dict)  # by modality
    bundle: str = ""
    reason: str = ""  # why there are no figures


def measure_held_out(
    cases: Sequence[Case],
    split_file: Path | None,
    predictor: Predictor,
    *,
    progress: Progress = silent,
) -> HeldOutPerformance:
    """Predict the test part, where the split does not leak and the bundle trained with it.

    The split must bear the fingerprint that the bundle recorded; anything else may have shown
    these scans, or copies of them, to the network.
    """
    version = predictor.bundle.version
    try:
        chosen, reason = _test_part(cases, split_file, predictor.bundle)
    except SplitError as error:
        chosen, reason = [], f"{error.subject}: {error.fact}"
    if reason:
        return HeldOutPerformance(bundle=version, reason=reason)
    answers = predictor.predict([case.path for case in chosen], progress=progress)
    read = [i for i, answer in enumerate(answers) if not answer.error]
    if not read:
        reason = f"the test part holds none of these scans{' that can be read' if chosen else ''}"
        return HeldOutPerformance(bundle=version, reason=reason)
    scores = np.array([answers[i].tumor_probability for i in read], float)
    return HeldOutPerformance(_by_modality([chosen[i] for i in read], scores), version)


def _test_part(
    cases: Sequence[Case], split_file: Path | None, bundle: Bundle
) -> tuple[list[Case], str]:
    if split_file is None:
        return [], "no split was given"
    split = read_split(split_file)
    trained = bundle.provenance.data.split
    if split.fingerprint != trained:
        return [], (
            f"the bundle was trained with the split {trained or 'unknown'}, not with "
            f"{split.fingerprint}: it may have seen these scans"
        )
    return [case for case in apply_split(cases, split) if case.split == "test"], ""


def _by_modality(cases: Sequence[Case], scores: NDArray[np.float64]) -> dict[str, GroupedAuc]:
    names = np.array([modality_name(case.label) for case in cases])
    truth = np.array([labels.is_tumor(case.label) for case in cases])
    groups = np.array([case.group_name for case in cases])
    return {
        name: grouped_aucs({"auc": scores[rows]}, truth[rows], groups[rows])["auc"]
        for name in (*labels.MODALITIES, UNKNOWN)
        if (rows := names == name).any()
    }


@dataclass(frozen=True)
class Pair:
    """The same training twice, with one thing changed."""

    seed: int
    without: float
    with_it: float


@dataclass(frozen=True)
class Cell:
    """One network on one set."""

    auc: Estimate
    n_groups: int | None = None


@dataclass(frozen=True)
class Experiment:
    """What was measured, pair by pair or set by set."""

    id: str
    measure: str
    pairs: tuple[Pair, ...] = ()
    matrix: Mapping[str, Mapping[str, Cell]] | None = None
    where: str = "all"


def set_name(dataset: str, label: str) -> str:
    """Name the scans of one modality in a data set: "bohaju MRI"."""
    modality = labels.modality_of(label)
    return f"{dataset} {modality.upper()}" if modality else dataset


def read_experiments(path: Path) -> tuple[Experiment, ...]:
    """Read a file of results.

    Raises CasesError where it is missing, of another schema, or holds what is no figure from 0
    to 1.
    """
    try:
        stored = json.loads(read_file(path))
        if stored["schema"] != EXPERIMENTS_SCHEMA:
            raise ValueError(f"schema {stored['schema']}, not {EXPERIMENTS_SCHEMA}")
        found = [_experiment(row) for row in stored["experiments"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        fact = f"cannot be read as results of experiments ({type(e).__name__}: {e})"
        raise CasesError(path, fact, FIX) from e
    return tuple(found)


def _experiment(row: JsonObject) -> Experiment:
    pairs = tuple(
        Pair(int(p["seed"]), _share(p["without"]), _share(p["with"])) for p in row.get("pairs", ())
    )
    if len({pair.seed for pair in pairs}) < len(pairs):
        raise ValueError(f"experiment {row['id']} has a seed twice")
    matrix = row.get("matrix")
    cells = None if matrix is None else {
        trained: {tested: _cell(cell) for tested, cell in columns.items()}
        for trained, columns in matrix.items()
    }  # fmt: skip
    where = str(row.get("where", "all"))
    return Experiment(str(row["id"]), str(row["measure"]), pairs, cells, where)


def _cell(cell: JsonObject) -> Cell:
    value, low, high = (_share(cell[name]) for name in ("auc", "auc_low", "auc_high"))
    if not low <= value <= high:
        raise ValueError(f"the AUC {value} lies outside its interval {low} to {high}")
    groups = cell.get("n_groups")
    auc = Estimate(value, low, high, int(cell["n"]))
    return Cell(auc, None if groups is None else int(groups))


def _share(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise ValueError(f"{value} is no figure from 0 to 1")
    return number
