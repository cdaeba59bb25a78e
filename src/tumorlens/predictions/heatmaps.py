"""Where the evidence stood: class activation maps, drawn over the scan."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.files import write_file
from tumorlens.records import Heatmap, Prediction


def tumor_evidence(
    maps: NDArray[np.floating], probabilities: NDArray[np.floating], atoms: Sequence[str]
) -> NDArray[np.float32]:
    """Weigh class activation maps into evidence for a tumor: [n, h, w, A] -> [n, h, w].

    The weights are the derivatives of the log odds of a tumor by each logit at the scan's own
    probabilities: p_a / P(tumor) for tumor atoms, -p_a / P(healthy) for the others. So the map
    says which places move this scan's answer, in logit units.
    """
    is_tumor = np.array([not atom.endswith("_healthy") for atom in atoms])
    tiny = np.finfo(np.float64).tiny
    for_tumor = probabilities * is_tumor
    against = probabilities * ~is_tumor
    weights = for_tumor / np.maximum(for_tumor.sum(-1, keepdims=True), tiny)
    weights = weights - against / np.maximum(against.sum(-1, keepdims=True), tiny)
    return np.einsum("nhwa,na->nhw", maps, weights).astype(np.float32)


def enlarged(heatmap: Heatmap) -> NDArray[np.float32]:
    """Bring the evidence to the size of the prepared image, [side, side]."""
    side = heatmap.prepared.shape[0]
    return np.asarray(
        cv2.resize(heatmap.evidence, (side, side), interpolation=cv2.INTER_CUBIC), np.float32
    )


def evidence_on_scan(heatmap: Heatmap, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring the evidence to the pixels of the scan itself, [h, w]; 0 outside of the head."""
    assert heatmap.matrix is not None
    contours, _ = cv2.findContours(
        (heatmap.prepared > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    head = np.zeros(heatmap.prepared.shape, np.uint8)
    cv2.drawContours(head, contours, -1, 1, thickness=cv2.FILLED)
    return _on_scan(enlarged(heatmap), heatmap.matrix, shape) * (
        _on_scan(head.astype(np.float32), heatmap.matrix, shape) > 0.5
    )


def evidence_of(prediction: Prediction | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the evidence of a slice on its own pixels, [h, w]; 0 without a heatmap."""
    heatmap = None if prediction is None else prediction.heatmap
    if heatmap is None or heatmap.matrix is None:
        return np.zeros(shape, np.float32)
    return evidence_on_scan(heatmap, shape)


def _on_scan(
    values: NDArray[np.float32], matrix: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float32]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, matrix, shape[::-1], flags=flags), np.float32)


def strongest_region(evidence: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the connected pixels of at least half the strongest evidence, around it: [h, w].

    Empty without evidence for a tumor.
    """
    top = float(evidence.max())
    if top <= 0:
        return np.zeros(evidence.shape, bool)
    _, labels = cv2.connectedComponents((evidence >= 0.5 * top).astype(np.uint8), connectivity=8)
    return labels == labels[np.unravel_index(evidence.argmax(), evidence.shape)]


def overlay(heatmap: Heatmap, *, side: int = 384) -> NDArray[np.uint8]:
    """Draw the prepared image alone and under its heatmap, side by side: [side, 2 side, 3] BGR.

    Color stands for evidence for a tumor relative to the strongest place of this scan; where
    evidence speaks against a tumor the scan shows through.
    """
    gray = cv2.resize(heatmap.prepared, (side, side), interpolation=cv2.INTER_CUBIC)
    evidence = cv2.resize(heatmap.evidence, (side, side), interpolation=cv2.INTER_CUBIC)
    scan = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)
    mixed = colored_evidence(np.asarray(gray, np.uint8), np.asarray(evidence, np.float32))
    return np.hstack([scan, mixed])


def colored_evidence(
    gray: NDArray[np.uint8], evidence: NDArray[np.float32], *, opacity: float = 0.55
) -> NDArray[np.uint8]:
    """Draw evidence in color over gray levels, both [h, w]: [h, w, 3] BGR."""
    relative = np.clip(evidence / max(float(evidence.max()), 1e-6), 0, 1)
    colored = cv2.applyColorMap((relative * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    weight = (opacity * relative)[..., None]
    scan = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    return (scan * (1 - weight) + colored * weight).astype(np.uint8)


def write_overlay(heatmap: Heatmap, out: Path) -> None:
    """Write the overlay as PNG."""
    write_file(out, cv2.imencode(".png", overlay(heatmap))[1].tobytes())
