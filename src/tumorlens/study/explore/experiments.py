"""Results of training runs that hypotheses are judged by: a small JSON file, checked on reading.

`{"schema": 1, "experiments": [...]}`, where an experiment has an `id`, a `measure` (what its
figures are, such as "AUC on another set") and one of:

- `pairs`: `[{"seed": 0, "without": 0.93, "with": 0.95}, ...]`, one row per seed, and in
  `where` what they were tested on, if there are several;
- `matrix`: `{TRAINED ON: {TESTED ON: {"auc", "auc_low", "auc_high", "n"}}}`, where copies that
  two sets share were removed from the tested one. Sets are named as `set_name` does.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorlens import labels
from tumorlens.errors import CasesError

SCHEMA = 1
AUGMENTATION, TRANSFER = "augmentation", "transfer"
FIX = 'Write {"schema": 1, "experiments": [{"id", "measure", "pairs" or "matrix"}]}.'


@dataclass(frozen=True)
class Pair:
    """The same training twice, with one thing changed."""

    seed: int
    without: float
    with_it: float


@dataclass(frozen=True)
class Cell:
    """One network on one set."""

    auc: float
    auc_low: float
    auc_high: float
    n: int
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
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["schema"] != SCHEMA:
            raise ValueError(f"schema {stored['schema']}, not {SCHEMA}")
        found = [_experiment(row) for row in stored["experiments"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        fact = f"cannot be read as results of experiments ({type(e).__name__}: {e})"
        raise CasesError(path, fact, FIX) from e
    return tuple(found)


def _experiment(row: Mapping[str, Any]) -> Experiment:
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


def _cell(cell: Mapping[str, Any]) -> Cell:
    auc, low, high = (_share(cell[name]) for name in ("auc", "auc_low", "auc_high"))
    if not low <= auc <= high:
        raise ValueError(f"the AUC {auc} lies outside its interval {low} to {high}")
    groups = cell.get("n_groups")
    return Cell(auc, low, high, int(cell["n"]), None if groups is None else int(groups))


def _share(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise ValueError(f"{value} is no figure from 0 to 1")
    return number
