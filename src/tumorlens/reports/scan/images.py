"""The pictures of a scan's report: as stored, as prepared, and the evidence."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap, Scan

LONGEST = 512  # pixels of the scan as shown
SIDE = 384  # of the prepared pictures
LEGEND = (12, 256)  # height and width of the color scale


def stored_picture(scan: Scan) -> NDArray[np.uint8]:
    """Show a scan as it was stored, its longer side at most LONGEST: [h, w].

    Intensities between the 0.5th and the 99.5th percentile fill the grey scale.
    """
    low, high = np.percentile(scan.pixels, [0.5, 99.5])
    grey = np.clip((scan.pixels - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    scale = LONGEST / max(grey.shape)
    if scale >= 1:
        return grey
    size = tuple(max(1, round(length * scale)) for length in grey.shape[::-1])
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def prepared_pictures(heatmap: Heatmap) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Show what the network saw, and the same under its evidence: [SIDE, SIDE, 3] each."""
    both = overlay(heatmap, side=SIDE)
    return both[:, :SIDE], both[:, SIDE:]


def color_scale() -> NDArray[np.uint8]:
    """Draw the colors of the evidence, from none to this scan's strongest place."""
    height, width = LEGEND
    ramp = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), np.uint8)


def strongest(heatmap: Heatmap) -> str:
    """Say how strong the strongest place is, in logit units."""
    top = float(heatmap.evidence.max())
    if top <= 0:
        return "No place speaks for a tumor."
    return f"Strongest place: {top:+.1f} logits. Colors are relative to it."
