"""What is kept of a scan that was answered: one slice, or a series with one answer.

Pixels are kept at up to SIDE a side, compressed without loss in the file's own units, so that
windows can be set; evidence stays as coarse as the network gave it.
"""

import io
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.files import table_text
from tumorlens.images.slices import SliceHeader
from tumorlens.labels import ALL_SLICES, MODALITIES, TYPES, UNKNOWN_SLICES
from tumorlens.predictions.series_answer import SeriesPrediction, describe_value
from tumorlens.records import Heatmap, Modality, Prediction, Scan
from tumorlens.services.store.reviews import Review

SIDE = 512  # pixels kept of the longer side
# How a worklist may be sorted: keys of a result, and of whether it was reviewed.
ORDERS: Mapping[str, Callable[["Result", bool], Any]] = {
    "dropped": lambda one, done: 0,
    "name": lambda one, done: one.name.lower(),
    "probability": lambda one, done: -one.value,
    "doubt": lambda one, done: -doubt(one),
    "open": lambda one, done: done,
}


@dataclass(frozen=True)
class KeptSlice:
    """One slice with its own answer."""

    prediction: Prediction  # without its heatmap
    pixels: bytes = b""  # PNG, 8 or 16 bits; empty: it could not be read
    values: tuple[float, float] = (0.0, 1.0)  # what 0 in `pixels` means, and a step of 1
    modality: Modality | None = None  # as the file says, with what follows
    spacing_mm: tuple[float, float] | None = None  # of the image as it is kept
    orientation: tuple[float, ...] | None = None
    evidence: NDArray[np.float32] | None = None  # [h, w]
    prepared: bytes = b""  # PNG of what the network saw
    matrix: NDArray[np.float64] | None = None  # [2, 3], kept pixels (x, y) to prepared pixels
    mask: bytes = b""  # PNG of the labeled tumor, where the folder has one

    @property
    def scan(self) -> Scan:
        """The scan again, as far as it was kept."""
        low, step = self.values
        stored = decode_pixels(self.pixels).astype(np.float32)
        pixels = stored * np.float32(step) + np.float32(low)
        name = self.prediction.path
        return Scan(pixels, name, modality=self.modality, spacing_mm=self.spacing_mm)

    @property
    def heatmap(self) -> Heatmap | None:
        """Where the evidence stood; None where there is none."""
        if self.evidence is None:
            return None
        prepared = np.asarray(decode_pixels(self.prepared), np.uint8)
        return Heatmap(self.evidence, prepared, self.matrix)

    @property
    def answered(self) -> Prediction:
        """Its answer with the heatmap."""
        return replace(self.prediction, heatmap=self.heatmap)

    @property
    def size(self) -> int:
        """Bytes that it takes, but for what all slices have."""
        return len(self.pixels) + len(self.prepared) + len(self.mask)


@dataclass(frozen=True)
class Result:
    """One thing to be judged: an image, or a series with one answer for all its slices."""

    name: str
    digest: str  # SHA-256 of the file, or of those of all slices, hex
    prediction: Prediction  # of a series: its one answer, `series_as_prediction`
    slices: tuple[KeptSlice, ...] = ()  # in order along the normal; none: it could not be read
    answer: SeriesPrediction | None = None  # of a series
    is_example: bool = False  # a phantom that came with the dashboard
    truth: str = ""  # the label of the folder or table that it came with

    @property
    def key(self) -> str:
        """A short name that stays the same while the worklist changes."""
        return self.digest[:16]

    @property
    def value(self) -> float:
        """What is held against the threshold: probability, or the score of a series; 0: none."""
        value = self.answer.value if self.answer else self.prediction.tumor_probability
        return 0.0 if value is None or self.prediction.decision == "out of scope" else value

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(one.size for one in self.slices)


def keep_slice(
    prediction: Prediction, scan: Scan | None, header: SliceHeader | None = None
) -> KeptSlice:
    """Keep as much of a scan as the page shows; evidence is laid over what is kept."""
    if scan is None:
        return KeptSlice(replace(prediction, heatmap=None))
    kept = shrunk(scan.pixels)
    share = kept.shape[0] / scan.pixels.shape[0], kept.shape[1] / scan.pixels.shape[1]
    heatmap, matrix, spacing = prediction.heatmap, None, scan.spacing_mm
    if heatmap is not None and heatmap.matrix is not None:
        matrix = heatmap.matrix / np.array([share[1], share[0], 1.0])
    return KeptSlice(
        replace(prediction, heatmap=None),
        encode_pixels(kept),
        values=(0.0, 1.0)
        if _is_byte(kept)
        else (float(kept.min()), float(kept.max() - kept.min()) / 65_535),
        modality=scan.modality,
        spacing_mm=(spacing[0] / share[0], spacing[1] / share[1]) if spacing else None,
        orientation=header.orientation if header else None,
        evidence=heatmap.evidence if heatmap else None,
        prepared=encode_pixels(heatmap.prepared) if heatmap else b"",
        matrix=matrix,
    )


