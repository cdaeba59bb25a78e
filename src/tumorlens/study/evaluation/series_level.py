"""What answers for whole series are worth: by series, by patient, and at which slice they peak."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.json_records import as_record
from tumorlens.models.bundle import Bundle
from tumorlens.records import Case, Prediction
from tumorlens.reports.evaluation import SeriesFigures, SeriesLevel
from tumorlens.study.data.case_series import (
    AnsweredSeries,
    answer_cases,
    count_sources,
    find_series,
)
from tumorlens.study.evaluation.decision import reliability
from tumorlens.study.stats.discrimination import detection_statistics
from tumorlens.study.stats.intervals import bootstrap_shares


def series_figures(
    cases: Sequence[Case], predictions: Sequence[Prediction], bundle: Bundle
) -> SeriesLevel | None:
    """Return the figures of the series that cases make; None where they make none."""
    answered = answer_cases(find_series(cases), predictions, bundle)
    if not answered:
        return None
    truth = np.array([one.series.is_tumor for one in answered], bool)
    patients = np.array([one.series.patient for one in answered], str)
    scores = np.array([_score(one) for one in answered], float)
    threshold = answered[0].answer.threshold
    hits = {name: _peak_hits(answered, name) for name in ("peak_hit", "peak_chance")}
    shown = np.isfinite(hits["peak_hit"])
    return as_record(SeriesLevel, {
        **bootstrap_shares(patients[shown], **{name: row[shown] for name, row in hits.items()}),
        "n": int(shown.sum()),
        "is_calibrated": bundle.series_rule is not None,
        "series": _figures(truth, scores, patients, threshold),
        "patients": _figures(*_by_patient(truth, scores, patients), threshold),
        "decisions": _decisions(answered),
        "sources": count_sources(cases, [one.series for one in answered]),
        "calibration": reliability(scores, truth, patients) if bundle.series_rule else None,
    })  # fmt: skip


def _score(one: AnsweredSeries) -> float:
    assert one.answer.value is not None
    return one.answer.value


def _figures(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    patients: NDArray[np.str_],
    threshold: float,
) -> SeriesFigures:
    found = detection_statistics(truth, scores, thresholds=threshold, groups=patients)
    return as_record(SeriesFigures, {
        **found,
        "n": len(truth),
        "n_tumor": int(truth.sum()),
        "n_healthy": int((~truth).sum()),
        "n_groups": len(np.unique(patients)),
        "threshold": threshold,
    })  # fmt: skip


def _by_patient(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], patients: NDArray[np.str_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_]]:
    """Return whether each patient has a tumor, the highest score of its series, and its name."""
    names, at = np.unique(patients, return_inverse=True)
    has_tumor, highest = np.zeros(len(names), bool), np.zeros(len(names))
    np.logical_or.at(has_tumor, at, truth)
    np.maximum.at(highest, at, scores)
    return has_tumor, highest, names


def _peak_hits(answered: Sequence[AnsweredSeries], name: str) -> NDArray[np.float64]:
    """Return for each series with a tumor whether the peak shows it, or how many slices do, [n].

    NaN where every slice does or none.
    """
    found = np.full(len(answered), np.nan)
    for k, one in enumerate(answered):
        shows = one.series.has_tumor
        if any(shows) and not all(shows) and one.answer.peak_slice is not None:
            hit = float(shows[one.answer.peak_slice - 1])
            found[k] = hit if name == "peak_hit" else np.mean(shows)
    return found


def _decisions(answered: Sequence[AnsweredSeries]) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, Counter[str]] = {"tumor": Counter(), "healthy": Counter()}
    for one in answered:
        found["tumor" if one.series.is_tumor else "healthy"][one.answer.decision] += 1
    return {name: dict(counts) for name, counts in found.items()}
