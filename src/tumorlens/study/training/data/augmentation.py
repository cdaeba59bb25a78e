"""What a training image may look like: another pose, another scanner, another export.

All geometry is one affine warp. The photometric part aims at what tells scanners and
sequences apart (gamma, contrast, bias field, resolution, noise, sharpening), because a
network that can read the scanner will.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


def augment_batch(
    images: NDArray[np.uint8], rng: Rng, *, strength: float = 1.0, side: int | None = None
) -> NDArray[np.uint8]:
    """Augment prepared images, uint8 [n, s, s], to [n, side, side]; default: the side they have.

    `strength` 0 changes nothing but the side.
    """
    return np.stack([augment(image, rng, strength=strength, side=side) for image in images])


def augment(
    image: NDArray[np.uint8], rng: Rng, *, strength: float = 1.0, side: int | None = None
) -> NDArray[np.uint8]:
    """Augment one prepared image, uint8 [s, s], to [side, side]; default: the side it has."""
    return augment_marked(image[..., None], rng, strength=strength, side=side)[..., 0]


def augment_marked(
    channels: NDArray[np.uint8],
    rng: Rng,
    *,
    strength: float = 1.0,
    photometric: float = 1.0,
    side: int | None = None,
) -> NDArray[np.uint8]:
    """Augment an image with marks on it, uint8 [s, s, 1 + marks], to [side, side, 1 + marks].

    The marks, such as where a tumor lies, follow the pose and keep their values.
    `photometric` is the share of the strength that all but the pose has; 0: pose alone.
    """
    length = side or int(channels.shape[0])
    if strength <= 0:
        return _resized(channels, length)
    gray = strength * photometric
    if rng.random() < 0.2 * min(1.0, gray):
        channels = _peeled(channels, rng)
    channels = _warp(channels, rng, strength, length)
    image = np.ascontiguousarray(channels[..., 0])
    for chance, change in ((0.8, _tone), (0.4, _bias_field), (0.3, _resolution), (0.15, _sharpen),
                           (0.3, _noise), (0.15, _cutout)):  # fmt: skip
        if rng.random() < chance * min(1.0, gray):
            image = change(image, rng, gray)
    if gray > 1 and rng.random() < 0.25:
        image = _blur(image, rng, gray)
    return np.concatenate([image[..., None], channels[..., 1:]], axis=-1)


def _resized(channels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if channels.shape[0] == side:
        return channels
    small = cv2.resize(channels, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(side, side, -1)


def _peeled(channels: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Blank a rim of the head, as exports without the skull do, and crop to what is left.

    The image stays as it is where the rim holds much of what is marked. Without a mark the
    rim is thin: a meningioma may lie in it.
    """
    side, marked = len(channels), channels[..., 1:].any()
    depth = side * rng.uniform(0.02, 0.11 if marked else 0.07)
    head = cv2.morphologyEx(
        (channels[..., 0] > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)
    )
    inside = cv2.distanceTransform(np.pad(head, 1), cv2.DIST_L2, 3)[1:-1, 1:-1] > depth
    left = channels * inside[..., None]
    if inside.sum() < 0.1 * side**2 or left[..., 1:].sum() < 0.6 * channels[..., 1:].sum():
        return channels
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    length = int(max(np.ptp(rows), np.ptp(columns))) + 5
    matrix = np.eye(2) * side / length
    offset = (side - 1) / 2 - matrix @ [columns.mean(), rows.mean()]
    cropped = cv2.warpAffine(left, np.column_stack([matrix, offset]), (side, side))
    return np.asarray(cropped, np.uint8).reshape(channels.shape)


def _warp(channels: NDArray[np.uint8], rng: Rng, strength: float, side: int) -> NDArray[np.uint8]:
    angle = np.deg2rad(rng.normal(0, 12 * strength))
    scale = np.exp(rng.normal(0, 0.08 * strength, 2))
    shear = rng.normal(0, 0.06 * strength)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.array([[1, shear], [0, 1]]) @ np.diag(scale)
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    if rng.random() < 0.2 * min(1.0, strength):
        matrix[:, 1] *= -1
    if rng.random() < 0.05 * min(1.0, strength):
        matrix = matrix[:, ::-1]
    matrix *= side / channels.shape[0]
    shift = rng.normal(0, 0.04 * strength * side, 2)
    offset = (side - 1) / 2 + shift - matrix @ np.full(2, (channels.shape[0] - 1) / 2)
    warped = cv2.warpAffine(
        channels, np.column_stack([matrix, offset]), (side, side), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return np.asarray(warped, np.uint8).reshape(side, side, -1)


def _tone(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    """Bend and stretch the gray scale by one table; black stays black (air is air).

    Besides gamma, contrast and brightness, a bend with free knots: sequences and scanners
    differ in more than a gamma.
    """
    levels = np.linspace(0, 1, 256)
    curve = levels ** np.exp(rng.normal(0, 0.25 * strength))
    if rng.random() < 0.4:
        knots = np.sort(np.linspace(0, 1, 6) + rng.normal(0, 0.07 * strength, 6))
        curve = np.interp(curve, np.linspace(0, 1, 6), knots)
    contrast = np.exp(rng.normal(0, 0.15 * strength))
    brightness = rng.normal(0, 0.06 * strength)
    curve = (curve - 0.5) * contrast + 0.5 + brightness
    if rng.random() < 0.05 * strength:
        curve = 1 - curve
    curve = np.clip(curve, 0, 1) * 255
    curve[0] = 0
    return np.asarray(cv2.LUT(image, curve.astype(np.uint8)), np.uint8)


def _bias_field(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    coarse = np.exp(rng.normal(0, 0.2 * strength, (4, 4))).astype(np.float32)
    field = cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image * field, 0, 255).astype(np.uint8)


def _resolution(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    side = image.shape[0]
    small = max(24, int(side * rng.uniform(1 - 0.45 * min(1.0, strength), 1.0)))
    coarse = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _sharpen(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.0))
    amount = rng.uniform(0.2, 1.2) * strength
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), np.uint8)


def _blur(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0) * strength)
    return np.asarray(blurred, np.uint8)


def _noise(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    grain = rng.standard_normal(image.shape, dtype=np.float32) * (rng.uniform(1, 10) * strength)
    return np.clip(image + grain * (image > 0), 0, 255).astype(np.uint8)


def _cutout(image: NDArray[np.uint8], rng: Rng, strength: float) -> NDArray[np.uint8]:
    """Blank a small square (DeVries and Taylor, 2017)."""
    side = image.shape[0]
    size = int(side * rng.uniform(0.04, 0.04 + 0.08 * strength))
    row, column = rng.integers(0, side - size, 2)
    image = image.copy()
    image[row : row + size, column : column + size] = 0
    return image
