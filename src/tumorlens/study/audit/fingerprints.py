"""What copies are recognised by: hashes of bytes and pixels, perceptual hashes, thumbnails."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BlankImageError, ImageError
from tumorlens.images.raster import read_scan_bytes
from tumorlens.inputs.prepare import find_head
from tumorlens.records import Scan

THUMB_SIDE = 96
HASH_SIDE = 16  # 16 x 16 low DCT frequencies: 256 bits
_DCT_SIDE = 64
_HIGH_PASS_SIGMA = 2.0  # pixels of the thumbnail
_CONTRAST_SIGMA = 4.0
_CONTRAST_FLOOR = 0.3  # of the whole picture's deviation, so that noise in air stays small
ORIENTATIONS = ("as is", "flip left-right", "flip up-down", "rotate 180",
                "transpose", "rotate 90", "rotate 270", "anti-transpose")  # fmt: skip
VIEWS = ("frame", "content")


@dataclass(frozen=True)
class Fingerprints:
    """Of n files; rows of unreadable ones are zero and `usable` is False there."""

    content: tuple[str, ...]  # sha256 of the bytes
    pixels: tuple[str, ...]  # sha256 of shape and decoded grey pixels
    hashes: NDArray[np.uint64]  # [n, views, orientations, 4]: 256 bits
    thumbs: NDArray[np.int8]  # [n, views, 96, 96] high-passed, standardised
    usable: NDArray[np.bool_]  # [n]


def orient(picture: NDArray, orientation: int) -> NDArray:
    """Turn or mirror the last two axes; `orientation` is a row of ORIENTATIONS."""
    turned = picture.swapaxes(-1, -2) if orientation >= 4 else picture
    flip_x, flip_y = orientation in (1, 3, 5, 7), orientation in (2, 3, 6, 7)
    return turned[..., :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def fingerprint(
    paths: Sequence[Path], *, progress: Callable[[int, int], None] | None = None
) -> Fingerprints:
    """Read every file once; unreadable files are marked, not raised."""
    n = len(paths)
    hashes = np.zeros((n, len(VIEWS), len(ORIENTATIONS), 4), np.uint64)
    thumbs = np.zeros((n, len(VIEWS), THUMB_SIDE, THUMB_SIDE), np.int8)
    content, pixels = [""] * n, [""] * n
    usable = np.zeros(n, bool)

    def one(i: int) -> None:
        try:
            data = paths[i].read_bytes()
            content[i] = hashlib.sha256(data).hexdigest()
            scan = read_scan_bytes(data, source=str(paths[i]))
        except (OSError, ImageError):
            return
        grey = np.ascontiguousarray(scan.pixels)
        pixels[i] = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
        for view, picture in enumerate((grey, _content_crop(scan))):
            hashes[i, view] = perceptual_hashes(picture)
            thumbs[i, view] = thumbnail(picture)
        usable[i] = True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(one, range(n)), start=1):
            if progress and (done % 64 == 0 or done == n):
                progress(done, n)
    return Fingerprints(tuple(content), tuple(pixels), hashes, thumbs, usable)


def _content_crop(scan: Scan) -> NDArray[np.float32]:
    try:
        head = find_head(scan)
    except BlankImageError:
        return scan.pixels
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    crop = scan.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.ascontiguousarray(crop)


def perceptual_hashes(picture: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Hash the low DCT frequencies for all orientations of a picture: [8, 4].

    After the pHash of Zauner (2010), with 256 bits. Mirroring a picture flips the sign of its
    odd frequencies and transposing it transposes them, so one transform serves all eight.
    """
    square = cv2.resize(picture, (_DCT_SIDE, _DCT_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(square)[:HASH_SIDE, :HASH_SIDE]
    sign = np.where(np.arange(HASH_SIDE) % 2 == 0, 1.0, -1.0).astype(np.float32)
    variants = np.empty((len(ORIENTATIONS), HASH_SIDE, HASH_SIDE), np.float32)
    for orientation in range(len(ORIENTATIONS)):
        turned = low.T if orientation >= 4 else low
        across = sign if orientation in (1, 3, 5, 7) else 1.0
        down = sign[:, None] if orientation in (2, 3, 6, 7) else 1.0
        variants[orientation] = turned * across * down
    flat = variants.reshape(len(ORIENTATIONS), -1)
    bits = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)


def thumbnail(picture: NDArray[np.float32]) -> NDArray[np.int8]:
    """Shrink, high-pass and normalise the local contrast; int8 of deviation 20, [96, 96].

    Public sets hold copies that were brightened, clipped, sharpened and re-encoded. Dividing
    by the local contrast undoes what such changes do to edges, so that the copies correlate
    and neighboring slices of one patient do not.
    """
    small = cv2.resize(picture, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), _HIGH_PASS_SIGMA)
    spread = float(detail.std())
    if spread <= 1e-4 * float(np.abs(small).max()):  # flat, but for rounding
        return np.zeros(detail.shape, np.int8)
    local = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST_SIGMA))
    detail /= local + _CONTRAST_FLOOR * spread
    detail -= detail.mean()
    return np.clip(np.rint(detail * (20 / float(detail.std()))), -127, 127).astype(np.int8)
