"""Pictures of heatmaps beside marked tumors, as far as they may be shown."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.models.bundle import Bundle
from tumorlens.records import Case, Evaluation, Heatmap
from tumorlens.study.data.masks import prepared_mask
from tumorlens.study.evaluation.failures import SIDE, small_overlay

_OUTLINE = (120, 220, 80)  # BGR


def mask_gallery(
    evaluation: Evaluation, bundle: Bundle | None
) -> dict[str, list[dict[str, Any]]] | None:
    """Give the drawn hits and misses with their pictures, None where hidden, for a page.

    None where no heatmap could be held against a mask, or without the bundle that made them.
    """
    localisation = evaluation.figures["localisation"]
    if not localisation or bundle is None:
        return None
    return {
        kind: [row | {"picture": _picture(row, evaluation, bundle)} for row in rows]
        for kind, rows in localisation["examples"].items()
    }


def _picture(
    row: dict[str, Any], evaluation: Evaluation, bundle: Bundle
) -> NDArray[np.uint8] | None:
    case: Case = evaluation.cases[row["position"]]
    heatmap = evaluation.predictions[row["position"]].heatmap
    mask = prepared_mask(case, bundle.spec)
    if row["hidden"] or heatmap is None or mask is None:
        return None
    return outlined(heatmap, mask)


def outlined(heatmap: Heatmap, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draw a prepared picture and its heatmap side by side with a mask's outline on both."""
    drawing = np.ascontiguousarray(small_overlay(heatmap))
    small = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for shift in (0, SIDE):
        cv2.drawContours(drawing, lines, -1, _OUTLINE, 1, offset=(shift, 0))
    return drawing
