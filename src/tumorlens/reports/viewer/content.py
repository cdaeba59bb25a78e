"""What the viewer is given: slices in their own geometry, evidence, probabilities, as plain JSON.

Pixels keep their own values, as 16-bit numbers, so that window and level are set in the browser
without a round trip. Evidence stays as coarse as the network gave it, with the matrix that lays it
over the slice.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorlens.images.series import Series
from tumorlens.images.slices import side_letters
from tumorlens.language import translate
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Modality, Prediction, Scan

MAX_PIXELS = 24_000_000  # of one viewer; more are shrunk to fit
ROBUST = (1.0, 99.5)  # percentiles that the first window shows, where values have no unit
CT_WINDOW = (40.0, 80.0)  # center and width in HU
PRESETS = {"brain": CT_WINDOW, "subdural": (75.0, 215.0), "stroke": (32.0, 8.0),
           "bone": (600.0, 2800.0)}  # fmt: skip
HEAD_SIDE = 128  # of the outline that evidence is cut at
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PixelGrid:
    """The pixels of a slice as a browser gets them: whole numbers, and what they mean."""

    width: int
    height: int
    low: float  # what 0 means, in the units of the file
    step: float  # what a step of 1 means
    spacing_mm: tuple[float, float] | None = None  # between rows, between columns
    modality: Modality | None = None
    share: tuple[float, float] = (1.0, 1.0)  # of pixels of the scan, across and down
    pixels: str = ""  # 16 bits each, as `packed`; empty: the browser fetches them


@dataclass(frozen=True)
class ViewedSlice:
    """One slice to look at."""

    scan: Scan  # as the file holds it, in its own units
    prediction: Prediction
    orientation: tuple[float, ...] | None = None  # along a row, then down a column: 6 cosines


class DrawnEvidence(TypedDict):
    """Evidence over one slice, as viewer.js draws it."""

    rows: int
    columns: int
    side: int  # of the prepared image
    matrix: list[list[float]]  # prepared pixels (x, y) to pixels of the slice, [2, 3]
    values: str  # 0 to 255 of the strongest in the series, base64
    head: str  # where the head lies, bits in base64


class DrawnSlice(TypedDict):
    """One slice, as viewer.js draws it."""

    width: int
    height: int
    mm: list[float] | None  # between rows, between columns
    low: float
    step: float
    pixels: str
    letters: dict[str, str] | None  # sides of the patient at the sides of the image
    decision: str
    probability: float | None
    error: str
    heat: DrawnEvidence | None
    mask: NotRequired[str]  # of the truth, as a data URL; "" where there is none


class ViewerContent(TypedDict):
    """All that viewer.js draws."""

    name: str
    isCt: bool
    window: tuple[float, float]  # center and width at first
    presets: dict[str, tuple[float, float]]
    threshold: float | None
    curve: list[float | None]  # tumor probability by slice
    isShrunk: bool
    start: int  # the slice that is shown first
    slices: list[DrawnSlice]


def viewer_content(
    slices: Sequence[ViewedSlice],
    *,
    name: str,
    answer: SeriesPrediction | None = None,
) -> ViewerContent:
    """Return what the viewer draws; out of scope shows no evidence."""
    shrink = max(1.0, np.sqrt(sum(s.scan.pixels.size for s in slices) / MAX_PIXELS))
    middle = slices[len(slices) // 2].scan.pixels if slices else np.array([0.0, 1.0])
    grids = [_grid(s.scan, shrink) for s in slices]
    content = lay_out(
        [s.prediction for s in slices],
        grids,
        orientations=[s.orientation for s in slices],
        name=name,
        answer=answer,
        window=None if _is_ct(grids) else robust_window(middle),
    )
    return {**content, "isShrunk": shrink > 1}


def lay_out(
    predictions: Sequence[Prediction],
    grids: Sequence[PixelGrid],
    *,
    orientations: Sequence[tuple[float, ...] | None],
    name: str,
    answer: SeriesPrediction | None,
    window: tuple[float, float] | None,
) -> ViewerContent:
    """Return what the viewer draws of slices whose pixels are known; `window` None: that of CT."""
    if answer and answer.decision == "out of scope":
        predictions = [replace(p, decision="out of scope") for p in predictions]
    strongest = max(map(_top, predictions), default=0.0)
    numbers = [p.slice for p in predictions]
    curve = (
        [answer.curve[number - 1] if number else None for number in numbers]
        if answer and answer.decision != "out of scope"
        else [_probability(p) for p in predictions]
    )
    peak = answer.peak_slice if answer else None
    rows = zip(predictions, grids, orientations, strict=True)
    return {
        "name": name,
        "isCt": window is None,
        "window": window or CT_WINDOW,
        "presets": {} if window else PRESETS,
        "threshold": next((p.threshold for p in predictions if p.threshold), None),
        "curve": curve,
        "isShrunk": False,
        "start": numbers.index(peak) if peak in numbers else 0,
        "slices": [_slice(p, g, o, strongest) for p, g, o in rows],
    }


def _is_ct(grids: Sequence[PixelGrid]) -> bool:
    return bool(grids) and all(grid.modality == "ct" for grid in grids)


def viewers(
    predictions: Sequence[Prediction],
    scans: Sequence[Scan | None],
    *,
    series: Sequence[Series] = (),
    answers: Sequence[SeriesPrediction] = (),
) -> list[ViewerContent]:
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


def robust_window(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return center and width of what nearly all pixels lie in."""
    low, high = np.percentile(pixels, ROBUST)
    return float(low + high) / 2, max(float(high - low), 1e-6)


