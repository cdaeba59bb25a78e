"""Small pictures of single scans that may be shown: prepared, and no text over the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.audit.text import why_hidden
from tumorlens.study.explore.pictures import ClassPictures

SIDE = 72  # pixels: a name that were left in a head could not be read at this size


@dataclass(frozen=True)
class Montage:
    """A fair sample of the scans of one class, for show."""

    pictures: Sequence[NDArray[np.uint8]]  # [SIDE, SIDE] each
    withheld: int  # of the sample, because text may lie over the head


def show_sample(kept: ClassPictures) -> Montage:
    """Shrink the sampled scans; those with likely text over the head are withheld.

    Most text over a head is not found by looking for it, hence the small size: see SIDE.
    """
    shown = [_small(pixels) for _, path, pixels in kept.montage if not why_hidden(Path(path))]
    return Montage(shown, len(kept.montage) - len(shown))


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shrunk = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(shrunk, (0, 0), 0.5), np.uint8)