def series_as_prediction(answer: SeriesPrediction, name: str) -> Prediction:
    """Return the answer of a series in the form in which the history keeps answers.

    Its probability is None where no rule for series was fitted; then a note holds the score.
    """
    notes = (f"one answer for {answer.slices} slices: {describe_value(answer) or 'no score'}",)
    return Prediction(
        path=name,
        modality=answer.modality if answer.modality in MODALITIES else "",  # pyright: ignore
        tumor_probability=answer.probability,
        decision=answer.decision,
        type=answer.type,
        threshold=answer.threshold,
        bundle=answer.bundle,
        notes=(*notes, *answer.reasons),
        series=answer.series,
    )


def shrunk(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return a scan, [h, w], of at most SIDE pixels a side."""
    longest = max(pixels.shape)
    if longest <= SIDE:
        return np.asarray(pixels, np.float32)
    height, width = (max(1, round(side * SIDE / longest)) for side in pixels.shape)
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _is_byte(pixels: NDArray[Any]) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= 255)


def encode_pixels(pixels: NDArray[Any]) -> bytes:
    """Compress a scan, [h, w], to a PNG of at most SIDE pixels a side.

    Whole numbers from 0 to 255 are kept as they are; anything else is spread over 16 bits.
    """
    pixels = shrunk(pixels)
    low, high = float(pixels.min()), float(pixels.max())
    if _is_byte(pixels):
        stored = np.rint(pixels).astype(np.uint8)
    else:
        scale = 65_535 / (high - low) if high > low else 0.0
        stored = np.rint((pixels - low) * scale).astype(np.uint16)
    return cv2.imencode(".png", stored)[1].tobytes()


def decode_pixels(png: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the pixels of `encode_pixels` again."""
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)  # pyright: ignore


def packed_array(array: NDArray[Any] | None) -> bytes:
    """Write an array as .npy; nothing where there is none."""
    if array is None:
        return b""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def unpacked_array(data: bytes) -> NDArray[Any] | None:
    """Read what `packed_array` wrote."""
    return np.load(io.BytesIO(data), allow_pickle=False) if data else None


def doubt(result: Result) -> float:
    """Return how little an answer is decided: 1 at the threshold, 0 at the ends and without one."""
    answer, threshold = result.answer, result.prediction.threshold
    p = answer.value if answer else result.prediction.tumor_probability
    if p is None or threshold is None or result.prediction.decision == "out of scope":
        return 0.0
    side = 1 - threshold if p >= threshold else threshold
    return 1 - abs(p - threshold) / side if side > 0 else 1.0


def ordered(results: Sequence[Result], by: str, reviewed: Container[str]) -> tuple[Result, ...]:
    """Return results by one of ORDERS; what is alike keeps its order."""
    return tuple(sorted(results, key=lambda one: ORDERS[by](one, one.digest in reviewed)))


def label_of(decision: str, tumor_type: str, modality: str) -> str:
    """Return the label of a data set that a reader's judgment means; "" where it means none.

    >>> label_of("tumor", "glioma", "mri"), label_of("no tumor", "", "ct")
    ('mri_glioma', 'ct_healthy')
    """
    if decision not in ("tumor", "no tumor") or modality not in MODALITIES:
        return ""
    kind = "healthy" if decision == "no tumor" else "tumor"
    typed = tumor_type if kind == "tumor" and modality == "mri" and tumor_type in TYPES else kind
    return f"{modality}_{typed}"


def cases_csv(results: Sequence[Result], reviews: Mapping[str, Review]) -> bytes:
    """Write what a reader saw as `cases.csv`: put it beside the files, and the bench reads it.

    Scans without a review, or judged uncertain or out of scope, are no cases.
    """
    rows = [
        (path, label, one.prediction.modality, slices)
        for one, decision, label in _labeled(results, reviews)
        for path, slices in _cases_of(one, decision)
    ]
    return table_text(("path", "label", "modality", "slices"), rows).encode()


def tumor_series(results: Sequence[Result], reviews: Mapping[str, Review]) -> list[Result]:
    """Return the series that a reader saw a tumor in: nobody has said on which slices."""
    return [
        one
        for one, decision, _ in _labeled(results, reviews)
        if decision == "tumor" and one.answer is not None
    ]


def _labeled(
    results: Sequence[Result], reviews: Mapping[str, Review]
) -> Iterator[tuple[Result, str, str]]:
    """Yield each result whose review is a label, with decision and label."""
    for one in results:
        review = reviews.get(one.digest)
        if review and (label := label_of(review.decision, review.type, one.prediction.modality)):
            yield one, review.decision, label


def _cases_of(result: Result, decision: str) -> list[tuple[str, str]]:
    """Return the cases of a result: path, and for a series which of its slices the label is of.

    A series is named by its first file, in each folder that it lies in: others may lie beside it.
    """
    paths = list(dict.fromkeys(one.prediction.path for one in result.slices))
    if result.answer is None:
        return [(path, "") for path in paths]
    slices = UNKNOWN_SLICES if decision == "tumor" else ALL_SLICES
    firsts: dict[PurePosixPath, str] = {}
    for path in paths:
        firsts.setdefault(PurePosixPath(path).parent, path)
    return [(path, slices) for path in firsts.values()]
