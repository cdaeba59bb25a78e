"""Free-response ROC: marked tumors found, by how many wrong candidates a slice are allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.json_records import as_record
from tumorlens.records import Case, Heatmap
from tumorlens.reports.evaluation import Froc
from tumorlens.study.data.masks import Masks
from tumorlens.study.stats.intervals import Weights, bootstrap, not_collapsed, share

RATES = (0.125, 0.25, 0.5, 1.0)  # wrong candidates a slice
MAX_CANDIDATES = 5  # of a slice, the strongest
THRESHOLDS = 100


@dataclass(frozen=True)
class Candidates:
    """Where the evidence of a slice peaks, strongest first."""

    scores: NDArray[np.float64]  # [k], logit units, above 0
    points: NDArray[np.float64]  # [k, 2], row and column as shares of the prepared image


def find_candidates(heatmap: Heatmap | None) -> Candidates:
    """Return the local maxima of the evidence for a tumor; none without a heatmap."""
    if heatmap is None:
        return Candidates(np.zeros(0), np.zeros((0, 2)))
    evidence = heatmap.evidence
    highest = cv2.dilate(evidence, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((evidence >= highest) & (evidence > 0))
    order = np.argsort(-evidence[rows, columns])[:MAX_CANDIDATES]
    points = (np.column_stack([rows, columns])[order] + 0.5) / evidence.shape
    return Candidates(evidence[rows, columns][order].astype(np.float64), points)


def froc_figures(
    cases: Sequence[Case], candidates: Sequence[Candidates], masks: Masks
) -> Froc | None:
    """Return the FROC over slices with a fitting mask and those without a tumor; None without."""
    found, groups = [], []
    for position, (case, own) in enumerate(zip(cases, candidates, strict=True)):
        mask = masks.get(position)
        if mask is None and labels.is_tumor(case.label):
            continue  # nobody says where its tumor lies
        found.append(_judged(own, mask))
        groups.append(case.patient or case.group_name)
    lesions = np.array([len(hits) for hits, _ in found], float)
    if not lesions.sum():
        return None
    scores = np.concatenate([np.concatenate([*row, np.zeros(0)]) for row in found])
    levels = np.quantile(scores[scores > 0], np.linspace(1, 0, THRESHOLDS)) if scores.any() else [0]
    hits = np.array([[(row[0] >= level).sum() for level in levels] for row in found], float)
    wrong = np.array([[(row[1] >= level).sum() for level in levels] for row in found], float)
    return as_record(Froc, {
        **_with_intervals(hits, wrong, lesions, np.array(groups)),
        "n": len(found),
        "n_lesions": int(lesions.sum()),
        "false_positives": RATES,
    })  # fmt: skip


def _judged(
    own: Candidates, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best score in each marked tumor, -1 where none lies in it, and all others'."""
    if mask is None:
        return np.zeros(0), own.scores
    count, areas = cv2.connectedComponents(mask.astype(np.uint8))
    at = (own.points * mask.shape).astype(int)
    inside = areas[at[:, 0], at[:, 1]]
    best = [own.scores[inside == k].max(initial=-1.0) for k in range(1, count)]
    return np.array(best), own.scores[inside == 0]


def _with_intervals(
    hits: NDArray[np.float64],
    wrong: NDArray[np.float64],
    lesions: NDArray[np.float64],
    groups: NDArray[np.str_],
) -> dict[str, NDArray[np.float64]]:
    """Return the share of lesions found at RATES, from counts by slice and threshold, [n, t]."""

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = share(weights @ hits, (weights @ lesions)[:, None])
        rates = weights @ wrong / weights.sum(1, keepdims=True)
        return {"sensitivity": np.array(
            [[_at(rate, rates[r], found[r]) for rate in RATES] for r in range(len(weights))]
        )}  # fmt: skip

    independent = len(np.unique(groups[lesions > 0]))
    return not_collapsed(bootstrap(statistics, groups), {"sensitivity": independent})


def _at(rate: float, rates: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the best share found with at most so many wrong candidates a slice."""
    allowed = rates <= rate
    return float(found[allowed].max()) if allowed.any() else 0.0
