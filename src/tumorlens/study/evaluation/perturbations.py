"""What scanners, exports and mail do to a scan, at rising strength.

Each works on the scan as it was stored, before the head is looked for: the whole path is tested,
and not the network alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tumorlens.records import Scan

Pixels = NDArray[np.float32]
Change = Callable[[Pixels, float, np.random.Generator], Pixels]  # pixels in 0 to 1, strength


@dataclass(frozen=True)
class Perturbation:
    """One row of PERTURBATIONS."""

    unit: str  # of the strength
    strengths: tuple[float, ...]
    neutral: float  # the strength that changes nothing
    change: Change


def perturbed(scan: Scan, name: str, strength: float, *, seed: int = 0) -> Scan:
    """Give a scan after one perturbation, in 0 to 1 between its darkest and brightest percentile.

    The random ones depend on the seed alone.
    """
    row = PERTURBATIONS[name]
    low, high = np.percentile(scan.pixels, [0.5, 99.5])
    if high <= low:
        low, high = float(scan.pixels.min()), float(scan.pixels.max())
    unit = ((scan.pixels - low) / max(high - low, 1e-12)).astype(np.float32)
    changed = row.change(unit, strength, np.random.default_rng(seed))
    return replace(scan, pixels=np.ascontiguousarray(changed, np.float32))


def _noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Add noise as magnitude images have it (Rician: never below the dark)."""
    real = pixels + rng.normal(0, strength, pixels.shape)
    return np.hypot(real, rng.normal(0, strength, pixels.shape)).astype(np.float32)


def _blur(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    sigma = strength / 100 * max(pixels.shape)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)


def _contrast(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    """Bend the grey scale; a straight stretch would be undone when the scan is prepared."""
    return (np.clip(pixels, 0, 1) ** strength).astype(np.float32)


def _rotation(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, strength, 1.0)
    corners = np.abs(matrix[:, :2]) @ (width, height)
    size = tuple(int(np.ceil(length - 1e-6)) for length in corners)  # so that no corner is cut off
    matrix[:, 2] += (corners - (width, height)) / 2
    dark = float(np.percentile(pixels, 1))
    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderValue=(dark,)), np.float32)


def _jpeg(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    stored = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None]
    data = simplejpeg.encode_jpeg(stored, quality=int(strength), colorspace="GRAY")
    read = simplejpeg.decode_jpeg(data, colorspace="GRAY")
    return read[..., 0].astype(np.float32) / 255


def _resolution(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    size = tuple(max(16, round(length * strength)) for length in pixels.shape[::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


def _inversion(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    return ((1 - pixels) * strength + pixels * (1 - strength)).astype(np.float32)


PERTURBATIONS: Mapping[str, Perturbation] = {
    "noise": Perturbation("of the grey scale", (0.05, 0.1, 0.2), 0, _noise),
    "blur": Perturbation("% of the longer side", (0.5, 1, 2), 0, _blur),
    "contrast": Perturbation("exponent", (0.5, 0.7, 1.4, 2), 1, _contrast),
    "rotation": Perturbation("degrees", (10, 45, 90, 180), 0, _rotation),
    "JPEG": Perturbation("quality", (50, 20, 5), 100, _jpeg),
    "resolution": Perturbation("of the side", (0.5, 0.25, 0.125), 1, _resolution),
    "inversion": Perturbation("of the grey scale", (1,), 0, _inversion),
}
