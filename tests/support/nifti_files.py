"""NIfTI files made for tests: a volume with three different ends, in any orientation."""

import struct
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from support.broken_files import HEAD

RAS = np.diag([1.0, 1.0, 1.0, 1.0])
SLICES = 6


def ras_volume(dtype: Any = np.int16) -> NDArray[Any]:
    """Return [x, y, z] in RAS, whose axial slices are the head, slice k brighter by k."""
    return np.stack([HEAD[::-1, ::-1].T.astype(dtype) + dtype(k) for k in range(SLICES)], axis=-1)


def nifti_bytes(
    volume: NDArray[Any], affine: Any = RAS, *, sform: int = 1, qform: int = 0, kind: Any = None
) -> bytes:
    """Return the whole file, version 1 unless another `kind` of image is given."""
    image = (kind or nib.Nifti1Image)(volume, np.asarray(affine, float))
    if kind is not None:
        return image.to_bytes()
    image.set_qform(affine, 1)
    data = bytearray(image.to_bytes())
    struct.pack_into("<2h", data, 252, qform, sform)
    return bytes(data)
