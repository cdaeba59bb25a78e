"""Facts about prepared images on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.interruption import stop_before_rename

from tumorlens.errors import UnreadableImageError
from tumorlens.images import readers
from tumorlens.images.raster import decode_raster
from tumorlens.images.readers import Reader, read_scan
from tumorlens.inputs import cache as module
from tumorlens.inputs import row_store as chunks
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec, prepare, prepare_file
from tumorlens.study.phantom import draw_phantom

SPEC = InputSpec(side=32)


@pytest.fixture
def scans(write_image):
    return [
        write_image(draw_phantom("mri", "healthy", seed=seed, side=96).pixels, f"scans/{seed}.png")
        for seed in range(4)
    ]


@pytest.fixture
def reads(monkeypatch):
    """The paths that were decoded, in some order."""
    seen: list[Path] = []

    def reading(path, spec, **options):
        seen.append(path)
        return prepare_file(path, spec, **options)

    monkeypatch.setattr(module, "prepare_file", reading)
    return seen


def stored(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def test_prepared_images_stand_in_the_order_of_their_files(scans, tmp_path):
    found = prepare_files(scans[::-1], SPEC, cache=tmp_path / "cache")
    for path, pixels in zip(scans[::-1], found.pixels, strict=True):
        np.testing.assert_array_equal(pixels, prepare(read_scan(path), SPEC).pixels)
    assert found.errors == {}
    assert found.usable.tolist() == [True] * 4
    assert len(set(found.hashes)) == 4


def test_a_second_call_decodes_nothing(scans, tmp_path, reads):
    first = prepare_files(scans, SPEC, cache=tmp_path / "cache")
    assert len(reads) == 4
    second = prepare_files(scans[::-1], SPEC, cache=tmp_path / "cache")
    assert len(reads) == 4
    np.testing.assert_array_equal(second.pixels, first.pixels[::-1])


def test_only_what_is_new_is_decoded(scans, tmp_path, reads):
    prepare_files(scans[:2], SPEC, cache=tmp_path / "cache")
    prepare_files(scans, SPEC, cache=tmp_path / "cache")
    assert sorted(reads) == sorted(scans)


def test_a_file_that_moved_is_not_decoded_again(scans, tmp_path, reads):
    prepare_files(scans, SPEC, cache=tmp_path / "cache")
    moved = scans[0].rename(scans[0].with_name("moved.png"))
    prepare_files([moved], SPEC, cache=tmp_path / "cache")
    assert len(reads) == 4


def test_copies_are_prepared_once(scans, tmp_path, reads):
    copy = tmp_path / "copy.png"
    copy.write_bytes(scans[0].read_bytes())
    found = prepare_files([scans[0], copy, scans[0]], SPEC, cache=tmp_path / "cache")
    assert len(reads) == 1
    assert found.pixels[0].any()
    np.testing.assert_array_equal(found.pixels[1], found.pixels[0])
    np.testing.assert_array_equal(found.pixels[2], found.pixels[0])


def test_failures_are_told_by_position_and_leave_zeros(scans, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(scans[0].read_bytes()[:300])
    paths = [scans[0], broken, tmp_path / "missing.png", scans[1], broken]
    for _ in range(2):  # also from a cache that is filled
        found = prepare_files(paths, SPEC, cache=tmp_path / "cache")
        assert sorted(found.errors) == [1, 2, 4]
        assert all(isinstance(e, UnreadableImageError) for e in found.errors.values())
        assert found.usable.tolist() == [True, False, False, True, False]
        assert not found.pixels[~found.usable].any()
        assert found.pixels[3].any()
        assert found.hashes[2] == ""


def test_the_error_of_a_broken_copy_names_that_copy(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(b"the same nonsense")
    found = prepare_files(paths, SPEC, cache=tmp_path / "cache")
    assert [found.errors[p].subject for p in (0, 1)] == [str(path) for path in paths]


def test_an_unreadable_file_lends_its_place_to_no_other(scans, tmp_path, monkeypatch):
    # A share that fails once: no hash, yet the picture is read a moment later.
    with monkeypatch.context() as patch:
        patch.setattr(module, "hash_files", lambda paths: ("",) * len(paths))
        prepare_files(scans[:1], SPEC, cache=tmp_path / "cache")
    found = prepare_files([tmp_path / "missing.png"], SPEC, cache=tmp_path / "cache")
    assert list(found.errors) == [0]
    assert not found.pixels.any()


def test_frames_of_one_file_are_kept_apart(scans, tmp_path, monkeypatch, reads):
    def stack(data, source, limits):
        found = decode_raster(scans[0].read_bytes(), source, limits)[0]
        return tuple(replace(found, pixels=np.rot90(found.pixels, k), frame=k) for k in range(3))

    row = Reader("STACK", (".stack",), read=stack)
    monkeypatch.setattr(readers, "READERS", (*readers.READERS, row))
    path = tmp_path / "a.stack"
    path.write_bytes(b"three slices")
    for _ in range(2):  # also from a cache that is filled
        found = prepare_files([path] * 3, SPEC, cache=tmp_path / "cache", frames=[2, 0, 1])
        assert len(set(found.hashes)) == 1
        assert len({square.tobytes() for square in found.pixels}) == 3
    assert len(reads) == 3
    expected = prepare_file(path, SPEC, frame=2)
    np.testing.assert_array_equal(found.pixels[0], expected.pixels)


def test_another_spec_shares_nothing(scans, tmp_path, reads):
    prepare_files(scans, SPEC, cache=tmp_path / "cache")
    other = prepare_files(scans, InputSpec(side=32, margin=0.2), cache=tmp_path / "cache")
    assert len(reads) == 8
    np.testing.assert_array_equal(
        other.pixels[0], prepare(read_scan(scans[0]), InputSpec(side=32, margin=0.2)).pixels
    )


def test_several_chunks_give_the_same_as_one(scans, tmp_path, monkeypatch):
    whole = prepare_files(scans, SPEC, cache=tmp_path / "one")
    monkeypatch.setattr(chunks, "CHUNK", 3)
    parts = prepare_files(scans, SPEC, cache=tmp_path / "many")
    np.testing.assert_array_equal(parts.pixels, whole.pixels)
    assert stored(tmp_path / "many") == [".keys", ".keys", ".npy", ".npy"]


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_write_that_was_interrupted_is_not_seen(scans, tmp_path, monkeypatch, renamed):
    """Stop before the first rename (half an image file), then before the second (no keys)."""
    with monkeypatch.context() as patch:
        stop_before_rename(patch, done=renamed)
        with pytest.raises(KeyboardInterrupt):
            prepare_files(scans, SPEC, cache=tmp_path / "cache")
    assert ".keys" not in stored(tmp_path / "cache")
    found = prepare_files(scans, SPEC, cache=tmp_path / "cache")
    assert found.usable.all()
    np.testing.assert_array_equal(found.pixels[2], prepare(read_scan(scans[2]), SPEC).pixels)


def test_progress_ends_at_the_number_of_files(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 2)
    seen = []
    prepare_files(
        [*scans, scans[0]], SPEC, cache=tmp_path / "cache", progress=lambda *now: seen.append(now)
    )
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


def test_no_files_give_no_images(tmp_path):
    found = prepare_files([], SPEC, cache=tmp_path / "cache")
    assert found.pixels.shape == (0, 32, 32)
    assert found.hashes == ()
    assert found.usable.shape == (0,)
