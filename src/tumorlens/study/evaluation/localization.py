"""Whether the evidence stood where the tumor is marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.prepare import InputSpec
from tumorlens.predictions.heatmaps import enlarged
from tumorlens.records import Case, Prediction
from tumorlens.study.audit.text import why_hidden
from tumorlens.study.data.masks import prepared_mask
from tumorlens.study.evaluation.figures import localisation_figures
from tumorlens.study.stats.intervals import bootstrap, nan_to_none

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the strongest evidence
EXAMPLES = 8  # shown of hits and of misses
MIDDLE = 0.2  # deviation of the bell in the middle that heatmaps have to beat, of the side


def localise(
    cases: Sequence[Case], predictions: Sequence[Prediction], spec: InputSpec
) -> dict[str, Any] | None:
    """Measure the heatmaps of the cases that have a mask which fits; None where none has."""
    hits, prior, groups, overlaps, positions = [], [], [], [], []
    for position, (case, prediction) in enumerate(zip(cases, predictions, strict=True)):
        if case.mask is None or prediction.heatmap is None:
            continue
        mask = prepared_mask(case, spec)
        if mask is None:
            continue
        evidence = enlarged(prediction.heatmap)
        hits.append(bool(mask[np.unravel_index(int(evidence.argmax()), mask.shape)]))
        prior.append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
        overlaps.append((*overlap(evidence, mask), *overlap(_middle(len(mask)), mask)))
        groups.append(case.group or case.key)
        positions.append(position)
    found = localisation_figures(hits, prior, np.array(groups))
    if found is None:
        return None
    rows = np.array(overlaps)
    examples = {
        name: _examples(cases, np.array(positions)[chosen], rows[chosen, 0])
        for name, chosen in (("hits", np.array(hits)), ("misses", ~np.array(hits)))
    }
    return found | overlap_figures(rows, np.array(groups)) | {"examples": examples}


def _examples(
    cases: Sequence[Case], positions: NDArray[np.int64], energies: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Draw a few of some heatmaps by lot: the best alone would flatter, the worst alone mislead."""
    drawn = np.random.default_rng(0).permutation(len(positions))[:EXAMPLES]
    shown = [(int(positions[i]), float(energies[i])) for i in np.sort(drawn).tolist()]
    return [
        {"position": at, "case": cases[at].key, "label": cases[at].label, "energy": energy,
         "hidden": why_hidden(cases[at].path) or ""}
        for at, energy in shown
    ]  # fmt: skip


def overlap(evidence: NDArray[np.floating], mask: NDArray[np.bool_]) -> list[float]:
    """Give the share of the positive evidence inside a mask, and the IoU at each of SHARES.

    Both [side, side]. The region of a share holds the places with at least that share of the
    strongest evidence; where nothing speaks for a tumor all figures are 0.
    """
    positive = np.maximum(evidence, 0)
    top = float(positive.max())
    if top <= 0:
        return [0.0] * (1 + len(SHARES))
    regions = [positive >= share * top for share in SHARES]
    inside = float(positive[mask].sum() / positive.sum())
    return [inside, *(float((r & mask).sum() / (r | mask).sum()) for r in regions)]


def _middle(side: int) -> NDArray[np.float64]:
    """Draw evidence that knows nothing but where heads have their middle, [side, side]."""
    away = (np.arange(side) - (side - 1) / 2) / (side * MIDDLE)
    return np.exp(-0.5 * (away[:, None] ** 2 + away**2))


def overlap_figures(overlaps: NDArray[np.float64], groups: NDArray) -> dict[str, Any]:
    """Average the overlaps of n heatmaps and of the middle, [n, 2 (1 + SHARES)], with intervals."""
    count = 1 + len(SHARES)

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        means = weights @ overlaps / weights.sum(1, keepdims=True)
        return {
            "energy": means[:, 0],
            "energy_prior": means[:, count],
            "iou": means[:, 1:count],
            "iou_prior": means[:, count + 1 :],
        }

    return {"iou_at": list(SHARES), **nan_to_none(bootstrap(statistics, groups))}
