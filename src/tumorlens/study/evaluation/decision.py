"""What acting on the answers would be worth: net benefit, error against coverage, abstention."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tumorlens.study.evaluation.curves import spread
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import share
from tumorlens.study.stats.intervals import bootstrap, nan_to_none, not_collapsed, wilson

ODDS = np.arange(1, 100) / 100  # probabilities at which somebody would act
_NEVER = 1e-12
ANSWERED = ("tumor", "no tumor")


def decision_figures(answers: LabeledPredictions) -> dict[str, Any]:
    """Give net benefit, risk against coverage, and how often the predictor abstained."""
    return {
        "net_benefit": net_benefit(answers),
        "risk_coverage": risk_coverage(answers),
        "abstention": abstention_figures(answers),
    }


def net_benefit(answers: LabeledPredictions) -> dict[str, Any] | None:
    """Give the net benefit by threshold probability (Vickers and Elkin, 2006), with intervals.

    Of a scan, in true positives: TP/n - FP/n t/(1 - t), where t says how many needless alarms
    one found tumor is worth. `all` flags every scan, none has 0; `better_than_both` lists the
    thresholds at which the gain over each is above 0 with its whole interval. It holds for the
    share of tumors among these scans, `prevalence`. None with one class.
    """
    truth, scores = answers.truth, answers.scores
    if truth.all() or not truth.any():
        return None
    flagged = scores[:, None] >= ODDS
    price = ODDS / (1 - ODDS)
    worth = np.where(truth[:, None], flagged * 1.0, flagged * -price)
    worth_of_all = np.where(truth[:, None], 1.0, -price)

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1, keepdims=True)
        return {"model": weights @ worth / total, "gain": weights @ (worth - worth_of_all) / total}

    found = bootstrap(statistics, answers.groups)
    useful = (np.nan_to_num(found["gain_low"]) > 0) & (np.nan_to_num(found["model_low"]) > 0)
    return {
        "n": len(truth),
        "prevalence": float(truth.mean()),
        "threshold": ODDS.tolist(),
        **nan_to_none({name: found[name] for name in ("model", "model_low", "model_high")}),
        "all": worth_of_all.mean(0).tolist(),
        "better_than_both": ODDS[useful].tolist(),
    }


def risk_coverage(answers: LabeledPredictions) -> dict[str, Any]:
    """Give the error among the scans answered, from the surest alone to all of them.

    Sure is far from the threshold in log odds. `aurc` is the mean error over all coverages
    (Geifman and El-Yaniv, 2017); `best` is what the same errors would give, were they the least
    sure of all.
    """
    scores = np.clip(answers.scores, _NEVER, 1 - _NEVER)
    distance = np.abs(logit(scores) - logit(np.clip(answers.threshold, _NEVER, 1 - _NEVER)))
    wrong = (answers.scores >= answers.threshold) != answers.truth
    order = np.argsort(-distance, kind="stable")
    counts = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong[order]) / counts
    best = np.cumsum(np.sort(wrong)) / counts
    kept = spread(len(wrong))
    return {
        "n": len(wrong),
        "errors": int(wrong.sum()),
        "coverage": (counts[kept] / len(wrong)).round(6).tolist(),
        "risk": risk[kept].round(6).tolist(),
        "aurc": float(risk.mean()),
        "best": float(best.mean()),
    }


def abstention_figures(answers: LabeledPredictions) -> dict[str, Any]:
    """Count the answers of tumors and of healthy scans, and the errors among those given."""
    decisions = np.array(answers.decisions, np.str_)
    given = np.isin(decisions, ANSWERED)
    wrong = (decisions == "tumor") != answers.truth

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        answered = weights @ given
        return {
            "abstained": share(weights @ ~given, weights.sum(1)),
            "error": share(weights @ (given & wrong), answered),
        }

    independent = {"abstained": len(np.unique(answers.groups)),
                   "error": len(np.unique(answers.groups[given]))}  # fmt: skip
    low, high = wilson((~given).sum(), len(given))
    return {
        "n": len(given),
        "answered": int(given.sum()),
        **nan_to_none(not_collapsed(bootstrap(statistics, answers.groups), independent)),
        **nan_to_none({"abstained_wilson_low": low, "abstained_wilson_high": high}),
        "by_truth": {
            name: dict(Counter(decisions[rows].tolist()))
            for name, rows in (("tumor", answers.truth), ("healthy", ~answers.truth))
        },
    }
