"""Uploads become results: an answer, and as much of the scan as the page shows.

Nothing touches the disk. What is kept of a scan is an image of at most SIDE pixels, compressed
without loss, the prepared square and the heatmap; a queue holds at most MAX_RESULTS.
"""

import hashlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.files import table_text
from tumorlens.images.readers import attempt, read_scan_bytes
from tumorlens.labels import MODALITIES, TYPES
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress
from tumorlens.records import Modality, Prediction, Scan, Unusable
from tumorlens.services.store.reviews import Review
from tumorlens.settings import ReadLimits

SIDE = 512  # pixels kept of the longer side
MAX_RESULTS = 200  # in one queue
BATCH = 16  # scans that are held whole at a time
EXAMPLES = Path(__file__).with_name("examples")
Fetch = Callable[[], bytes]
# How a queue may be sorted: keys of a result, and of whether it was reviewed.
ORDERS: Mapping[str, Callable[["Result", bool], Any]] = {
    "dropped": lambda one, done: 0,
    "name": lambda one, done: one.name.lower(),
    "probability": lambda one, done: -(one.prediction.tumor_probability or 0.0),
    "doubt": lambda one, done: -doubt(one),
    "open": lambda one, done: done,
}


@dataclass(frozen=True)
class Result:
    """One answer with what is needed to draw it."""

    name: str
    digest: str  # SHA-256 of the file, hex
    prediction: Prediction
    untouched: bytes = b""  # PNG of the scan before anything was done to it, 8 or 16 bits
    is_example: bool = False  # a phantom that came with the dashboard
    values: tuple[float, float] = (0.0, 1.0)  # what 0 in `untouched` means, and a step of 1
    modality: Modality | None = None  # as the file says, with what follows
    spacing_mm: tuple[float, float] | None = None  # of the image as it is kept
    series: str = ""
    position: float | None = None

    @property
    def key(self) -> str:
        """A short name that stays the same while the queue changes."""
        return self.digest[:16]

    @property
    def scan(self) -> Scan:
        """The scan again, as far as it was kept."""
        low, step = self.values
        pixels = decode_pixels(self.untouched).astype(np.float32) * np.float32(step) + np.float32(
            low
        )
        return Scan(pixels, self.name, modality=self.modality, spacing_mm=self.spacing_mm)


def predict_files(
    files: Sequence[tuple[str, Fetch]],
    predictor: Predictor,
    *,
    limits: ReadLimits,
    progress: Progress | None = None,
    is_example: bool = False,
) -> Iterator[Result]:
    """Read and predict files one batch after the other; a file above `limits` is refused.

    A file that cannot be used gives a result whose prediction has its `error` set.
    """
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        opened = [_open(name, fetch(), limits) for name, fetch in batch]
        scans = [scan for _, scan in opened if isinstance(scan, Scan)]
        answers = iter(predictor.predict_scans(scans, heatmaps=True)) if scans else iter(())
        for (name, _), (digest, scan) in zip(batch, opened, strict=True):
            if isinstance(scan, Scan):
                yield _result(name, digest, next(answers), scan, is_example)
            else:
                failed = Prediction(name, bundle=predictor.bundle.version, error=scan)
                yield Result(name, digest, failed, b"", is_example)
        if progress:
            progress(start + len(batch), len(files))


def _result(name: str, digest: str, prediction: Prediction, scan: Scan, is_example: bool) -> Result:
    """Keep as much of a scan as the page shows; evidence is laid over what is kept."""
    kept = shrunk(scan.pixels)
    share = kept.shape[0] / scan.pixels.shape[0], kept.shape[1] / scan.pixels.shape[1]
    heatmap = prediction.heatmap
    if heatmap is not None and heatmap.matrix is not None and share != (1.0, 1.0):
        matrix = heatmap.matrix / np.array([share[1], share[0], 1.0])
        prediction = replace(prediction, heatmap=replace(heatmap, matrix=matrix))
    spacing = scan.spacing_mm
    return Result(
        name, digest, prediction, encode_pixels(kept), is_example,
        values=(0.0, 1.0) if _is_byte(kept) else
               (float(kept.min()), float(kept.max() - kept.min()) / 65_535),
        modality=scan.modality,
        spacing_mm=(spacing[0] / share[0], spacing[1] / share[1]) if spacing else None,
        series=scan.series,
        position=scan.position,
    )  # fmt: skip


def predict_examples(predictor: Predictor) -> tuple[Result, ...]:
    """Predict the phantoms that come with the dashboard, the likeliest tumor first."""
    files = [(path.name, path.read_bytes) for path in sorted(EXAMPLES.glob("*.png"))]
    limits = ReadLimits(2**20, 2**20)
    found = predict_files(files, predictor, limits=limits, is_example=True)
    return tuple(sorted(found, key=lambda r: -(r.prediction.tumor_probability or 0)))


def add_results(queue: Sequence[Result], added: Sequence[Result]) -> tuple[tuple[Result, ...], int]:
    """Return the queue with new results behind the old ones, and how many found no room.

    A file that is there already keeps its place and takes the new answer.
    """
    held = {result.digest: result for result in queue}
    lost = 0
    for result in added:
        if result.digest in held or len(held) < MAX_RESULTS:
            held[result.digest] = result
        else:
            lost += 1
    return tuple(held.values()), lost


def _open(name: str, data: bytes, limits: ReadLimits) -> tuple[str, Scan | str]:
    """Return the digest of a file, and its scan or what is wrong with it."""
    digest = hashlib.sha256(data).hexdigest()
    scan = attempt(read_scan_bytes, data, source=name, limits=limits)
    return digest, scan.reason if isinstance(scan, Unusable) else scan


def shrunk(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a scan, [h, w], of at most SIDE pixels a side."""
    longest = max(pixels.shape)
    if longest <= SIDE:
        return pixels
    height, width = (max(1, round(side * SIDE / longest)) for side in pixels.shape)
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _is_byte(pixels: NDArray[np.floating]) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= 255)


def encode_pixels(pixels: NDArray[np.floating]) -> bytes:
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


def doubt(result: Result) -> float:
    """Return how little an answer is decided: 1 at the threshold, 0 at the ends and without one."""
    p, threshold = result.prediction.tumor_probability, result.prediction.threshold
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
        (one.name, label, one.prediction.modality)
        for one in results
        if (review := reviews.get(one.digest))
        and (label := label_of(review.decision, review.type, one.prediction.modality))
    ]
    return table_text(("path", "label", "modality"), rows).encode()
