"""Two bundles on the same scans: what is better, and what may be chance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import areas, delong, rates
from tumorlens.study.stats.intervals import bootstrap, nan_to_none

COMPARED = ("auc", "sensitivity", "specificity", "accuracy", "f1")


def compare(answers: LabeledPredictions, other: LabeledPredictions) -> dict[str, Any]:
    """Compare the answers of two bundles to the same n cases, in the same order.

    Each is taken at its own threshold. Gives figures by `all`, `ct` and `mri`, as the first
    bundle tells them apart where no modality is recorded.
    """
    return {name: _compare(answers, other, rows) for name, rows in answers.rows().items()}


def _compare(
    a: LabeledPredictions, b: LabeledPredictions, rows: NDArray[np.bool_]
) -> dict[str, Any]:
    truth, groups = a.truth[rows], a.groups[rows]
    scores = [answers.scores[rows] for answers in (a, b)]
    flagged = [s >= answers.threshold for s, answers in zip(scores, (a, b), strict=True)]

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        own, others = (
            areas(truth, s, weights) | rates(truth, f, weights)
            for s, f in zip(scores, flagged, strict=True)
        )
        gaps = {f"{name}_difference": own[name] - others[name] for name in COMPARED}
        return gaps | {f"{name}_against": others[name] for name in COMPARED}

    found = bootstrap(statistics, groups)
    gap = delong(truth, *scores).difference()
    return {
        "n": len(truth),
        "n_groups": len(np.unique(groups)),
        **nan_to_none(found),
        "delong": nan_to_none(dict(zip(("difference", "low", "high", "p"), gap, strict=True))),
        "mcnemar": {
            name: mcnemar(flagged[0][some] == truth[some], flagged[1][some] == truth[some])
            for name, some in (("all", truth | ~truth), ("tumor", truth), ("healthy", ~truth))
            if some.any()
        },
    }


def mcnemar(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """Count the scans that one alone has right, and give the exact two-sided p-value.

    McNemar's test (1947) takes scans as independent; where many are slices of few patients, the
    bootstrap of the difference is the one to believe.

    >>> mcnemar(np.array([1, 1, 1, 0], bool), np.array([0, 0, 1, 1], bool))
    {'n': 4, 'own_only': 2, 'against_only': 1, 'p': 1.0}
    """
    own_only, against_only = int((right & ~other).sum()), int((~right & other).sum())
    split = own_only + against_only
    p = binomtest(own_only, split).pvalue if split else 1.0
    return {
        "n": len(right), "own_only": own_only, "against_only": against_only, "p": float(p),
    }  # fmt: skip