def _grid(scan: Scan, shrink: float) -> PixelGrid:
    """Return the pixels of a scan as the page holds them."""
    pixels = scan.pixels
    height, width = (max(1, round(side / shrink)) for side in pixels.shape)
    if shrink > 1:
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(small, np.float32)
    low, step = float(pixels.min()), _step(pixels)
    stored = np.rint((pixels - low) / step).astype("<u2")
    row_mm, column_mm = scan.spacing_mm or (None, None)
    down, across = height / scan.pixels.shape[0], width / scan.pixels.shape[1]
    return PixelGrid(
        width, height, low, step, modality=scan.modality, share=(across, down),
        spacing_mm=(row_mm / down, column_mm / across) if row_mm and column_mm else None,
        pixels=packed(stored.tobytes()),
    )  # fmt: skip


def _slice(
    found: Prediction, grid: PixelGrid, orientation: tuple[float, ...] | None, strongest: float
) -> DrawnSlice:
    return {
        "width": grid.width,
        "height": grid.height,
        "mm": list(grid.spacing_mm) if grid.spacing_mm else None,
        "low": grid.low,
        "step": grid.step,
        "pixels": grid.pixels,
        "letters": side_letters(orientation) if orientation else None,
        "decision": found.decision,
        "probability": _probability(found),
        "error": translate(found.error),
        "heat": _heat(found, grid, strongest),
    }


def _step(pixels: NDArray[np.float32]) -> float:
    """Return the difference that one stored number stands for: 1 for whole numbers that fit."""
    reach = float(pixels.max() - pixels.min())
    if reach <= 65_535 and bool((pixels == np.rint(pixels)).all()):
        return 1.0
    return max(reach / 65_535, 1e-12)


def _heat(found: Prediction, grid: PixelGrid, strongest: float) -> DrawnEvidence | None:
    """Return the evidence, 0 to 255 of the strongest in the series, and where it lies."""
    heatmap = found.heatmap
    if heatmap is None or heatmap.matrix is None or strongest <= 0 or not _top(found):
        return None
    share = np.clip(heatmap.evidence / strongest, 0, 1)
    to_scan = np.linalg.inv(np.vstack([heatmap.matrix, [0, 0, 1]]))[:2]
    return {
        "rows": share.shape[0],
        "columns": share.shape[1],
        "side": heatmap.prepared.shape[0],
        "matrix": (to_scan * np.array(grid.share)[:, None]).tolist(),
        "values": base64.b64encode(np.rint(share * 255).astype(np.uint8).tobytes()).decode(),
        "head": base64.b64encode(np.packbits(_head(heatmap.prepared)).tobytes()).decode(),
    }


def _head(prepared: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where the head lies, [HEAD_SIDE, HEAD_SIDE]: all that is left, its holes filled."""
    small = cv2.resize(np.asarray(prepared > 0, np.uint8) * 255, (HEAD_SIDE, HEAD_SIDE),
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    outlines, _ = cv2.findContours(
        np.asarray(small >= 128, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros((HEAD_SIDE, HEAD_SIDE), np.uint8)
    return cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED).astype(bool)


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
