"""Whether probabilities hold, and what acting on them is worth."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tumorlens.json_records import as_record
from tumorlens.models.performance import ReliabilityBin
from tumorlens.reports.evaluation import (
    Abstention,
    Calibration,
    Decisions,
    NetBenefit,
    Reliability,
    RiskCoverage,
)
from tumorlens.study.evaluation.detection import spread
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, Rows
from tumorlens.study.stats.calibration import (
    equal_mass_bins,
    fit_line,
    log_odds,
    reliability_bins,
)
from tumorlens.study.stats.intervals import (
    Weights,
    bootstrap,
    bootstrap_shares,
    share_with_wilson,
)

CALIBRATION_BINS = 15
ODDS = np.arange(1, 100) / 100  # probabilities at which somebody would act
ANSWERED = ("tumor", "no tumor")


def calibration_figures(labeled: LabeledPredictions) -> Calibration:
    """Return the calibration of the tumor probability, and what it was before the temperature.

    `calibrated` is False, and `before` None, where the bundle has no temperature of its own.
    """
    truth, groups = labeled.truth, labeled.groups
    has_own = labeled.temperature != 1.0
    after = reliability(labeled.scores, truth, groups)
    return Calibration(
        **vars(after),
        calibrated=has_own,
        temperature=labeled.temperature,
        before=reliability(labeled.uncalibrated, truth, groups) if has_own else None,
    )


def reliability(scores: NDArray[np.float64], truth: Rows, groups: NDArray) -> Reliability:
    """Return the expected calibration error (equal-mass bins), Brier score, slope and intercept.

    Slope and intercept are of the logistic regression of the truth on the log odds (Cox, 1958):
    1 and 0 are right, a slope below 1 is overconfident. `offset` is the intercept with the slope
    held at 1: above 0, tumors are commoner than the probabilities say.
    """
    bins = equal_mass_bins(scores, CALIBRATION_BINS)
    losses = (scores - truth) ** 2

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1)
        gap = sum(np.abs(weights[:, b] @ (scores[b] - truth[b])) for b in bins)
        return {"ece": gap / total, "brier": weights @ losses / total}

    table = reliability_bins(scores, truth, count=CALIBRATION_BINS)
    return as_record(Reliability, {
        **bootstrap(statistics, groups), **fit_line(scores, truth),
        "n": len(scores), "bins": [_bin(row) for row in table],
    })  # fmt: skip


def _bin(row: ReliabilityBin) -> dict[str, float]:
    return {
        "n": row.n,
        "predicted": row.predicted,
        "observed": row.tumors / row.n,
        "observed_low": row.low,
        "observed_high": row.high,
    }


def decision_figures(labeled: LabeledPredictions) -> Decisions:
    """Return net benefit, risk against coverage, and how often the predictor abstained."""
    return Decisions(
        net_benefit=net_benefit(labeled),
        risk_coverage=risk_coverage(labeled),
        abstention=abstention_figures(labeled),
    )


def net_benefit(labeled: LabeledPredictions) -> NetBenefit | None:
    """Return the net benefit by threshold probability (Vickers and Elkin, 2006), with intervals.

    Of a scan, in true positives: TP/n - FP/n t/(1 - t), where t says how many needless alarms
    one found tumor is worth. `all` flags every scan, none has 0; `better_than_both` lists the
    thresholds at which the gain over each is above 0 with its whole interval. It holds for the
    share of tumors among these scans, `prevalence`. None with one class.
    """
    truth, scores = labeled.truth, labeled.scores
    if truth.all() or not truth.any():
        return None
    flagged = scores[:, None] >= ODDS
    price = ODDS / (1 - ODDS)
    worth = np.where(truth[:, None], flagged * 1.0, flagged * -price)
    worth_of_all = np.where(truth[:, None], 1.0, -price)

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1, keepdims=True)
        return {"model": weights @ worth / total, "gain": weights @ (worth - worth_of_all) / total}

    found = bootstrap(statistics, labeled.groups)
    useful = (np.nan_to_num(found["gain_low"]) > 0) & (np.nan_to_num(found["model_low"]) > 0)
    return as_record(NetBenefit, {
        **found,
        "n": len(truth),
        "prevalence": float(truth.mean()),
        "threshold": ODDS,
        "all": worth_of_all.mean(0),
        "better_than_both": ODDS[useful],
    })  # fmt: skip


def risk_coverage(labeled: LabeledPredictions) -> RiskCoverage:
    """Return the error among the scans answered, from the surest alone to all of them.

    Sure is far from the threshold in log odds. `aurc` is the mean error over all coverages
    (Geifman and El-Yaniv, 2017); `best` is what the same errors would give, were they the least
    sure of all.
    """
    distance = np.abs(log_odds(labeled.scores) - log_odds(labeled.threshold))
    wrong = (labeled.scores >= labeled.threshold) != labeled.truth
    order = np.argsort(-distance, kind="stable")
    counts = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong[order]) / counts
    kept = spread(len(wrong))
    return RiskCoverage(
        n=len(wrong),
        errors=int(wrong.sum()),
        coverage=tuple((counts[kept] / len(wrong)).round(6).tolist()),
        risk=tuple(risk[kept].round(6).tolist()),
        aurc=float(risk.mean()),
        best=float((np.cumsum(np.sort(wrong)) / counts).mean()),
    )


def abstention_figures(labeled: LabeledPredictions) -> Abstention:
    """Count the answers of tumors and of healthy scans, and the errors among those given."""
    decisions, truth = np.array(labeled.decisions, np.str_), labeled.truth
    given = np.isin(decisions, ANSWERED)
    wrong = np.where(given, (decisions == "tumor") != truth, np.nan)
    return as_record(Abstention, {
        **bootstrap_shares(labeled.groups, abstained=~given, error=wrong),
        **share_with_wilson("abstained_wilson", ~given),
        "n": len(given),
        "answered": int(given.sum()),
        "by_truth": {
            name: Counter(decisions[rows].tolist())
            for name, rows in (("tumor", truth), ("healthy", ~truth))
        },
    })  # fmt: skip
