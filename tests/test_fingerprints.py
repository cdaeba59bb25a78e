"""What copies are recognised by survives turning, and tells pictures apart."""

import cv2
import numpy as np
import pytest

from tumorlens.study.audit.fingerprints import (
    ORIENTATIONS,
    THUMB_SIDE,
    VIEWS,
    fingerprint,
    orient,
    perceptual_hashes,
    thumbnail,
)
from tumorlens.study.phantom import draw_phantom

PICTURE = draw_phantom("mri", "glioma", seed=3, plane="sagittal").pixels.astype(np.float32)
TURNS = {
    "as is": lambda a: a,
    "flip left-right": np.fliplr,
    "flip up-down": np.flipud,
    "rotate 180": lambda a: np.rot90(a, 2),
    "transpose": lambda a: a.T,
    "rotate 90": lambda a: np.rot90(a, -1),  # clockwise
    "rotate 270": np.rot90,
    "anti-transpose": lambda a: np.rot90(a, 2).T,
}


def distance(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.bitwise_count(a ^ b).sum())


def test_the_table_of_turns_is_the_list_of_orientations():
    assert tuple(TURNS) == ORIENTATIONS


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_orient_does_what_its_name_says(name):
    turned = orient(PICTURE, ORIENTATIONS.index(name))
    np.testing.assert_array_equal(turned, TURNS[name](PICTURE))


def test_orient_turns_only_the_last_two_axes():
    stack = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for number in range(8):
        np.testing.assert_array_equal(
            orient(stack, number), np.stack([orient(layer, number) for layer in stack])
        )


@pytest.mark.parametrize("modality", ["ct", "mri"])
@pytest.mark.parametrize("number", range(8), ids=ORIENTATIONS)
def test_a_turned_picture_has_the_hash_in_the_row_of_that_turn(modality, number):
    pixels = draw_phantom(modality, "meningioma", seed=21).pixels.astype(np.float32)
    rows = perceptual_hashes(pixels)
    turned = perceptual_hashes(np.ascontiguousarray(orient(pixels, number)))
    distances = [distance(turned[0], row) for row in rows]
    assert distances[number] <= 4, "rounding of the transform alone"
    assert int(np.argmin(distances)) == number


def test_hashes_are_256_bits_of_which_half_are_set():
    rows = perceptual_hashes(PICTURE)
    assert rows.shape == (8, 4)
    assert rows.dtype == np.uint64
    assert abs(int(np.bitwise_count(rows[0]).sum()) - 128) <= 2


def test_pictures_of_different_heads_have_distant_hashes():
    other = draw_phantom("mri", "glioma", seed=4, plane="sagittal").pixels.astype(np.float32)
    assert distance(perceptual_hashes(PICTURE)[0], perceptual_hashes(other)[0]) > 44


def test_a_thumbnail_is_standardised():
    small = thumbnail(PICTURE)
    assert small.shape == (THUMB_SIDE, THUMB_SIDE)
    assert small.dtype == np.int8
    assert abs(small.astype(float).mean()) < 0.5
    assert small.astype(float).std() == pytest.approx(20, abs=1)


def test_a_thumbnail_does_not_change_with_brightness_and_contrast():
    np.testing.assert_allclose(
        thumbnail(PICTURE * 1.7 + 12).astype(int), thumbnail(PICTURE).astype(int), atol=1
    )


def test_a_flat_picture_has_an_empty_thumbnail():
    assert not thumbnail(np.full((50, 60), 7.0, np.float32)).any()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prints")
    pixels = PICTURE.astype(np.uint8)
    cv2.imwrite(str(folder / "a.png"), pixels)
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes())
    cv2.imwrite(str(folder / "c.bmp"), pixels)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    cv2.imwrite(str(folder / "flat.png"), np.full((64, 64), 90, np.uint8))
    return [folder / name for name in ("a.png", "b.png", "c.bmp", "broken.png", "lost.png",
                                       "flat.png")]  # fmt: skip


def test_unreadable_files_are_marked_and_leave_zeros(files):
    prints = fingerprint(files)
    assert prints.usable.tolist() == [True, True, True, False, False, True]
    assert not prints.hashes[3:5].any()
    assert not prints.thumbs[3:5].any()
    assert prints.pixels[3:5] == ("", "")


def test_equal_bytes_and_equal_pixels_are_told_apart(files):
    prints = fingerprint(files)
    assert prints.content[0] == prints.content[1] != prints.content[2]
    assert prints.pixels[0] == prints.pixels[1] == prints.pixels[2]


def test_every_file_has_a_frame_and_a_content_view(files):
    prints = fingerprint(files)
    assert prints.hashes.shape == (len(files), len(VIEWS), 8, 4)
    assert prints.thumbs.shape == (len(files), len(VIEWS), THUMB_SIDE, THUMB_SIDE)
    assert (prints.thumbs[0, 0] != prints.thumbs[0, 1]).any(), "the content crop is another picture"


def test_a_picture_without_a_head_has_the_frame_as_its_content(files):
    prints = fingerprint(files)
    np.testing.assert_array_equal(prints.hashes[5, 0], prints.hashes[5, 1])


def test_the_shape_counts_when_pixels_are_compared(tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((20, 40), np.uint8))
    cv2.imwrite(str(tmp_path / "tall.png"), np.zeros((40, 20), np.uint8))
    wide, tall = fingerprint([tmp_path / "wide.png", tmp_path / "tall.png"]).pixels
    assert wide != tall


def test_progress_ends_at_the_number_of_files(files):
    heard = []
    fingerprint(files, progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (len(files), len(files))
