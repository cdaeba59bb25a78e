"""What the scores of trials say: AUC from set to set with intervals, and gains pair by pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tumorlens.study.explore.held_out_performance import AUGMENTATION, TRANSFER
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import Weights, bootstrap, nan_to_none

RESAMPLES = 300
UNSEEN, OTHERS = "unseen groups of the same set", "other sets"


@dataclass(frozen=True)
class Score:
    """What one network says of one scan that it did not learn from."""

    augmented: bool
    trained_on: str  # a set and a modality, as the one tested on
    fold: int
    tested_on: str
    case: str
    group: str
    is_tumor: bool
    score: float  # calibrated tumor probability


def experiments_of(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Give the experiments that the scores make, as `read_experiments` reads them."""
    found: list[dict[str, Any]] = []
    matrix = _matrix([score for score in scores if score.augmented])
    if matrix:
        found.append({"id": TRANSFER, "measure": "AUC", "matrix": matrix})
    for where, own in ((UNSEEN, True), (OTHERS, False)):
        pairs = _pairs([s for s in scores if (s.trained_on == s.tested_on) == own])
        if pairs:
            found.append(
                {"id": AUGMENTATION, "where": where, "measure": "mean AUC", "pairs": pairs}
            )
    return found


def _matrix(scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for (trained, tested), rows in _by(scores, "trained_on", "tested_on"):
        cell = _cell(rows)
        if cell is not None:
            found.setdefault(trained, {})[tested] = cell
    return found


def _cell(rows: Sequence[Score]) -> dict[str, Any] | None:
    """Average the AUC of the networks of all folds; whole groups are drawn for the interval."""
    truth = np.array([row.is_tumor for row in rows])
    scores = np.array([row.score for row in rows])
    folds = np.array([row.fold for row in rows])
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    # A fold with one class alone has no AUC.
    parts = [part for part in parts if 0 < truth[part].sum() < len(part)]
    if not parts:
        return None

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        each = [areas(truth[at], scores[at], weights[:, at])["auc"] for at in parts]
        return {"auc": np.mean(each, axis=0)}

    found = bootstrap(statistics, np.array([row.group for row in rows]), resamples=RESAMPLES)
    return {
        **nan_to_none(found),
        "n": len({row.case for row in rows}),
        "n_groups": len({row.group for row in rows}),
        "networks": len(parts),
    }


def _pairs(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Give, for each fold, the AUC without and with, each a mean over the sets."""
    found = []
    for (fold,), rows in _by(scores, "fold"):
        aucs: dict[bool, list[float]] = {True: [], False: []}
        for (_, _, augmented), own in _by(rows, "trained_on", "tested_on", "augmented"):
            truth = np.array([row.is_tumor for row in own])
            if 0 < truth.sum() < len(own):
                found_scores = np.array([row.score for row in own])
                aucs[augmented].append(float(roc_auc_score(truth, found_scores)))
        if aucs[True] and len(aucs[True]) == len(aucs[False]):
            means = {key: float(np.mean(values)) for key, values in aucs.items()}
            found.append({"seed": fold, "without": means[False], "with": means[True]})
    return found


def _by(scores: Sequence[Score], *names: str) -> Iterable[tuple[tuple[Any, ...], list[Score]]]:
    found: dict[tuple[Any, ...], list[Score]] = {}
    for score in scores:
        found.setdefault(tuple(getattr(score, name) for name in names), []).append(score)
    return sorted(found.items(), key=lambda item: item[0])
