"""The scans that a bundle had most wrong, as far as they may be shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.images.raster import encode_png
from tumorlens.predictions.heatmaps import overlay
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Heatmap, Prediction
from tumorlens.reports.evaluation import Failure, Failures, Gallery
from tumorlens.study.audit.text import THUMBNAIL_SIDE, blurred_thumbnail, why_hidden
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions

WORST = 20
FOLDER = "failures"  # of the images, beside evaluation.json


def failure_figures(
    cases: Sequence[Case],
    labeled: LabeledPredictions,
    positions: Sequence[int],
    *,
    conflicts: Mapping[str, tuple[str, ...]],
) -> dict[str, Failures]:
    """List the worst misses and false alarms, worst first, and how many there are in all.

    `positions`, [n], say which of `cases` each answer is of. `conflicts` tells other labels that
    the same image has elsewhere: there the label may be wrong and not the answer.
    """
    flagged, truth, scores = labeled.scores >= labeled.threshold, labeled.truth, labeled.scores

    def row(i: int) -> Failure:
        case, position = cases[positions[i]], positions[i]
        hidden = why_hidden(case.path) or ""
        return Failure(
            position, case.key, case.label, float(scores[i]), labeled.decisions[i],
            tuple(conflicts.get(case.key, ())), hidden,
            image=None if hidden else f"{FOLDER}/{position:06d}.png",
        )  # fmt: skip

    def listed(wrong: NDArray[np.bool_], order: NDArray[np.float64]) -> Failures:
        rows = np.flatnonzero(wrong)
        rows = rows[np.argsort(order[rows], kind="stable")].tolist()
        known = sum(cases[positions[i]].key in conflicts for i in rows)
        return Failures(len(rows), known, tuple(row(i) for i in rows[:WORST]))

    return {
        "false_negatives": listed(truth & ~flagged, scores),
        "false_positives": listed(~truth & flagged, -scores),
    }


def with_heatmaps(
    predictions: Sequence[Prediction], failures: Mapping[str, Failures], predictor: Predictor
) -> tuple[Prediction, ...]:
    """Predict the listed failures that may be shown again, for their heatmaps."""
    found = list(predictions)
    shown = [
        row.position
        for kind in failures.values()
        for row in kind.worst
        if not row.hidden and found[row.position].heatmap is None
    ]
    again = predictor.predict([found[i].path for i in shown], heatmaps=True)
    for position, prediction in zip(shown, again, strict=True):
        found[position] = replace(found[position], heatmap=prediction.heatmap)
    return tuple(found)


def failure_gallery(
    predictions: Sequence[Prediction], failures: Mapping[str, Failures]
) -> Gallery[Failure]:
    """Return the listed failures with their images, None where hidden, for a page."""
    return {
        kind: [(row, _image(row, predictions)) for row in listed.worst]
        for kind, listed in failures.items()
    }


def failure_files(gallery: Gallery[Failure]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of every failure that is shown."""
    for rows in gallery.values():
        for row, image in rows:
            if image is not None and row.image:
                yield row.image, encode_png(image)


def _image(row: Failure, predictions: Sequence[Prediction]) -> NDArray[np.uint8] | None:
    heatmap = predictions[row.position].heatmap
    return None if row.hidden or heatmap is None else small_overlay(heatmap)


def small_overlay(heatmap: Heatmap) -> NDArray[np.uint8]:
    """Draw a thumbnail and its heatmap side by side, [side, 2 side, 3]."""
    small = Heatmap(heatmap.evidence, blurred_thumbnail(heatmap.prepared))
    return overlay(small, side=THUMBNAIL_SIDE)
