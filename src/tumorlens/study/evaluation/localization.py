"""Whether the evidence stood where the tumor is marked, in figures and in small images."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import as_record
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.heatmaps import enlarged
from tumorlens.records import Case, Heatmap, Prediction
from tumorlens.reports.evaluation import Evaluation, Gallery, Localization, MaskExample
from tumorlens.study.audit.text import THUMBNAIL_SIDE, why_hidden
from tumorlens.study.data.masks import Masks, prepared_mask
from tumorlens.study.evaluation.failures import small_overlay
from tumorlens.study.stats.intervals import Weights, bootstrap, bootstrap_shares

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the strongest evidence
EXAMPLES = 8  # shown of hits and of misses
CENTER = 0.2  # deviation of the bell in the center that heatmaps have to beat, of the side
_OUTLINE = (120, 220, 80)  # BGR


def localize(
    cases: Sequence[Case], predictions: Sequence[Prediction], masks: Masks
) -> Localization | None:
    """Measure the heatmaps of the cases that have a mask which fits; None where none has.

    The pointing game (Zhang et al., 2018) asks how often the strongest evidence lies in the
    tumor; `center_prior` says the same of the center of the head, which needs no network.
    """
    rows = []
    for position, (case, prediction) in enumerate(zip(cases, predictions, strict=True)):
        mask = masks.get(position)
        if mask is not None and prediction.heatmap is not None:
            rows.append((position, case.group_name, *_overlaps(prediction.heatmap, mask)))
    if not rows:
        return None
    positions, groups, hits, centers, overlaps = map(np.array, zip(*rows, strict=True))
    return as_record(Localization, {
        **bootstrap_shares(groups, pointing=hits, centre_prior=centers),
        **overlap_figures(overlaps, groups),
        "n": len(rows),
        "n_groups": len(np.unique(groups)),
        "iou_at": SHARES,
        "examples": {
            name: _examples(cases, positions[chosen], overlaps[chosen, 0])
            for name, chosen in (("hits", hits), ("misses", ~hits))
        },
    })  # fmt: skip


def _overlaps(heatmap: Heatmap, mask: NDArray[np.bool_]) -> tuple[bool, bool, list[float]]:
    """Tell whether evidence and center point into a mask, and the overlaps of both with it."""
    evidence, side = enlarged(heatmap), len(mask)
    hit = bool(mask[np.unravel_index(int(evidence.argmax()), mask.shape)])
    center = bool(mask[side // 2, mask.shape[1] // 2])
    return hit, center, [*overlap(evidence, mask), *overlap(_bell(side), mask)]


def _examples(
    cases: Sequence[Case], positions: NDArray[np.int64], energies: NDArray[np.float64]
) -> tuple[MaskExample, ...]:
    """Draw a few of some heatmaps by lot: the best alone would flatter, the worst alone mislead."""
    drawn = np.sort(np.random.default_rng(0).permutation(len(positions))[:EXAMPLES])
    return tuple(
        MaskExample(at, cases[at].key, cases[at].label, energy, why_hidden(cases[at].path) or "")
        for at, energy in zip(positions[drawn].tolist(), energies[drawn].tolist(), strict=True)
    )


def overlap(evidence: NDArray[np.floating], mask: NDArray[np.bool_]) -> list[float]:
    """Return the share of the positive evidence inside a mask, and the IoU at each of SHARES.

    Both [side, side]. The region of a share holds the pixels with at least that share of the
    strongest evidence; where nothing speaks for a tumor all figures are 0.
    """
    positive = np.maximum(evidence, 0)
    top = float(positive.max())
    if top <= 0:
        return [0.0] * (1 + len(SHARES))
    regions = [positive >= share * top for share in SHARES]
    inside = float(positive[mask].sum() / positive.sum())
    return [inside, *(float((r & mask).sum() / (r | mask).sum()) for r in regions)]


def _bell(side: int) -> NDArray[np.float64]:
    """Draw evidence that knows nothing but where heads have their center, [side, side]."""
    away = (np.arange(side) - (side - 1) / 2) / (side * CENTER)
    return np.exp(-0.5 * (away[:, None] ** 2 + away**2))


def overlap_figures(overlaps: NDArray[np.float64], groups: NDArray) -> dict[str, NDArray]:
    """Average the overlaps of n heatmaps and of the bell, [n, 2 (1 + SHARES)], with intervals."""
    count = 1 + len(SHARES)

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        means = weights @ overlaps / weights.sum(1, keepdims=True)
        return {
            "energy": means[:, 0],
            "energy_prior": means[:, count],
            "iou": means[:, 1:count],
            "iou_prior": means[:, count + 1 :],
        }

    return bootstrap(statistics, groups)


def mask_gallery(evaluation: Evaluation, bundle: Bundle | None) -> Gallery[MaskExample] | None:
    """Return the drawn hits and misses with their images, None where hidden, for a page.

    None where no heatmap could be held against a mask, or without the bundle that made them.
    """
    found = evaluation.result.localization
    if found is None or bundle is None:
        return None
    return {
        kind: [(row, _image(row, evaluation, bundle.spec)) for row in rows]
        for kind, rows in found.examples.items()
    }


def _image(row: MaskExample, evaluation: Evaluation, spec: InputSpec) -> NDArray[np.uint8] | None:
    heatmap = evaluation.predictions[row.position].heatmap
    mask = prepared_mask(evaluation.cases[row.position], spec)
    return None if row.hidden or heatmap is None or mask is None else outlined(heatmap, mask)


def outlined(heatmap: Heatmap, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a prepared image and its heatmap side by side with a mask's outline on both."""
    drawing = np.ascontiguousarray(small_overlay(heatmap))
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for shift in (0, THUMBNAIL_SIDE):
        cv2.drawContours(drawing, lines, -1, _OUTLINE, 1, offset=(shift, 0))
    return drawing
