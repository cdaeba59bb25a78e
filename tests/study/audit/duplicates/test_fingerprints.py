"""What copies are recognized by survives turning, and tells pictures apart."""

import cv2
import numpy as np
import pytest

from tumorlens.images.readers import read_scan
from tumorlens.inputs import row_store as chunks
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Unusable
from tumorlens.study.audit.duplicates import fingerprints as module
from tumorlens.study.audit.duplicates.fingerprints import (
    ORIENTATIONS,
    THUMB_SIDE,
    VIEWS,
    Fingerprints,
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


def frames(prints: Fingerprints, view: str = "frame") -> np.ndarray:
    """The thumbnails of all files in one view."""
    everyone = np.arange(len(prints.usable))
    return prints.thumbs(everyone, np.full(len(everyone), VIEWS.index(view)))


def test_unreadable_files_are_marked_and_leave_zeros(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    assert prints.usable.tolist() == [True, True, True, False, False, True]
    assert not prints.hashes[3:5].any()
    assert not any(frames(prints, view)[3:5].any() for view in VIEWS)
    assert prints.pixels[3:5] == ("", "")
    assert [bool(key) for key in prints.content] == [True] * 4 + [False, True]


def test_equal_bytes_and_equal_pixels_are_told_apart(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    assert prints.content[0] == prints.content[1] != prints.content[2]
    assert prints.pixels[0] == prints.pixels[1] == prints.pixels[2]


def test_every_file_has_hashes_and_a_thumbnail_in_every_view(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    assert prints.hashes.shape == (len(files), len(VIEWS), 8, 4)
    views = np.stack([frames(prints, view)[0] for view in VIEWS])
    assert views.shape == (len(VIEWS), THUMB_SIDE, THUMB_SIDE)
    assert views.dtype == np.int8
    assert len({view.tobytes() for view in views}) == len(VIEWS)


def test_the_thumbnails_are_those_of_the_picture(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    np.testing.assert_array_equal(frames(prints)[0], thumbnail(PICTURE.round()))
    np.testing.assert_array_equal(prints.hashes[0, 0], perceptual_hashes(PICTURE.round()))


@pytest.mark.parametrize("modality", ["ct", "mri"])
def test_the_inner_view_of_a_picture_is_the_frame_of_its_crop(modality, tmp_path):
    pixels = draw_phantom(modality, "glioma", seed=8, plane="coronal", side=200).pixels
    paths = [tmp_path / "whole.png", tmp_path / "cropped.png"]
    for path, picture in zip(paths, (pixels, pixels[10:-10, 10:-10]), strict=True):
        cv2.imwrite(str(path), picture)
    prints = fingerprint(paths, cache=tmp_path)
    inner, frame = frames(prints, "inner")[0], frames(prints)[1]
    assert distance(prints.hashes[0, VIEWS.index("inner"), 0], prints.hashes[1, 0, 0]) <= 8
    assert np.corrcoef(inner.ravel(), frame.ravel())[0, 1] > 0.9
    whole = frames(prints)[0]
    assert np.corrcoef(whole.ravel(), frame.ravel())[0, 1] < 0.5


def test_thumbnails_come_in_the_order_and_view_asked_for(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    mixed = prints.thumbs(np.array([5, 0, 3, 0, 2]), np.array([0, 2, 1, 1, 0]))
    wanted = [(5, "frame"), (0, "inner"), (3, "content"), (0, "content"), (2, "frame")]
    for found, (i, view) in zip(mixed, wanted, strict=True):
        np.testing.assert_array_equal(found, frames(prints, view)[i])


def test_a_picture_without_a_head_has_the_frame_as_its_content(files, tmp_path):
    prints = fingerprint(files, cache=tmp_path)
    np.testing.assert_array_equal(prints.hashes[5, 0], prints.hashes[5, 1])


def test_the_shape_counts_when_pixels_are_compared(tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((20, 40), np.uint8))
    cv2.imwrite(str(tmp_path / "tall.png"), np.zeros((40, 20), np.uint8))
    prints = fingerprint([tmp_path / "wide.png", tmp_path / "tall.png"], cache=tmp_path)
    assert prints.usable.all()
    assert prints.pixels[0] != prints.pixels[1]


@pytest.mark.parametrize("shape", [(32, 400), (400, 32), (33, 47)])
def test_odd_shapes_have_fingerprints(shape, tmp_path):
    cv2.imwrite(str(tmp_path / "odd.png"), cv2.resize(PICTURE, shape[::-1]).astype(np.uint8))
    prints = fingerprint([tmp_path / "odd.png"], cache=tmp_path)
    assert prints.usable.all()
    assert all(frames(prints, view).any() for view in VIEWS)


def test_progress_ends_at_the_number_of_files(files, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 2)
    heard: list[tuple[int, int]] = []
    fingerprint(files, cache=tmp_path, progress=lambda *now: heard.append(now))
    assert heard[-1] == (len(files), len(files))
    assert heard == sorted(heard)


def test_no_files_give_no_fingerprints(tmp_path):
    prints = fingerprint([], cache=tmp_path)
    assert prints.content == ()
    assert prints.hashes.shape == (0, len(VIEWS), 8, 4)
    assert frames(prints).shape == (0, THUMB_SIDE, THUMB_SIDE)


@pytest.fixture
def reads(monkeypatch):
    """The names of the files whose pixels were read, in some order."""
    seen: list[str] = []

    def reading(path):
        seen.append(path.name)
        return read_scan(path)

    monkeypatch.setattr(module, "read_scan", reading)
    return seen


def test_equal_bytes_are_read_once(files, tmp_path, reads):
    fingerprint(files, cache=tmp_path)
    assert sorted(reads) == ["a.png", "broken.png", "c.bmp", "flat.png"]


def test_a_second_call_reads_again_only_what_failed(files, tmp_path, reads):
    first = fingerprint(files, cache=tmp_path)
    reads.clear()
    second = fingerprint(files[::-1], cache=tmp_path)
    assert reads == ["broken.png"]
    assert second.pixels == first.pixels[::-1]
    np.testing.assert_array_equal(second.hashes, first.hashes[::-1])
    for view in VIEWS:
        np.testing.assert_array_equal(frames(second, view), frames(first, view)[::-1])


def test_a_file_that_is_whole_again_is_read(files, tmp_path):
    mended = tmp_path / "mended.png"
    mended.write_bytes(files[3].read_bytes())
    assert not fingerprint([mended], cache=tmp_path).usable.any()
    mended.write_bytes(files[0].read_bytes())
    assert fingerprint([mended], cache=tmp_path).usable.all()


def test_another_method_shares_nothing(files, tmp_path, reads, monkeypatch):
    fingerprint(files[:1], cache=tmp_path)
    monkeypatch.setattr(module, "_METHOD", module._METHOD + 1)
    fingerprint(files[:1], cache=tmp_path)
    assert reads == ["a.png"] * 2


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_what_was_finished_before_a_stop_is_kept(tmp_path, reads, monkeypatch, finished):
    """Stop while the next chunk is written; one chunk holds two files."""
    monkeypatch.setattr(chunks, "CHUNK", 2)
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.roll(PICTURE, 5 * i, axis=1).astype(np.uint8))
    written, write = [], module.write_chunk

    def stopping(folder, keys, rows):
        if len(written) == finished:
            raise KeyboardInterrupt
        written.append(write(folder, keys, rows))

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_chunk", stopping)
        with pytest.raises(KeyboardInterrupt):
            fingerprint(paths, cache=tmp_path / "cache")
    reads.clear()
    prints = fingerprint(paths, cache=tmp_path / "cache")
    assert sorted(reads) == [path.name for path in paths[2 * finished :]]
    whole = fingerprint(paths, cache=tmp_path / "other")
    assert prints.usable.all()
    np.testing.assert_array_equal(prints.hashes, whole.hashes)
    np.testing.assert_array_equal(frames(prints), frames(whole))


def test_scans_are_prepared_on_the_way_as_they_would_be_alone(write_image, tmp_path, monkeypatch):
    paths = [write_image(draw_phantom("mri", "glioma", seed=s).pixels, f"{s}.png") for s in (1, 2)]
    paths += [write_image(np.zeros((64, 64), np.uint8), "blank.png")]
    spec = InputSpec(side=64)
    expected = prepare_files(paths, spec, cache=tmp_path / "alone")
    fingerprint(paths, cache=tmp_path / "both", spec=spec)
    with monkeypatch.context() as patch:
        # All usable ones are found ready.
        patch.setattr("tumorlens.inputs.cache._prepare_chunk", lambda named, _: [
            Unusable(expected.errors[2]) for path, _ in named if path.name == "blank.png"
        ])  # fmt: skip
        found = prepare_files(paths, spec, cache=tmp_path / "both")
    assert (found.pixels == expected.pixels).all()
    assert list(found.errors) == list(expected.errors) == [2]
