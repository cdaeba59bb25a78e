"""How well tumors are told from healthy scans, at the bundle's threshold and at any."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tumorlens.study.evaluation.labeled_predictions import Answers, plain
from tumorlens.study.stats.delong import delong
from tumorlens.study.stats.intervals import wilson
from tumorlens.study.stats.rates import PREVALENCES, rates_with_intervals


def detection_figures(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Give AUC, rates at the threshold and predictive values with intervals, of some rows.

    Figures that need both classes are None where one is missing. `_low` and `_high` are of the
    bootstrap over groups, `_delong_` and `_wilson_` of formulas that take cases as independent.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    flagged, groups = scores >= answers.threshold, answers.groups[rows]

    found = plain(rates_with_intervals(truth, scores, threshold=answers.threshold, groups=groups))
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
    return plain({f"{n}_{side}": v for n, pair in bounds.items()
                  for side, v in zip(("low", "high"), pair, strict=True)})  # fmt: skip
