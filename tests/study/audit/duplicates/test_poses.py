"""Copies in another pose are found, and strangers and neighbors are not taken for them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.study.audit.duplicates.copies import SAME, Link, connected, find_copies
from tumorlens.study.audit.duplicates.fingerprints import fingerprint
from tumorlens.study.audit.duplicates.poses import find_posed_copies
from tumorlens.study.phantom import PLANES, draw_phantom

Image = np.ndarray
HEADS = 6


def posed(
    image: Image, *, rotated: float = 0, scaled: float = 1, shifted: tuple[float, float] = (0, 0)
) -> Image:
    """Rotate by degrees about the middle, scale, and shift by shares of the frame."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), rotated, scaled)
    matrix[:, 2] += shifted[0] * width, shifted[1] * height
    return cv2.warpAffine(image, matrix, (width, height))


def cropped(image: Image, share: float) -> Image:
    rows, columns = (round(share * side) for side in image.shape)
    return image[rows:-rows, columns:-columns]


def darker(image: Image) -> Image:
    return (0.6 * image).astype(np.uint8)


def everything(image: Image, sign: int) -> Image:
    moved = posed(image, rotated=sign * 10, scaled=1 - sign * 0.1, shifted=(sign * 0.08, 0.08))
    return darker(moved[:, ::-1])


CHANGES: dict[str, Callable[[Image], Image]] = {
    "rotated by 8": lambda a: posed(a, rotated=8),
    "rotated back by 15": lambda a: posed(a, rotated=-15),
    "shifted by 12 %": lambda a: posed(a, shifted=(0.12, -0.12)),
    "scaled to 85 %": lambda a: posed(a, scaled=0.85),
    "scaled to 115 %": lambda a: posed(a, scaled=1.15),
    "cropped by 12 % a side": lambda a: cropped(a, 0.12),
    "cropped by 15 % a side": lambda a: cropped(a, 0.15),
    "inverted": lambda a: 255 - a,
    "inverted and rotated": lambda a: 255 - posed(a, rotated=10),
    "all at once": lambda a: everything(a, 1),
    "all at once, the other way": lambda a: everything(a, -1),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> list[Link]:
    """Links among heads and every change of each, found in one search."""
    folder = tmp_path_factory.mktemp("posed")
    heads = [
        draw_phantom(("mri", "ct")[i % 2], "healthy", seed=300 + i, plane=PLANES[i % 3]).pixels
        for i in range(HEADS)
    ]
    images = [*heads, *(change(head) for change in CHANGES.values() for head in heads)]
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), np.ascontiguousarray(image))
    return find_copies(paths, cache=folder / "cache")


@pytest.fixture(scope="module")
def image_ids(planted) -> list[int]:
    return connected(HEADS * (1 + len(CHANGES)), planted, SAME).tolist()


@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_in_another_pose_is_found(image_ids, name):
    start = HEADS * (1 + list(CHANGES).index(name))
    assert image_ids[start : start + HEADS] == image_ids[:HEADS]


def test_two_heads_are_never_one_image(planted):
    copies = [link for link in planted if link.kind in SAME]
    assert copies
    assert all(link.a % HEADS == link.b % HEADS for link in copies)


def test_a_nearly_symmetric_head_is_found_though_its_mirror_image_fits_well(tmp_path):
    """Here the wrong one of the two poses lies nearer on small thumbnails."""
    pixels = draw_phantom("mri", "glioma", seed=3, plane="axial").pixels
    middle = (pixels.shape[1] - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), -12, 1.1)
    matrix[:, 2] += 8
    moved = cv2.warpAffine(pixels, matrix, pixels.shape[::-1])[:, ::-1]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, (pixels, moved), strict=True):
        cv2.imwrite(str(path), np.ascontiguousarray(image))
    (copy,) = find_posed_copies(fingerprint(paths, cache=tmp_path), np.arange(2))
    assert copy.orientation == "flip left-right"


def test_the_change_is_told_in_words(planted):
    told = {link.change for link in planted}
    assert {"inverted", "rotated 8 degrees", "shifted 12%"} <= told


def test_copies_of_which_the_source_is_missing_are_found(tmp_path):
    """As after augmentation: every file is another pose, and none is the original."""
    rng = np.random.default_rng(4)
    paths: list[Path] = []
    for head in range(4):
        pixels = draw_phantom("mri", "glioma", seed=900 + head, plane="axial").pixels
        for number in range(4):
            moved = posed(pixels, rotated=rng.uniform(-10, 10), shifted=rng.uniform(-0.1, 0.1, 2))
            paths.append(tmp_path / f"{head}_{number}.png")
            cv2.imwrite(str(paths[-1]), np.ascontiguousarray(moved[:, :: rng.choice([1, -1])]))
    found = connected(len(paths), find_copies(paths, cache=tmp_path / "cache"), SAME)
    assert found.reshape(4, 4).tolist() == [[row] * 4 for row in dict.fromkeys(found.tolist())]
