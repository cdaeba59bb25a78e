"""What copies are recognized by: hashes of bytes and pixels, perceptual hashes, thumbnails."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BlankImageError, ImageError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.cache import keep_prepared
from tumorlens.inputs.prepare import InputSpec, find_head, prepare
from tumorlens.inputs.row_store import Place, Rows, hash_files, in_chunks, load_index, write_chunk
from tumorlens.progress import Progress, silent
from tumorlens.records import PreparedScan, Scan

THUMB_SIDE = 96
HASH_SIDE = 16  # 16 x 16 low DCT frequencies: 256 bits
_DCT_SIDE = 64
_HIGH_PASS_SIGMA = 2.0  # pixels of the thumbnail
_CONTRAST_SIGMA = 4.0
_CONTRAST_FLOOR = 0.3  # of the whole image's deviation, so that noise in air stays small
ORIENTATIONS = ("as is", "flip left-right", "flip up-down", "rotate 180",
                "transpose", "rotate 90", "rotate 270", "anti-transpose")  # fmt: skip
VIEWS = ("frame", "content", "inner")  # the last without what a crop of 5 % takes away
CROP = 0.05  # of each side
CORE = 0.12  # of each side, what a larger crop takes away
GRAY_SIDE = 128
_METHOD = 5  # raised whenever what is stored changes

PRINT = np.dtype([
    ("pixels", np.uint8, 32),  # sha256 of shape and decoded gray pixels
    ("is_blank", np.bool_),  # nothing is seen in the frame
    ("hashes", np.uint64, (len(VIEWS), len(ORIENTATIONS), 4)),  # 256 bits each
    ("thumbs", np.int8, (2, THUMB_SIDE, THUMB_SIDE)),  # of the first two views
    ("gray", np.uint16, (GRAY_SIDE, GRAY_SIDE)),  # the frame, from darkest to brightest
    ("box", np.float32, 4),  # of the content in the frame: left, top, right, bottom, 0 to 1
])  # fmt: skip


@dataclass(frozen=True)
class Fingerprints:
    """Of n files; rows of unreadable ones are zero and `usable` is False there."""

    content: tuple[str, ...]  # sha256 of the bytes, "" where they cannot be read
    pixels: tuple[str, ...]  # sha256 of shape and decoded gray pixels
    hashes: NDArray[np.uint64]  # [n, views, orientations, 4]: 256 bits
    usable: NDArray[np.bool_]  # [n]
    is_blank: NDArray[np.bool_]  # [n] equal to any other blank image, and a copy of none
    rows: Rows

    def thumbs(self, positions: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return high-passed, standardized images: [len(positions), 96, 96].

        The inner view is cut out of the frame's image.
        """
        inner = VIEWS.index("inner")
        chosen = np.zeros((len(positions), THUMB_SIDE, THUMB_SIDE), np.int8)
        stored = np.where(views == inner, 0, views)
        self.rows.take(positions, chosen, field="thumbs", part=stored)
        for row in np.flatnonzero(views == inner).tolist():
            chosen[row] = _without_edge(chosen[row])
        return chosen

    def grays(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return small frames: [len(positions), 128, 128], 0 to 65535."""
        grays = np.zeros((len(positions), GRAY_SIDE, GRAY_SIDE), np.uint16)
        return self.rows.take(positions, grays, field="gray").astype(np.float32)

    def boxes(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return where the content is in the frame: left, top, right, bottom, 0 to 1."""
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (len(positions), 1))
        return self.rows.take(positions, boxes, field="box")


def orient(image: NDArray, orientation: int) -> NDArray:
    """Turn or mirror the last two axes; `orientation` is a row of ORIENTATIONS."""
    turned = image.swapaxes(-1, -2) if orientation >= 4 else image
    flip_x, flip_y = orientation in (1, 3, 5, 7), orientation in (2, 3, 6, 7)
    return turned[..., :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def fingerprint(
    paths: Sequence[Path],
    *,
    cache: Path,
    spec: InputSpec | None = None,
    progress: Progress = silent,
) -> Fingerprints:
    """Read each distinct content once and keep what was computed under `cache`.

    Unreadable files are marked, not raised, and tried again the next time. With `spec` the scans
    that are read are prepared as well, for `prepare_files` to find: to decode a file and to find
    its head is most of either work.
    """
    folder = cache / "fingerprints" / f"v{_METHOD}"
    folder.mkdir(parents=True, exist_ok=True)
    content = hash_files(paths)
    stored = load_index(folder)
    first: dict[str, int] = {}
    for position, key in enumerate(content):
        if key and key not in stored:
            first.setdefault(key, position)
    done = len(paths) - len(first)
    for positions in in_chunks(list(first.values())):
        rows, good, prepared = _print_files([paths[p] for p in positions], spec)
        keys = [content[p] for p in positions]
        if good.any():
            write_chunk(folder, [keys[i] for i in np.flatnonzero(good)], rows[good])
        if spec and prepared:
            names = [keys[i] for i in prepared]
            keep_prepared(names, list(prepared.values()), spec, cache=cache)
        done += len(positions)
        progress(done, len(paths))
    return _gather(content, load_index(folder))


def _print_files(
    paths: Sequence[Path], spec: InputSpec | None
) -> tuple[NDArray, NDArray[np.bool_], dict[int, PreparedScan]]:
    rows, good = np.zeros(len(paths), PRINT), np.zeros(len(paths), bool)
    prepared: dict[int, PreparedScan] = {}

    def one(i: int) -> None:
        try:
            scan = read_scan(paths[i])
        except ImageError:
            return
        head = _head(scan)
        _fill(rows[i], scan, head)
        good[i] = True
        if spec and head is not None:
            with suppress(BlankImageError):
                prepared[i] = prepare(scan, spec, head=head)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(len(paths))))
    return rows, good, prepared


