"""Among heads that look alike, the copy in another pose is the first candidate."""

import cv2
import numpy as np

from tumorlens.study.audit.duplicates.fingerprints import fingerprint
from tumorlens.study.audit.duplicates.signatures import nearest_pairs, spectra_of
from tumorlens.study.phantom import draw_phantom

HEADS = 24


def moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotate, scale and shift as augmentation does; what comes in repeats the edge."""
    height, width = image.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, rng.uniform(-15, 15), rng.uniform(0.85, 1.15))
    matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * (width, height)
    turned = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return cv2.flip(turned, int(rng.integers(-1, 2)))


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut 24 % off each side's length, anywhere."""
    top, left = (int(rng.uniform(0, 0.24) * side) for side in image.shape)
    height, width = (round(0.76 * side) for side in image.shape)
    return image[top : top + height, left : left + width]


CHANGES = (moved, lambda image, rng: 255 - moved(image, rng), cropped)


def test_nine_in_ten_changed_copies_are_the_first_candidate(tmp_path):
    rng = np.random.default_rng(5)
    heads = [draw_phantom("ct", "healthy", seed=n, plane="axial", side=96).pixels
             for n in range(HEADS)]  # fmt: skip
    images = [*heads, *(change(head, rng) for change in CHANGES for head in heads)]
    paths = [tmp_path / f"{n}.png" for n in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), np.ascontiguousarray(image))
    spectra = spectra_of(fingerprint(paths, cache=tmp_path), np.arange(len(paths)))
    pairs = nearest_pairs(spectra, partners=1)[:, :2].tolist()
    found = {copy for i, j in pairs if i % HEADS == j % HEADS for copy in (i, j) if copy >= HEADS}
    assert len(found) >= 0.9 * HEADS * len(CHANGES)
