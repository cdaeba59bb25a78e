"""How well features tell tumor from healthy: each alone, and three models of all of them."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tumorlens.json_records import to_json
from tumorlens.progress import Progress, silent
from tumorlens.records import Estimate
from tumorlens.study.data.groups import grouped_folds
from tumorlens.study.explore.record import FeatureAuc, GroupedAuc, Importance, ModelAuc
from tumorlens.study.features.texture import FEATURES
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import RESAMPLES, bootstrap, estimate_of, not_collapsed

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


def grouped_aucs(
    scores: Mapping[str, NDArray[np.float64]],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, GroupedAuc]:
    """Return the AUC of each score, [n], with its interval over groups.

    Scores are meant to be higher in tumors: below 0.5 they point the wrong way. A score that is
    NaN does not count; None stands for the AUC of one class alone.
    """
    found = bootstrap(
        lambda weights: {name: areas(truth, s, weights)["auc"] for name, s in scores.items()},
        groups,
        resamples=resamples,
    )
    n_groups = len(np.unique(groups))
    rarer = min(len(np.unique(groups[truth])), len(np.unique(groups[~truth])))
    found = not_collapsed(found, dict.fromkeys(scores, rarer))
    return {name: GroupedAuc(estimate_of(found, name, len(truth)), n_groups) for name in scores}


def single_features(
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    names: Sequence[str] = FEATURES,
    resamples: int = RESAMPLES,
) -> dict[str, FeatureAuc] | None:
    """Return what each feature alone tells: AUC with interval, and the class it is higher in.

    The AUC is 0.5 or more; the interval may reach below, where resamples turn it round. None
    with one class alone.
    """
    if truth.all() or not truth.any():
        return None
    columns = dict(zip(names, values.T, strict=True))
    found = grouped_aucs(columns, truth, groups, resamples=resamples)
    return {name: _turned(row) for name, row in found.items()}


def _turned(found: GroupedAuc) -> FeatureAuc:
    auc = found.auc
    if auc.value is None or auc.value >= 0.5:
        return FeatureAuc(auc, found.n_groups, "tumor")
    low, high = (None if end is None else 1 - end for end in (auc.high, auc.low))
    return FeatureAuc(Estimate(1 - auc.value, low, high, auc.n), found.n_groups, "healthy")


def compare_models(
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    groups: NDArray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> dict[str, ModelAuc] | None:
    """Return, for each of MODELS, the AUC of its answers for groups that it did not learn from.

    `importance` is the loss of AUC in a held-out fold when one feature is shuffled, mean and
    deviation over folds; of features that say the same (variance and its root, energy and ASM)
    each covers for the other. None with fewer than two groups in either class.
    """
    count = min(FOLDS, *(len(np.unique(groups[truth == side])) for side in (False, True)))
    if count < 2:
        return None
    folds = [
        (train, test)
        for train, test in grouped_folds(truth, groups, count=count, seed=seed)
        if 0 < truth[train].sum() < len(train)  # one class alone teaches nothing
    ]
    scores, losses = {}, {}
    for done, (name, build) in enumerate(MODELS.items(), start=1):
        # Folds run side by side; threads of BLAS inside of them would wait for one another.
        with threadpool_limits(1, user_api="blas"):
            scores[name], losses[name] = _held_out(build, values, truth, folds=folds, seed=seed)
        progress(done, len(MODELS))
    aucs = grouped_aucs(scores, truth, groups, resamples=resamples)
    return {
        name: ModelAuc(
            replace(found.auc, n=int(np.isfinite(scores[name]).sum())),
            found.n_groups,
            folds=len(folds),
            importance=_importance(losses[name]),
        )
        for name, found in aucs.items()
    }


def _held_out(
    build: Callable[[int], Any],
    values: NDArray[np.float64],
    truth: NDArray[np.bool_],
    *,
    folds: Sequence[tuple[NDArray, NDArray]],
    seed: int,
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return held-out scores, [n], and for each fold the loss of AUC by feature, [f]."""
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


def _importance(losses: Sequence[NDArray[np.float64]]) -> dict[str, Importance] | None:
    if not losses:
        return None
    means, deviations = (reduce(losses, axis=0).tolist() for reduce in (np.mean, np.std))
    return {
        feature: Importance(to_json(mean), to_json(deviation))
        for feature, mean, deviation in zip(FEATURES, means, deviations, strict=True)
    }
