"""Copies are found whatever was done to them; strangers are left alone."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.study.audit.copies import (
    KINDS,
    Link,
    candidate_pairs,
    connected,
    find_copies,
)
from tumorlens.study.audit.fingerprints import ORIENTATIONS
from tumorlens.study.phantom import PLANES, draw_phantom

HEADS = 14
Picture = np.ndarray


def brightened(a: Picture) -> Picture:
    return np.clip(a * 1.3, 0, 255).astype(np.uint8)


def gamma_bent(a: Picture) -> Picture:
    return (255 * (a / 255.0) ** 0.7).round().astype(np.uint8)


def as_jpeg(a: Picture) -> Picture:
    return cv2.imdecode(cv2.imencode(".jpg", a, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0)


def halved(a: Picture) -> Picture:
    return cv2.resize(a, (a.shape[1] // 2, a.shape[0] // 2), interpolation=cv2.INTER_AREA)


def sharpened(a: Picture) -> Picture:
    return cv2.addWeighted(a, 1.8, cv2.GaussianBlur(a, (0, 0), 1.5), -0.8, 0)


# What was done, and the orientation that has to be found for it.
CHANGES: dict[str, tuple[Callable[[Picture], Picture], str]] = {
    "flipped left-right": (np.fliplr, "flip left-right"),
    "flipped up-down": (np.flipud, "flip up-down"),
    "turned by 90": (lambda a: np.rot90(a, -1), "rotate 90"),
    "turned by 180": (lambda a: np.rot90(a, 2), "rotate 180"),
    "turned by 270": (np.rot90, "rotate 270"),
    "transposed": (lambda a: a.T, "transpose"),
    "anti-transposed": (lambda a: np.rot90(a, 2).T, "anti-transpose"),
    "brightened": (brightened, "as is"),
    "gamma": (gamma_bent, "as is"),
    "JPEG at quality 60": (as_jpeg, "as is"),
    "half size": (halved, "as is"),
    "sharpened": (sharpened, "as is"),
    "flipped and brightened": (lambda a: brightened(np.fliplr(a)), "flip left-right"),
}


def write(path: Path, pixels: Picture) -> Path:
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
    return path


@pytest.fixture(scope="module")
def heads() -> list[Picture]:
    """Fourteen heads, one or more of every class and plane."""
    kinds = [("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "glioma"),
             ("mri", "meningioma"), ("mri", "pituitary")]  # fmt: skip
    return [
        draw_phantom(*kinds[i % 6], seed=700 + i, plane=PLANES[i % 3]).pixels for i in range(HEADS)
    ]


@pytest.fixture(scope="module")
def planted(heads, tmp_path_factory) -> list[Link]:
    """Links among all heads and every changed copy of each, in one search."""
    folder = tmp_path_factory.mktemp("planted")
    paths = [write(folder / f"{i}.png", head) for i, head in enumerate(heads)]
    for number, (change, _) in enumerate(CHANGES.values()):
        paths += [write(folder / f"{i}_{number}.png", change(h)) for i, h in enumerate(heads)]
    return find_copies(paths)


def head_of(position: int) -> int:
    return position % HEADS


@pytest.mark.parametrize("name", CHANGES)
def test_a_planted_copy_is_found_with_its_orientation(planted, name):
    start = HEADS * (1 + list(CHANGES).index(name))
    wanted = {(i, start + i): CHANGES[name][1] for i in range(HEADS)}
    found = {(k.a, k.b): k.orientation for k in planted if k.kind in ("exact", "pixels", "copy")}
    right = [pair for pair, orientation in wanted.items() if found.get(pair) == orientation]
    assert len(right) >= 0.95 * HEADS


def test_no_copy_link_joins_two_heads(planted):
    copies = [k for k in planted if k.kind != "neighbour"]
    assert len(copies) > HEADS * len(CHANGES)
    assert all(head_of(k.a) == head_of(k.b) for k in copies)


def test_a_pair_is_linked_once_and_in_order(planted):
    pairs = [(k.a, k.b) for k in planted]
    assert len(pairs) == len(set(pairs))
    assert all(a < b for a, b in pairs)


def test_a_link_says_what_it_is_in_known_words(planted):
    assert {k.kind for k in planted} <= set(KINDS)
    assert {k.orientation for k in planted} == set(ORIENTATIONS)
    assert all(-1 <= k.score <= 1 for k in planted)


@pytest.mark.parametrize("modality", ["ct", "mri"])
@pytest.mark.parametrize("plane", PLANES)
def test_strangers_of_one_plane_are_never_copies(modality, plane, tmp_path):
    paths = [
        write(tmp_path / f"{seed}.png",
              draw_phantom(modality, "healthy", seed=seed, plane=plane).pixels)
        for seed in range(64)
    ]  # fmt: skip
    assert [k for k in find_copies(paths) if k.kind != "neighbour"] == []


def test_equal_bytes_are_exact_and_equal_pixels_in_another_file_are_pixels(heads, tmp_path):
    first = write(tmp_path / "a.png", heads[0])
    second = tmp_path / "b.png"
    second.write_bytes(first.read_bytes())
    third = tmp_path / "c.bmp"
    third.write_bytes(cv2.imencode(".bmp", heads[0])[1].tobytes())
    links = find_copies([first, second, third])
    assert [(k.a, k.b, k.kind, k.score) for k in links] == [
        (0, 1, "exact", 1.0),
        (0, 2, "pixels", 1.0),
    ]


def test_an_unreadable_file_is_no_error_and_stands_alone(heads, tmp_path):
    whole = write(tmp_path / "a.png", heads[0])
    broken = [tmp_path / "b.png", tmp_path / "c.png"]
    for path in broken:
        path.write_bytes(whole.read_bytes()[:100])
    again = write(tmp_path / "d.png", np.fliplr(heads[0]))
    links = find_copies([whole, *broken, tmp_path / "lost.png", again])
    assert [(k.a, k.b) for k in links] == [(0, 4)]
    assert len(set(connected(5, links).tolist())) == 4


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_files_to_compare_give_no_links(heads, tmp_path, count):
    assert find_copies([write(tmp_path / f"{i}.png", heads[i]) for i in range(count)]) == []


def test_flat_pictures_are_not_copies_of_one_another(tmp_path):
    paths = [
        write(tmp_path / f"{grey}_{side}.png", np.full((side, side), grey, np.uint8))
        for grey in (1, 9, 90, 199, 200)
        for side in (50, 64, 90)
    ]
    assert find_copies(paths) == []


def test_candidates_are_the_pairs_within_the_distance():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (6, 2, 8, 4), dtype=np.uint64)
    hashes[4, 1, 0] = hashes[1, 1, 3]
    hashes[4, 1, 0, 0] ^= np.uint64(0b111)
    for distance, wanted in ((3, [(1, 4, 3, 1)]), (2, [])):
        found = candidate_pairs(hashes, distance)
        assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


def test_connected_joins_chains_and_leaves_the_rest_alone():
    links = [Link(0, 2, "copy", "as is", 0.9), Link(2, 4, "neighbour", "as is", 0.7)]
    groups = connected(6, links).tolist()
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups)) == 4


def test_connected_follows_only_the_kinds_it_is_given():
    links = [Link(0, 2, "copy", "as is", 0.9), Link(2, 4, "neighbour", "as is", 0.7)]
    groups = connected(6, links, ("exact", "pixels", "copy")).tolist()
    assert groups[0] == groups[2] != groups[4]


def test_without_links_everyone_stands_alone():
    assert sorted(connected(3, []).tolist()) == [0, 1, 2]
