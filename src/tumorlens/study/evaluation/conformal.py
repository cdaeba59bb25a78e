"""Sets of answers that hold the truth at a chosen rate in every class, and whether they do.

Split conformal prediction with one quantile for each class (Vovk, Lindsay, Nouretdinov and
Gammerman, 2003; Sadinle, Lei and Wasserman, 2019): a class stands in a scan's set where its
probability is no lower than all but a share `error` of validation scans of that class had. The
promise needs validation and test scans that could be swapped; another scanner breaks it, and
the measured coverage shows that.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import share
from tumorlens.study.stats.intervals import bootstrap, nan_to_none, not_collapsed, wilson

ERRORS = (0.05, 0.1)
FINDINGS = ("healthy", "tumor")


def class_limits(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], *, error: float
) -> NDArray[np.float64]:
    """Give the lowest probability with which each class still belongs to a set, [k].

    `probabilities` [n, k] and `truth` [n] are of validation. A class with too few scans for the
    promise, fewer than 1/error - 1, gets 0: it stands in every set.
    """
    limits = np.zeros(probabilities.shape[1])
    for k in range(len(limits)):
        own = np.sort(probabilities[truth == k, k])
        outside = int(np.floor(error * (len(own) + 1) + 1e-9))  # scans that may fall below
        limits[k] = own[outside - 1] if outside >= 1 else 0.0
    return limits


def conformal_figures(
    answers: LabeledPredictions, validation: LabeledPredictions | None
) -> dict[str, Any] | None:
    """Give measured coverage and size of the sets for detection and type; None without validation.

    Each row holds its n, the coverage with intervals, and how many sets name one class, several
    or none.
    """
    if validation is None:
        return None
    tasks = {"detection": (FINDINGS, _detection(validation), _detection(answers)),
             "type": (labels.TYPES, _types(validation), _types(answers))}  # fmt: skip
    return {
        task: [
            _measure(names, fitted, asked, error=error) | {"n_validation": len(fitted[1])}
            for error in ERRORS
        ]
        for task, (names, fitted, asked) in tasks.items()
        if len(fitted[1]) and len(asked[1])
    }


_Task = tuple[NDArray[np.float64], NDArray[np.int64], NDArray]  # probabilities, truth, groups


def _detection(answers: LabeledPredictions) -> _Task:
    scores = answers.scores
    return np.column_stack([1 - scores, scores]), answers.truth.astype(np.int64), answers.groups


def _types(answers: LabeledPredictions) -> _Task:
    rows = answers.types >= 0
    given = np.asarray(labels.type_probabilities(answers.probabilities[rows]), np.float64)
    return given, answers.types[rows], answers.groups[rows]


def _measure(
    names: tuple[str, ...], fitted: _Task, asked: _Task, *, error: float
) -> dict[str, Any]:
    limits = class_limits(fitted[0], fitted[1], error=error)
    probabilities, truth, groups = asked
    sets = probabilities >= limits
    inside, sizes = sets[np.arange(len(truth)), truth], sets.sum(1)
    found = bootstrap(lambda w: {"size": share(w @ sizes, w.sum(1))}, groups)
    return {
        "error": error,
        "promised": 1 - error,
        "n": len(truth),
        "limits": dict(zip(names, limits.tolist(), strict=True)),
        **nan_to_none(found),
        "empty": int((sizes == 0).sum()),
        "single": int((sizes == 1).sum()),
        "several": int((sizes > 1).sum()),
        "classes": {
            name: _coverage(inside[truth == k], groups[truth == k])
            for k, name in enumerate(names)
            if (truth == k).any()
        },
    }


def _coverage(inside: NDArray[np.bool_], groups: NDArray) -> dict[str, Any]:
    found = bootstrap(lambda w: {"coverage": share(w @ inside, w.sum(1))}, groups)
    found = not_collapsed(found, {"coverage": len(np.unique(groups))})
    low, high = wilson(inside.sum(), len(inside))
    wide = {"coverage_wilson_low": low, "coverage_wilson_high": high}
    return {"n": len(inside), **nan_to_none(found), **nan_to_none(wide)}
