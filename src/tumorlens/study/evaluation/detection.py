"""How well tumors are told from healthy scans, at the bundle's threshold and at any."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import delong, detection_statistics
from tumorlens.study.stats.intervals import nan_to_none, wilson

PREVALENCES = (0.01, 0.05, 0.25, 0.5)


def detection_figures(answers: LabeledPredictions, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Return AUC, rates at the threshold and predictive values with intervals, of some rows.

    Figures that need both classes are None where one is missing. `_low` and `_high` are of the
    bootstrap over groups, `_delong_` and `_wilson_` of formulas that take cases as independent.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    flagged, groups = scores >= answers.threshold, answers.groups[rows]
    found = nan_to_none(detection_statistics(
        truth, scores, thresholds=answers.threshold, groups=groups, prevalences=PREVALENCES
    ))  # fmt: skip
    counts = {
        "n": int(rows.sum()),
        "n_tumor": int(truth.sum()),
        "n_healthy": int((~truth).sum()),
        "n_groups": len(np.unique(groups)),
        "threshold": answers.threshold,
        "confusion": confusion_matrix(truth, flagged, labels=[False, True]).tolist(),
    }
    return counts | _predictive(found) | _formulas(truth, scores, flagged)


def _predictive(found: dict[str, Any]) -> dict[str, Any]:
    """Turn the columns of predictive values into a row for each prevalence."""
    names = [f"{value}{bound}" for value in ("ppv", "npv") for bound in ("", "_low", "_high")]
    columns = {name: found.pop(name) for name in names}
    rows = [
        {"prevalence": p} | {name: column[i] for name, column in columns.items()}
        for i, p in enumerate(PREVALENCES)
    ]
    return found | {"predictive_values": rows}


def _formulas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> dict[str, float | None]:
    right = truth == flagged
    asked = {"sensitivity": truth, "specificity": ~truth, "accuracy": np.ones(len(truth), bool)}
    bounds = {"auc_delong": delong(truth, scores).interval()} | {
        f"{name}_wilson": wilson(right[rows].sum(), rows.sum()) for name, rows in asked.items()
    }
    return nan_to_none({f"{n}_{side}": v for n, pair in bounds.items()
                  for side, v in zip(("low", "high"), pair, strict=True)})  # fmt: skip
