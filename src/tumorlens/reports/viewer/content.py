"""What the viewer is given: slices in their own geometry, evidence, probabilities, as plain JSON.

Pixels keep their own values, as 16-bit numbers, so that window and level are set in the browser
without a round trip. Evidence stays as coarse as the network gave it, with the matrix that lays it
over the slice.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorlens.images.series import Series
from tumorlens.images.slices import side_letters
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Prediction, Scan

MAX_PIXELS = 24_000_000  # of one viewer; more are shrunk to fit
ROBUST = (1.0, 99.5)  # percentiles that the first window shows, where values have no unit
CT_WINDOW = (40.0, 80.0)  # center and width in HU
PRESETS = {"brain": CT_WINDOW, "subdural": (75.0, 215.0), "stroke": (32.0, 8.0),
           "bone": (600.0, 2800.0)}  # fmt: skip
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ViewedSlice:
    """One slice to look at."""

    scan: Scan  # as the file holds it, in its own units
    prediction: Prediction
    orientation: tuple[float, ...] | None = None  # along a row, then down a column: 6 cosines


def viewer_content(
    slices: Sequence[ViewedSlice],
    *,
    name: str,
    answer: SeriesPrediction | None = None,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Return what the viewer draws, as JSON holds it; out of scope shows no evidence."""
    shrink = max(1.0, np.sqrt(sum(s.scan.pixels.size for s in slices) / max_pixels))
    strongest = max((_top(s.prediction) for s in slices), default=0.0)
    is_ct = bool(slices) and all(s.scan.modality == "ct" for s in slices)
    numbers = [s.prediction.slice for s in slices]
    curve = (
        [answer.curve[number - 1] if number else None for number in numbers]
        if answer
        else [_probability(s.prediction) for s in slices]
    )
    peak = answer.peak_slice if answer else None
    return {
        "name": name,
        "isCt": is_ct,
        "window": CT_WINDOW if is_ct else _robust_window(slices),
        "presets": PRESETS if is_ct else {},
        "threshold": next((s.prediction.threshold for s in slices if s.prediction.threshold), None),
        "curve": curve,
        "isShrunk": shrink > 1,
        "start": numbers.index(peak) if peak in numbers else 0,
        "slices": [_slice(s, shrink, strongest) for s in slices],
    }


def viewers(
    predictions: Sequence[Prediction],
    scans: Sequence[Scan | None],
    *,
    series: Sequence[Series] = (),
    answers: Sequence[SeriesPrediction] = (),
) -> list[dict[str, Any]]:
    """Return a viewer's content for each series, and for each image that stands alone.

    `scans` are those of the predictions, None where one is not shown.
    """
    headers = {(s.name, k): h for s in series for k, h in enumerate(s.slices, start=1)}
    answered = {answer.series: answer for answer in answers}
    stacks: dict[str, list[ViewedSlice]] = {}
    for number, (found, scan) in enumerate(zip(predictions, scans, strict=True)):
        if scan is None:
            continue
        header = headers.get((found.series, found.slice or 0))
        name = found.series if header else f"{number} {found.path}"
        viewed = ViewedSlice(scan, found, header.orientation if header else None)
        stacks.setdefault(name, []).append(viewed)
    return [
        viewer_content(
            sorted(stack, key=lambda one: one.prediction.slice or 0),
            name=name if name in answered else Path(stack[0].prediction.path).name,
            answer=answered.get(name),
        )
        for name, stack in stacks.items()
    ]


def _probability(prediction: Prediction) -> float | None:
    return None if prediction.decision == "out of scope" else prediction.tumor_probability


def _top(prediction: Prediction) -> float:
    if prediction.heatmap is None or prediction.decision == "out of scope":
        return 0.0
    return float(prediction.heatmap.evidence.max())


def _robust_window(slices: Sequence[ViewedSlice]) -> tuple[float, float]:
    """Return center and width of what nearly all pixels of the middle slice lie in."""
    if not slices:
        return 0.5, 1.0
    pixels = slices[len(slices) // 2].scan.pixels
    low, high = np.percentile(pixels, ROBUST)
    return float(low + high) / 2, max(float(high - low), 1e-6)


def _slice(viewed: ViewedSlice, shrink: float, strongest: float) -> dict[str, Any]:
    pixels = viewed.scan.pixels
    height, width = (max(1, round(side / shrink)) for side in pixels.shape)
    if shrink > 1:
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(small, np.float32)
    row_mm, column_mm = viewed.scan.spacing_mm or (None, None)
    low, step = float(pixels.min()), _step(pixels)
    stored = np.rint((pixels - low) / step).astype("<u2")
    return {
        "width": width,
        "height": height,
        "mm": [row_mm * viewed.scan.pixels.shape[0] / height,
               column_mm * viewed.scan.pixels.shape[1] / width] if row_mm and column_mm else None,
        "low": low,
        "step": step,
        "pixels": packed(stored.tobytes()),
        "letters": side_letters(viewed.orientation) if viewed.orientation else None,
        "decision": viewed.prediction.decision,
        "probability": _probability(viewed.prediction),
        "error": viewed.prediction.error,
        "heat": _heat(viewed, width / viewed.scan.pixels.shape[1],
                      height / viewed.scan.pixels.shape[0], strongest),
    }  # fmt: skip


def _step(pixels: NDArray[np.float32]) -> float:
    """Return the difference that one stored number stands for: 1 for whole numbers that fit."""
    reach = float(pixels.max() - pixels.min())
    if reach <= 65_535 and bool((pixels == np.rint(pixels)).all()):
        return 1.0
    return max(reach / 65_535, 1e-12)


def _heat(viewed: ViewedSlice, across: float, down: float, strongest: float) -> dict | None:
    """Return the evidence, 0 to 255 of the strongest in the series, and where it lies."""
    heatmap = viewed.prediction.heatmap
    if heatmap is None or heatmap.matrix is None or strongest <= 0 or not _top(viewed.prediction):
        return None
    share = np.clip(heatmap.evidence / strongest, 0, 1)
    to_scan = np.linalg.inv(np.vstack([heatmap.matrix, [0, 0, 1]]))[:2]
    return {
        "rows": share.shape[0],
        "columns": share.shape[1],
        "side": heatmap.prepared.shape[0],
        "matrix": (to_scan * np.array([[across], [down]])).tolist(),
        "values": base64.b64encode(np.rint(share * 255).astype(np.uint8).tobytes()).decode(),
    }


def packed(data: bytes) -> str:
    """Compress bytes (zlib) and write them as base64; the browser unpacks both."""
    return base64.b64encode(zlib.compress(data, 6)).decode()


@lru_cache
def script() -> str:
    """Return the JavaScript of the viewer: a module that exports `mountViewer`."""
    return (_FOLDER / "viewer.js").read_text(encoding="utf-8")


@lru_cache
def style() -> str:
    """Return the CSS of the viewer."""
    return (_FOLDER / "viewer.css").read_text(encoding="utf-8")


def script_json(content: object) -> Markup:
    """Write JSON that may stand in a script element: no name of a file can end it."""
    return Markup(json.dumps(content, allow_nan=False).replace("<", "\\u003c"))
