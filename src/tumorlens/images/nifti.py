"""NIfTI volumes become Scans: the slices of a volume that was brought to RAS, in usual views.

Slices are cut across the axis with the thickest voxels, axial where none stands out, and lie as
a viewer of DICOM shows them: the patient's right at the left, front or top of the head up.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidPixelsError,
    UnreadableImageError,
)
from tumorlens.images.raster import MIN_SIDE, first_line
from tumorlens.images.slices import SliceHeader
from tumorlens.records import Modality, Scan
from tumorlens.settings import ReadLimits

MAX_NAN_SHARE = 0.01
THICK = 1.5  # times the other voxel sides: then slices were taken across this axis
CT_AIR, CT_AIR_SHARE = (-1100.0, -900.0), 0.05  # a volume with so much air holds CT numbers
PAIR = (".hdr", ".img")  # header and voxels in two files
_GZIP = b"\x1f\x8b"
_SAVE_AGAIN = "Save it again as .nii.gz."
# What numbers a voxel may be made of, by NIfTI's codes of data types.
_REFUSED = {32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
            128: "colors (RGB)", 2304: "colors (RGBA)", 1: "single bits",
            1536: "floats of 128 bits"}  # fmt: skip
# Axis across which slices are cut -> the axes along a row and down a column of their image.
_VIEWS = {2: (0, 1), 1: (0, 2), 0: (1, 2)}  # axial, coronal, sagittal
_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_ERRORS = (OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError,
           RuntimeError, AttributeError, struct.error, zlib.error)  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """How a volume lies once it is brought to RAS."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]  # [4, 4], voxels to mm
    turns: NDArray[Any]  # [3, 2], as of nibabel.orientations
    is_known: bool  # whether the file says how it lies
    across: int  # the axis that slices are cut across
    notes: tuple[str, ...]


def decode_nifti(data: bytes, source: str, limits: ReadLimits) -> tuple[Scan, ...]:
    """Read every slice of a volume, in order along the normal; raises an ImageError."""
    with _parsing(source):
        file = io.BytesIO(_unpacked(data, source, limits))
        header = _header(file, source, limits)
        if bytes(header["magic"])[:3] == b"ni1":
            fact = "is the header of a pair, whose voxels are not here"
            raise UnreadableImageError(source, fact, _SAVE_AGAIN)
        grid = _grid(header)
        volume, notes = _voxels(file, header, grid, source, limits)
        modality: Modality | None = "ct" if _holds_ct_numbers(volume) else None
        if modality:
            notes.append("taken for CT by its values")
        return tuple(
            Scan(
                pixels=np.ascontiguousarray(_cut(volume, grid.across, slice_.frame or 0)),
                source=source,
                modality=modality,
                notes=tuple(notes),
                plane=slice_.plane,
                spacing_mm=slice_.spacing_mm,
                position=slice_.position,
                frame=slice_.frame,
                series=source,
            )
            for slice_ in _slices(grid, source)
        )


def read_headers(
    path: str, limits: ReadLimits, data: bytes | None = None
) -> tuple[SliceHeader, ...]:
    """Read where the slices of a volume lie, without its voxels; raises an ImageError.

    `data` is the whole file, where it is in memory and `path` only names it.
    """
    with _parsing(path):
        header = _header_of_file(path, limits, data)
        _volume_number(header.get_data_shape(), path, limits)
        return _slices(_grid(header), path)


def count_volumes(path: str, limits: ReadLimits) -> tuple[int, int]:
    """Return how many volumes a file holds, and slices in each; raises an ImageError."""
    with _parsing(path):
        header = _header_of_file(path, limits)
        grid = _grid(header)
        return max(1, prod(header.get_data_shape()[3:])), grid.shape[grid.across]


def _header_of_file(path: str, limits: ReadLimits, data: bytes | None = None) -> Any:
    named = header_file(Path(path))
    with open(named, "rb") if data is None else io.BytesIO(data) as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        start = gzip.GzipFile(fileobj=file).read(2048) if is_packed else file.read(2048)
    return _header(io.BytesIO(start), path, limits)


def restack(
    path: str | Path, slices: Mapping[int, NDArray[np.float32]], *, limits: ReadLimits
) -> tuple[NDArray[np.float32], NDArray[np.float64], bool]:
    """Put images of slices, by their `frame`, back on the grid of the file they were cut from.

    Returns the volume as the file is laid out, its affine [4, 4], and whether the file says how
    it lies. Slices that lack are 0. Raises an ImageError.
    """
    from nibabel.orientations import apply_orientation, ornt_transform

    with _parsing(str(path)):
        header = _header_of_file(str(path), limits)
        grid, (affine, is_known, _) = _grid(header), _affine(header)
        volume = np.zeros(grid.shape, np.float32)
        for number, image in slices.items():
            np.moveaxis(volume, grid.across, 0)[number] = image.T[::-1, ::-1]
        upright = np.array([[0, 1], [1, 1], [2, 1]])
        return apply_orientation(volume, ornt_transform(upright, grid.turns)), affine, is_known