def _head(scan: Scan) -> NDArray[np.bool_] | None:
    try:
        return find_head(scan)
    except BlankImageError:
        return None


def _fill(row: np.void, scan: Scan, head: NDArray[np.bool_] | None) -> None:
    gray = np.ascontiguousarray(scan.pixels)
    digest = hashlib.sha256(repr(gray.shape).encode() + gray.tobytes()).digest()
    row["pixels"] = np.frombuffer(digest, np.uint8)
    box = (0, 0, *gray.shape[::-1]) if head is None else _content_box(head)
    crop = np.ascontiguousarray(gray[box[1] : box[3], box[0] : box[2]])
    row["box"] = np.array(box) / (*gray.shape[::-1], *gray.shape[::-1])
    row["gray"] = _small_gray(gray)
    images = (gray, crop, _without_edge(gray))
    for view, image in enumerate(images):
        row["hashes"][view] = perceptual_hashes(image)
    for view, image in enumerate(images[:2]):
        row["thumbs"][view] = thumbnail(image)
    row["is_blank"] = not row["thumbs"][0].any()


def _gather(content: tuple[str, ...], stored: dict[str, Place]) -> Fingerprints:
    n = len(content)
    rows = Rows([stored.get(key) for key in content])
    everyone = np.arange(n)
    usable = np.array([key in stored for key in content], bool)
    hashes = np.zeros((n, len(VIEWS), len(ORIENTATIONS), 4), np.uint64)
    digests = np.zeros((n, 32), np.uint8)
    rows.take(everyone, hashes, field="hashes")
    is_blank = np.zeros(n, bool)
    rows.take(everyone, digests, field="pixels")
    rows.take(everyone, is_blank, field="is_blank")
    pixels = tuple(d.tobytes().hex() if ok else "" for d, ok in zip(digests, usable, strict=True))
    return Fingerprints(content, pixels, hashes, usable, is_blank, rows)


def _without_edge(image: NDArray) -> NDArray:
    """Cut 5 % off each side and bring what is left to the old size."""
    height, width = image.shape
    rows, columns = round(CROP * height), round(CROP * width)
    inside = image[rows : height - rows, columns : width - columns].astype(np.float32)
    resized = cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(resized).astype(image.dtype) if image.dtype == np.int8 else resized


def _content_box(head: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _small_gray(gray: NDArray[np.float32]) -> NDArray[np.uint16]:
    small = cv2.resize(gray, (GRAY_SIDE, GRAY_SIDE), interpolation=cv2.INTER_AREA)
    span = float(small.max() - small.min())
    return np.rint((small - small.min()) * (65535 / max(span, 1e-9))).astype(np.uint16)


def perceptual_hashes(image: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Hash the low DCT frequencies for all orientations of an image: [8, 4].

    After the pHash of Zauner (2010), with 256 bits. Mirroring an image flips the sign of its
    odd frequencies and transposing it transposes them, so one transform serves all eight.
    """
    square = cv2.resize(image, (_DCT_SIDE, _DCT_SIDE), interpolation=cv2.INTER_AREA)
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


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.int8]:
    """Shrink, high-pass and normalize the local contrast; int8 of deviation 20, [96, 96].

    Public sets hold copies that were brightened, clipped, sharpened and re-encoded. Dividing
    by the local contrast undoes what such changes do to edges, so that the copies correlate
    and neighboring slices of one patient do not.
    """
    small = cv2.resize(image, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), _HIGH_PASS_SIGMA)
    spread = float(detail.std())
    if spread <= 1e-4 * float(np.abs(small).max()):  # flat, but for rounding
        return np.zeros(detail.shape, np.int8)
    local = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST_SIGMA))
    detail /= local + _CONTRAST_FLOOR * spread
    detail -= detail.mean()
    return np.clip(np.rint(detail * (20 / float(detail.std()))), -127, 127).astype(np.int8)
