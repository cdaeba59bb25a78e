"""How well features tell tumor from healthy: each alone, and three models of all of them."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tumorlens.study.features.picture import FEATURES
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import RESAMPLES, Weights, bootstrap, nan_to_none

FOLDS = 5
SHUFFLES = 2  # of each feature in each held-out fold
MODELS: Mapping[str, Callable[[int], Any]] = {
    "logistic_regression": lambda seed: make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(max_iter=2000, random_state=seed),
    ),
    "random_forest": lambda seed: make_pipeline(
        SimpleImputer(strategy="median"),
        RandomForestClassifier(100, min_samples_leaf=2, random_state=seed),
    ),
    "gradient_boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
}


def single_features(
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    names: Sequence[str] = FEATURES,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Any]] | None:
    """Give what each feature alone tells: AUC with interval, and the class it is higher in.

    `auc` is 0.5 or more; the interval may reach below, where resamples turn it round. None
    with one class alone.
    """
    if truth.all() or not truth.any():
        return None
    raw = _aucs(dict(zip(names, values.T, strict=True)), truth, groups, resamples)
    found = {}
    for name in names:
        auc, low, high = (raw[name + end] for end in ("", "_low", "_high"))
        healthy = auc < 0.5
        if healthy:
            auc, low, high = 1 - auc, 1 - high, 1 - low
        found[name] = {
            "auc": nan_to_none(auc),
            "auc_low": nan_to_none(low),
            "auc_high": nan_to_none(high),
            "higher_in": "healthy" if healthy else "tumor",
            "n": len(truth),
            "n_groups": len(np.unique(groups)),
        }
    return found


def score_auc(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Give the AUC of scores, [n], that are meant to be higher in tumors, with its interval.

    Below 0.5 they point the wrong way; None with one class alone.
    """
    found = _aucs({"auc": scores}, truth, groups, resamples)
    counts = {"n": len(truth), "n_groups": len(np.unique(groups))}
    return counts | {f"auc{end}": nan_to_none(found[f"auc{end}"]) for end in ("", "_low", "_high")}


def _aucs(
    scores: Mapping[str, NDArray], truth: NDArray, groups: NDArray, resamples: int
) -> dict[str, float]:
    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return {name: areas(truth, own, weights)["auc"] for name, own in scores.items()}

    found = bootstrap(statistics, groups, resamples=resamples)
    return {name: float(value) for name, value in found.items()}


def compare_models(
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]] | None:
    """Give, for each of MODELS, the AUC of its answers for groups that it did not learn from.

    `importance` is the loss of AUC in a held-out fold when one feature is shuffled, mean and
    deviation over folds; of features that say the same (variance and its root, energy and ASM)
    each covers for the other. None with fewer than two groups in either class.
    """
    count = min(FOLDS, *(len(np.unique(groups[truth == side])) for side in (False, True)))
    if count < 2:
        return None
    folds = list(_folds(truth, groups, count=count, seed=seed))
    scores, losses = {}, {}
    for done, (name, build) in enumerate(MODELS.items(), start=1):
        # Folds run side by side; threads of BLAS inside of them would wait for one another.
        with threadpool_limits(1, user_api="blas"):
            scores[name], losses[name] = _held_out(build, values, truth, folds=folds, seed=seed)
        if progress:
            progress(done, len(MODELS))
    aucs = _aucs(scores, truth, groups, resamples)
    return {
        name: {
            **{f"auc{end}": nan_to_none(aucs[name + end]) for end in ("", "_low", "_high")},
            "n": int(np.isfinite(scores[name]).sum()),
            "n_groups": len(np.unique(groups)),
            "folds": len(folds),
            "importance": _importance(losses[name]),
        }
        for name in MODELS
    }


def _folds(
    truth: NDArray, groups: NDArray, *, count: int, seed: int
) -> Iterator[tuple[NDArray, NDArray]]:
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer cases than folds
        for train, test in folds.split(np.zeros(len(truth)), truth, groups):
            if 0 < truth[train].sum() < len(train):  # one class alone teaches nothing
                yield train, test


def _held_out(
    build: Callable[[int], Any],
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    *,
    folds: Sequence[tuple[NDArray, NDArray]],
    seed: int,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Give held-out scores, [n], and for each fold the loss of AUC by feature, [f]."""
    scores, losses = np.full(len(truth), np.nan), []
    with ThreadPoolExecutor(os.cpu_count(), initializer=_alone) as pool:
        answers = pool.map(lambda fold: _one_fold(build(seed), values, truth, fold, seed), folds)
        for (_, test), (found, loss) in zip(folds, answers, strict=True):
            scores[test] = found
            losses += [] if loss is None else [loss]
    return scores, losses


def _alone() -> None:
    """Keep OpenMP to this thread; its limit is of each thread that calls it."""
    threadpool_limits(1, user_api="openmp")


def _one_fold(
    model: Any,
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    fold: tuple[NDArray, NDArray],
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    train, test = fold
    empty = ~np.isfinite(values[train]).any(0)  # a feature that training never saw
    known = np.where(empty, 0.0, values)
    model.fit(known[train], truth[train])
    scores = model.predict_proba(known[test])[:, 1]
    if not 0 < truth[test].sum() < len(test):
        return scores, None
    shuffled = permutation_importance(
        model, known[test], truth[test],
        scoring="roc_auc", n_repeats=SHUFFLES, random_state=seed,
    )  # fmt: skip
    return scores, shuffled["importances_mean"]


def _importance(losses: Sequence[NDArray[np.float64]]) -> dict[str, dict[str, Any]] | None:
    if not losses:
        return None
    mean, deviation = np.mean(losses, axis=0), np.std(losses, axis=0)
    return {
        feature: {"mean": nan_to_none(mean[i]), "sd": nan_to_none(deviation[i])}
        for i, feature in enumerate(FEATURES)
    }