def header_file(path: Path) -> Path:
    """Return the file that holds the header: of a pair .img and .hdr, the latter."""
    return path.with_suffix(".hdr") if path.suffix.lower() == ".img" else path


def read_pair(path: Path, limits: ReadLimits) -> bytes:
    """Read a pair of .hdr and .img, named by either, as the one file it could have been."""
    header, image = path.with_suffix(".hdr"), path.with_suffix(".img")
    for file in (header, image):
        if not file.is_file():
            raise UnreadableImageError(path, f"has no {file.name} beside it", _SAVE_AGAIN)
    start = header.read_bytes()[:348]
    if image.stat().st_size > limits.max_volume_bytes:
        raise _too_large(str(path), f"{image.stat().st_size:,} bytes", limits.max_volume_bytes)
    if start[344:348] != b"ni1\0":
        fact = "is no NIfTI pair (of older kinds, sides cannot be told)"
        raise UnreadableImageError(path, fact, "Convert it to NIfTI.")
    order = "<" if start[:4] == b"\x5c\1\0\0" else ">"
    offset = max(0, int(struct.unpack_from(order + "f", start, 108)[0]))
    whole = bytearray(start + bytes(4))
    struct.pack_into(order + "f", whole, 108, 352.0)
    whole[344:348] = b"n+1\0"
    return bytes(whole) + image.read_bytes()[offset:]


@contextmanager
def _parsing(source: str) -> Iterator[None]:
    """Turn whatever a damaged file makes the parser raise into an ImageError."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        yield
    except ImageError:
        raise
    except (*_ERRORS, ImageFileError, HeaderDataError, WrapStructError) as e:
        fact = f"damaged or incomplete ({first_line(e)})"
        raise UnreadableImageError(source, fact, _SAVE_AGAIN) from e


def _unpacked(data: bytes, source: str, limits: ReadLimits) -> bytes:
    """Unpack to the end, so that a wrong checksum is seen, after the header was checked."""
    if not data.startswith(_GZIP):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        start = packed.read(2048)
        _header(io.BytesIO(start), source, limits)
        cap = limits.max_volume_bytes
        whole = start + packed.read(cap)
        if packed.read(1):
            raise _too_large(source, f"more than {cap:,} bytes", cap)
    return whole


def _too_large(source: str, what: str, cap: int) -> ImageTooLargeError:
    fix = "Cut the volume to the head, or raise TUMORLENS_MAX_VOLUME_PIXELS and _BYTES."
    return ImageTooLargeError(source, f"holds {what}, above the cap of {cap:,}", fix)


def _header(file: IO[bytes], source: str, limits: ReadLimits) -> Any:
    """Read the header and check what it declares before any voxel is touched."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = file.read(540)
    file.seek(0)
    kinds = {b"n+1": (Nifti1Header, start[344:347]), b"n+2": (Nifti2Header, start[4:7]),
             b"ni1": (Nifti1Header, start[344:347])}  # fmt: skip
    kind = next((kind for mark, (kind, found) in kinds.items() if mark == found), None)
    if kind is None:
        raise UnreadableImageError(source, "is not a NIfTI file", _SAVE_AGAIN)
    header = kind.from_fileobj(file, check=False)
    code, shape = int(header["datatype"]), header.get_data_shape()
    if code in _REFUSED:
        raise UnreadableImageError(source, f"holds {_REFUSED[code]}", "Save one gray volume.")
    if prod(shape[:3]) > limits.max_volume_pixels:
        size = " x ".join(map(str, shape[:3]))
        raise _too_large(source, f"{size} voxels", limits.max_volume_pixels)
    if len(shape) < 2 or sorted(shape[:3])[-2] < MIN_SIDE:
        size = " x ".join(map(str, shape)) or "no"
        fact = f"holds {size} voxels; a head cannot be seen below {MIN_SIDE}"
        raise ImageTooSmallError(source, fact, "Use the original volume.")
    return header


def _grid(header: Any) -> _Grid:
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    affine, is_known, notes = _affine(header)
    shape = (*header.get_data_shape()[:3], 1)[:3]
    turns = io_orientation(affine)
    affine = affine @ inv_ornt_aff(turns, shape)
    turned = apply_orientation(np.broadcast_to(np.uint8(0), shape), turns).shape
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if is_known and _is_sheared(affine[:3, :3] / sides):
        notes = (*notes, "its axes are not at right angles")
    return _Grid(turned, affine, turns, is_known, _across(turned, sides, is_known), notes)


