"""The scans that a bundle had most wrong, as far as they may be shown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.predictions.heatmaps import overlay
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Heatmap, Prediction
from tumorlens.study.audit.text import why_hidden
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions

WORST = 20
FOLDER = "failures"  # of the pictures, beside evaluation.json
SIDE = 112  # pixels shown: a name that were left in a head could not be read at this size


def failure_figures(
    cases: Sequence[Case],
    answers: LabeledPredictions,
    positions: Sequence[int],
    *,
    conflicts: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    """List the worst misses and false alarms, worst first, and how many there are in all.

    `positions`, [n], say which of `cases` each answer is of. `conflicts` tells other labels that
    the same picture has elsewhere: there the label may be wrong and not the answer.
    """
    flagged = answers.scores >= answers.threshold
    kinds = {
        "false_negatives": (answers.truth & ~flagged, answers.scores),
        "false_positives": (~answers.truth & flagged, -answers.scores),
    }
    found = {}
    for kind, (wrong, order) in kinds.items():
        rows = np.flatnonzero(wrong)
        rows = rows[np.argsort(order[rows], kind="stable")]
        listed = [
            _row(cases[positions[i]], answers, i, positions[i], conflicts=conflicts)
            for i in rows[:WORST].tolist()
        ]
        found[kind] = {
            "total": len(rows),
            "with_conflict": sum(cases[positions[i]].key in conflicts for i in rows.tolist()),
            "worst": listed,
        }
    return found


def _row(
    case: Case,
    answers: LabeledPredictions,
    row: int,
    position: int,
    *,
    conflicts: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    hidden = why_hidden(case.path) or ""
    return {
        "position": position,
        "case": case.key,
        "label": case.label,
        "tumor_probability": float(answers.scores[row]),
        "decision": answers.decisions[row],
        "other_labels": list(conflicts.get(case.key, ())),
        "hidden": hidden,
        "picture": None if hidden else f"{FOLDER}/{position:06d}.png",
    }


def with_heatmaps(
    predictions: Sequence[Prediction], failures: Mapping[str, Any], predictor: Predictor
) -> list[Prediction]:
    """Ask again for the heatmaps of the listed failures that may be shown."""
    found = list(predictions)
    asked = [
        row["position"]
        for kind in failures.values()
        for row in kind["worst"]
        if not row["hidden"] and found[row["position"]].heatmap is None
    ]
    again = predictor.predict([found[i].path for i in asked], heatmaps=True)
    for position, prediction in zip(asked, again, strict=True):
        found[position] = replace(found[position], heatmap=prediction.heatmap)
    return found


def gallery(
    predictions: Sequence[Prediction], failures: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Give the rows of the failures with their pictures, None where hidden, for a page."""
    return {
        kind: [row | {"picture": _picture(row, predictions)} for row in listed["worst"]]
        for kind, listed in failures.items()
    }


def draw_failures(
    predictions: Sequence[Prediction], failures: Mapping[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """Give the name and the PNG of every listed failure that may be shown."""
    for kind in failures.values():
        for row in kind["worst"]:
            picture = _picture(row, predictions)
            if picture is not None and row["picture"]:
                yield row["picture"], cv2.imencode(".png", picture)[1].tobytes()


def _picture(row: Mapping[str, Any], predictions: Sequence[Prediction]) -> NDArray[np.uint8] | None:
    heatmap = predictions[row["position"]].heatmap
    return None if row["hidden"] or heatmap is None else small_overlay(heatmap)


def small_overlay(heatmap: Heatmap) -> NDArray[np.uint8]:
    """Draw a prepared picture and its heatmap side by side, too small to read, [SIDE, 2 SIDE, 3].

    The picture is shrunk before it is blurred, so that strokes of letters are gone from it.
    """
    shrunk = cv2.resize(heatmap.prepared, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    blurred = np.asarray(cv2.GaussianBlur(shrunk, (0, 0), 0.5), np.uint8)
    return overlay(Heatmap(heatmap.evidence, blurred), side=SIDE)
