"""Tumor masks of cases, brought into the frame of the prepared image."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan
from tumorlens.images.segmentation import read_mask
from tumorlens.inputs.prepare import InputSpec, carry_mask, prepare
from tumorlens.records import Case

Masks = Mapping[int, NDArray[np.bool_]]  # in the prepared frame, [side, side], by a case's position


def prepared_mask(case: Case, spec: InputSpec) -> NDArray[np.bool_] | None:
    """Return a case's mask in the prepared frame, [side, side].

    None where it has none, or one that is empty, unreadable or of another size than its scan.
    """
    if case.mask is None:
        return None
    try:
        scan, marked = read_scan(case.path), read_mask(case.mask, case.path)
        if scan.pixels.shape != marked.shape:
            return None
        carried = carry_mask(marked, prepare(scan, spec))
    except ImageError:
        return None
    return carried if carried.any() else None


def prepared_masks(cases: Sequence[Case], spec: InputSpec) -> dict[int, NDArray[np.bool_]]:
    """Return the masks of the cases that have a usable one, by position."""
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda case: prepared_mask(case, spec), cases)
        return {position: mask for position, mask in enumerate(made) if mask is not None}
