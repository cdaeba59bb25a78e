"""Masks of volumes: which slice of a mask lies on which slice of a scan.

A mask is a volume on the grid of its scan (NIfTI, a stack of TIFF pages), matched by place, or a
DICOM segmentation, matched by the instances it refers to. What is above 0 is marked, whatever
its number; the segments of a DICOM segmentation are taken together.
"""

import io
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import UnreadableImageError
from tumorlens.images.dicom_header import parse, parsing
from tumorlens.images.frames import file_of, split_frame_path
from tumorlens.images.readers import open_images, read_bytes, read_scan, slice_headers
from tumorlens.images.slices import SliceHeader

if TYPE_CHECKING:
    from pydicom import Dataset

SAME_PLACE_MM = 0.5
SAME_DIRECTION = 0.01  # of a cosine
_SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_DICOM = b"DICM"
Marked = NDArray[np.bool_]
Instance = tuple[str, int | None]  # unique id of a slice, and its frame from 0 where it has some


def read_mask(mask: str | Path, scan: str | Path) -> Marked:
    """Return what a mask marks of one scan, [h, w]; each may be named as FILE#FRAME.

    Raises an ImageError where the mask cannot be read.
    """
    if _is_segmentation(mask):
        marked = read_segmentation(mask)
        [header] = _headers_of(scan)
        return marked.get(_instance(header), np.zeros(header.matrix, bool))
    return read_scan(mask).pixels > 0


def match_mask(mask: Path, slices: tuple[SliceHeader, ...]) -> list[tuple[int | None, bool]] | None:
    """Return, for each slice of a volume, the frame of its mask and whether that marks anything.

    None where the mask does not lie on the grid of the volume. A slice that a DICOM segmentation
    does not refer to is not marked; the frame of those is None. Raises an ImageError.
    """
    if _is_segmentation(mask):
        _, named = _facts(str(mask), os.stat(mask).st_mtime_ns)
        if named and named.isdisjoint(header.instance for header in slices):
            return None  # of another series: its pixels are not needed
        marked = read_segmentation(mask)
        found = [marked.get(_instance(header)) for header in slices]
        if all(pixels is None for pixels in found):
            return None
        return [(None, pixels is not None and bool(pixels.any())) for pixels in found]
    frames = {(scan.frame or 0): bool((scan.pixels > 0).any()) for scan in open_images(mask)}
    own = slice_headers(mask)
    chosen = [_frame_at(header, own, count=len(slices)) for header in slices]
    if len(own) != len(slices) or any(frame is None for frame in chosen):
        return None
    return [(frame, frames.get(frame or 0, False)) for frame in chosen]


def _frame_at(header: SliceHeader, masks: tuple[SliceHeader, ...], *, count: int) -> int | None:
    """Return the frame of the mask slice on the same grid; without positions, by number."""
    if header.corner is not None:
        chosen = (mask for mask in masks if _is_same_place(header, mask))
    else:
        chosen = (
            mask
            for mask in masks
            if header.frame is not None
            and (mask.frame, mask.matrix) == (header.frame % count, header.matrix)
        )
    return next((mask.frame or 0 for mask in chosen), None)


def _is_same_place(one: SliceHeader, other: SliceHeader) -> bool:
    if one.matrix != other.matrix or None in (one.orientation, other.orientation, other.corner):
        return False
    return bool(
        np.allclose(one.orientation or (), other.orientation or (), rtol=0, atol=SAME_DIRECTION)
        and np.allclose(one.corner or (), other.corner or (), rtol=0, atol=SAME_PLACE_MM)
    )


def _headers_of(scan: str | Path) -> list[SliceHeader]:
    file, frame = split_frame_path(scan)
    found = [h for h in slice_headers(file) if frame is None or h.frame == frame]
    if len(found) != 1:
        raise UnreadableImageError(scan, "is not one DICOM slice", "Name a slice of the series.")
    return found


def _instance(header: SliceHeader) -> Instance:
    return header.instance, header.frame


def _is_segmentation(path: str | Path) -> bool:
    try:
        with open(file_of(path), "rb") as file:
            start = file.read(1024)
    except OSError:
        return False  # reading it gives the error
    return start[128:132] == _DICOM and any(uid.encode() in start for uid in _SEGMENTATION)


def is_automatic(path: str | Path) -> bool:
    """Tell whether a program alone made every segment, as those of predictions; False if unknown.

    Raises UnreadableImageError where the file is damaged.
    """
    return _facts(str(path), os.stat(path).st_mtime_ns)[0]


@lru_cache(maxsize=4096)
def _facts(path: str, _changed_ns: int) -> tuple[bool, frozenset[str]]:
    """Return whether a program alone made it, and the instances that it refers to; no pixels."""
    with parsing(path):
        dataset = parse(io.BytesIO(read_bytes(path)), path)
        segments = dataset.get("SegmentSequence") or []
        kinds = {str(segment.get("SegmentAlgorithmType")) for segment in segments}
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
        named = frozenset(instance for group in groups for instance, _ in _sources(group))
    return kinds == {"AUTOMATIC"}, named


def read_segmentation(path: str | Path) -> Mapping[Instance, Marked]:
    """Return what a DICOM segmentation marks on each slice that it refers to, [rows, columns].

    Raises UnreadableImageError where it is damaged or refers to no slice.
    """
    return _segmentation(str(path), os.stat(path).st_mtime_ns)


@lru_cache(maxsize=4)
def _segmentation(path: str, _changed_ns: int) -> Mapping[Instance, Marked]:
    marked: dict[Instance, Marked] = {}
    with parsing(path):
        dataset = parse(io.BytesIO(read_bytes(path)), path)
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
        frames = np.asarray(dataset.pixel_array).reshape(-1, dataset.Rows, dataset.Columns)
        half = int(dataset.get("MaximumFractionalValue") or 1) / 2
        for group, pixels in zip(groups, frames, strict=True):
            for instance in _sources(group):
                marked[instance] = marked.get(instance, np.zeros(pixels.shape, bool)) | (
                    pixels > half
                )
    if not marked:
        fix = "Export it with references to the slices, or convert it to NIfTI on their grid."
        raise UnreadableImageError(path, "refers to no slice", fix)
    return marked


def _sources(group: "Dataset") -> list[Instance]:
    """Return the slices that a frame was derived from."""
    images = [
        image
        for derivation in group.get("DerivationImageSequence") or []
        for image in derivation.get("SourceImageSequence") or []
    ]
    return [
        (str(image.ReferencedSOPInstanceUID), number)
        for image in images
        for number in _frame_numbers(image)
    ]


def _frame_numbers(image: "Dataset") -> list[int | None]:
    """Return the frames that are referred to, from 0; of a classic slice none."""
    numbers = image.get("ReferencedFrameNumber")
    if numbers is None:
        return [None]
    listed = [numbers] if isinstance(numbers, int | str) else list(numbers)
    return [int(number) - 1 for number in listed]