def _affine(header: Any) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Return voxels to mm, whether the file says so, and notes: sform goes before qform."""
    found = [
        matrix for matrix, code in (
            (header.get_sform(), int(header["sform_code"])),
            (header.get_qform(), int(header["qform_code"])),
        ) if code > 0 and _is_affine(matrix)
    ]  # fmt: skip
    if not found:
        sides = np.array([*map(abs, header.get_zooms()[:3]), 1.0, 1.0])[:3]
        sides[~(np.isfinite(sides) & (sides > 0))] = 1.0
        return np.diag([*sides, 1.0]), False, ("orientation unknown: left may be right",)
    if len(found) == 2 and not np.allclose(found[0], found[1], atol=0.1):
        return found[0], True, ("sform and qform differ: sform taken",)
    return found[0], True, ()


def _is_affine(matrix: NDArray[np.float64] | None) -> bool:
    if matrix is None or not np.isfinite(matrix).all():
        return False
    sides = np.linalg.norm(matrix[:3, :3], axis=0)
    return bool((sides > 1e-3).all() and abs(np.linalg.det(matrix[:3, :3] / sides)) > 0.1)


def _is_sheared(directions: NDArray[np.float64]) -> bool:
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() > 0.02)


def _across(shape: tuple[int, ...], sides: NDArray[np.float64], is_known: bool) -> int:
    """Choose the axis to cut across: that of a single slice, then of the thickest voxels."""
    if 1 in shape:
        return shape.index(1)
    thickest = int(sides.argmax())
    others = np.delete(sides, thickest)
    return thickest if is_known and sides[thickest] > THICK * others.max() else 2


def _voxels(
    file: IO[bytes], header: Any, grid: _Grid, source: str, limits: ReadLimits
) -> tuple[NDArray[np.float32], list[str]]:
    """Return the volume in RAS, float32 [x, y, z], without what is not a number."""
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.orientations import apply_orientation

    shape = header.get_data_shape()
    number, count = _volume_number(shape, source, limits), prod(shape[3:])
    proxy: Any = ArrayProxy(file, header, mmap=False)
    index = np.unravel_index(number, shape[3:], order="F") if count > 1 else (0,) * len(shape[3:])
    volume = np.asarray(proxy[(..., *map(int, index))], np.float32).reshape((*shape[:3], 1)[:3])
    notes = [*grid.notes, *([f"volume {number} of {count}"] if count > 1 else [])]
    lost = ~np.isfinite(volume)
    if lost.any():
        if lost.mean() > MAX_NAN_SHARE:
            fact = f"holds {lost.mean():.0%} voxels that are not numbers"
            raise InvalidPixelsError(source, fact, "Replace them before export, for example by 0.")
        volume = np.where(lost, np.float32(0), volume)
        notes.append(f"{int(lost.sum())} voxels that are not numbers set to 0")
    return apply_orientation(volume, grid.turns), notes


def _volume_number(shape: tuple[int, ...], source: str, limits: ReadLimits) -> int:
    count = prod(shape[3:])
    if count <= 1:
        return 0
    if limits.volume < 0:
        size = " x ".join(map(str, shape))
        fact = f"holds {count} volumes ({size})"
        fix = f"Name one with --volume, 0 to {count - 1}, or in the column volume of cases.csv."
        raise UnreadableImageError(source, fact, fix)
    if limits.volume >= count:
        fact = f"has no volume {limits.volume}, it holds {count}"
        raise UnreadableImageError(source, fact, f"Name one of 0 to {count - 1}.")
    return limits.volume


def _holds_ct_numbers(volume: NDArray[np.float32]) -> bool:
    """Tell Hounsfield units by their air: no other gray volume has a peak at -1000."""
    low, high = CT_AIR
    return bool(((volume >= low) & (volume <= high)).mean() >= CT_AIR_SHARE and volume.max() > 0)


def _cut(volume: NDArray[np.float32], across: int, number: int) -> NDArray[np.float32]:
    """Return one slice as an image, [rows, columns]: RAS runs against both of its sides."""
    return np.moveaxis(volume, across, 0)[number, ::-1, ::-1].T


def _slices(grid: _Grid, source: str) -> tuple[SliceHeader, ...]:
    """Say where each slice lies, in order along the normal; `frame` counts along the axis."""
    along, down = _VIEWS[grid.across]
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    orientation = np.concatenate([_TO_LPS @ -directions[:, along], _TO_LPS @ -directions[:, down]])
    sides = np.linalg.norm(grid.affine[:3, :3], axis=0)
    headers = []
    for number in range(grid.shape[grid.across]):
        voxel = np.array([*(side - 1 for side in grid.shape), 1.0])
        voxel[grid.across] = number
        corner = _TO_LPS @ (grid.affine @ voxel)[:3]
        headers.append(
            SliceHeader(
                path=source,
                frame=number,
                matrix=(grid.shape[down], grid.shape[along]),
                orientation=tuple(map(float, orientation)) if grid.is_known else None,
                corner=tuple(map(float, corner)) if grid.is_known else None,
                spacing_mm=(float(sides[down]), float(sides[along])),
                number=number,
            )
        )
    return tuple(sorted(headers, key=lambda header: header.position or 0.0))
