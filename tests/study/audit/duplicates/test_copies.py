"""Copies are found whatever was done to them; strangers are left alone."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.images.readers import read_scan
from tumorlens.inputs import row_store as chunks
from tumorlens.study.audit.duplicates import copies as copies_module
from tumorlens.study.audit.duplicates import fingerprints
from tumorlens.study.audit.duplicates.copies import (
    INVERSE,
    KINDS,
    SAME,
    Link,
    connected,
    find_copies,
    link_copies,
)
from tumorlens.study.audit.duplicates.fingerprints import (
    ORIENTATIONS,
    fingerprint,
    orient,
    thumbnail,
)
from tumorlens.study.phantom import PLANES, draw_phantom

HEADS = 14
TRIMMED = 6  # the first of them without any margin
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


def cropped(a: Picture) -> Picture:
    """Without 5 % of each side."""
    rows, columns = round(0.05 * a.shape[0]), round(0.05 * a.shape[1])
    return a[rows:-rows, columns:-columns]


def on_canvas(a: Picture) -> Picture:
    """Off the middle of a larger black picture of another shape."""
    height, width = a.shape
    canvas = np.zeros((round(1.5 * height), round(1.4 * width)), np.uint8)
    canvas[20 : 20 + height, 30 : 30 + width] = a
    return canvas


def trimmed(a: Picture) -> Picture:
    """Without the margin around a head; what is fainter than skin does not count."""
    shown = a > 0.12 * a.max()
    rows, columns = np.flatnonzero(shown.mean(1) > 0.05), np.flatnonzero(shown.mean(0) > 0.05)
    return a[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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
    "cropped": (cropped, "as is"),
    "cropped and flipped": (lambda a: np.fliplr(cropped(a)), "flip left-right"),
    "cropped and turned by 90": (lambda a: np.rot90(cropped(a), -1), "rotate 90"),
    "brightened and cropped": (lambda a: cropped(brightened(a)), "as is"),
    "on a canvas": (on_canvas, "as is"),
}


def write(path: Path, pixels: Picture) -> Path:
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
    return path


# By position in the planted set: what turns a head into each of its pictures.
NAMES = ["unchanged", *CHANGES]
TURNS = ["as is", *(turn for _, turn in CHANGES.values())]


@pytest.fixture(scope="module")
def heads() -> list[Picture]:
    """Fourteen heads, no two of one class in one plane; some fill their frame."""
    kinds = [("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "glioma"),
             ("mri", "meningioma"), ("mri", "pituitary")]  # fmt: skip
    drawn = [
        draw_phantom(*kinds[i % 6], seed=700 + i, plane=PLANES[i // 6]).pixels for i in range(HEADS)
    ]
    return [trimmed(a) if i < TRIMMED else a for i, a in enumerate(drawn)]


@pytest.fixture(scope="module")
def pictures(heads) -> list[Picture]:
    """All heads, then the first change of each, then the second, and so on."""
    changed = [change(head) for change, _ in CHANGES.values() for head in heads]
    return [*heads, *changed]


@pytest.fixture(scope="module")
def planted(pictures, tmp_path_factory) -> list[Link]:
    """Links among all heads and every changed copy of each, in one search."""
    folder = tmp_path_factory.mktemp("planted")
    paths = [write(folder / f"{i}.png", picture) for i, picture in enumerate(pictures)]
    return find_copies(paths, cache=folder / "cache")


def head_of(position: int) -> int:
    return position % HEADS


def turn_of(position: int) -> str:
    return TURNS[position // HEADS]


def between(first: str, second: str) -> str:
    """Name what turns a picture turned by `first` into the one turned by `second`."""
    small = np.arange(6).reshape(2, 3)
    a, b = (orient(small, ORIENTATIONS.index(name)) for name in (first, second))
    (turn,) = (o for o in range(8) if np.array_equal(orient(a, o), b))
    return ORIENTATIONS[turn]


@pytest.mark.parametrize("name", CHANGES)
def test_a_planted_copy_is_found_with_its_orientation(planted, name):
    start = HEADS * NAMES.index(name)
    wanted = {(i, start + i): CHANGES[name][1] for i in range(HEADS)}
    found = {(k.a, k.b): k.orientation for k in planted if k.kind in SAME}
    right = [pair for pair, orientation in wanted.items() if found.get(pair) == orientation]
    # On a canvas, a few are joined to their head by a chain of others alone.
    assert len(right) >= (0.7 if name == "on a canvas" else 1) * HEADS


def test_all_files_of_a_picture_are_one_group_and_no_others(planted, pictures):
    groups = connected(len(pictures), planted, SAME).tolist()
    pairs = {(head_of(i), group) for i, group in enumerate(groups)}
    assert len(pairs) == len(set(groups)) == HEADS


def test_no_copy_link_joins_two_heads(planted):
    copies = [k for k in planted if k.kind in SAME]
    assert len(copies) > HEADS * len(CHANGES)
    assert all(head_of(k.a) == head_of(k.b) for k in copies)


def test_the_copies_of_a_picture_are_listed_pair_by_pair(planted):
    """Not a chain of them only, but for those on a canvas."""
    ends = {(k.a, k.b) for k in planted if k.kind in SAME}
    canvas = NAMES.index("on a canvas")
    versions = [i for i in range(len(TURNS)) if i != canvas]
    every = {
        (head + HEADS * i, head + HEADS * j)
        for head in range(HEADS)
        for i, j in combinations(versions, 2)
    }
    assert every <= ends


def test_every_listed_orientation_is_the_one_between_the_two(planted):
    copies = [k for k in planted if k.kind in SAME]
    wanted = [between(turn_of(k.a), turn_of(k.b)) for k in copies]
    assert [k.orientation for k in copies] == wanted


def test_turning_the_first_as_listed_gives_the_second(planted, pictures):
    """Of all eight turns the listed one correlates best; 200 pairs with the same frame."""
    framed = ["crop" in name or "canvas" in name for name in NAMES]
    copies = [k for k in planted if k.kind in SAME and not framed[k.a // HEADS]]
    copies = [k for k in copies if not framed[k.b // HEADS]]
    for link in copies[:: len(copies) // 200]:
        a, b = (thumbnail(pictures[i].astype(np.float32)).astype(float) for i in (link.a, link.b))
        scores = [(orient(a, turn) * b).sum() for turn in range(8)]
        assert ORIENTATIONS[int(np.argmax(scores))] == link.orientation, link


def test_a_pair_is_linked_once_and_in_order(planted):
    pairs = [(k.a, k.b) for k in planted]
    assert pairs == sorted(set(pairs))
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
    assert [k for k in find_copies(paths, cache=tmp_path) if k.kind != "neighbor"] == []


def test_equal_bytes_are_exact_and_equal_pixels_in_another_file_are_pixels(heads, tmp_path):
    first = write(tmp_path / "a.png", heads[0])
    second = tmp_path / "b.png"
    second.write_bytes(first.read_bytes())
    third = tmp_path / "c.bmp"
    third.write_bytes(cv2.imencode(".bmp", heads[0])[1].tobytes())
    links = find_copies([first, second, third], cache=tmp_path)
    assert [(k.a, k.b, k.kind, k.score) for k in links] == [
        (0, 1, "exact", 1.0),
        (0, 2, "pixels", 1.0),
        (1, 2, "pixels", 1.0),
    ]


def test_an_unreadable_file_is_no_error_and_stands_alone(heads, tmp_path):
    whole = write(tmp_path / "a.png", heads[0])
    broken = [tmp_path / "b.png", tmp_path / "c.png"]
    for path in broken:
        path.write_bytes(whole.read_bytes()[:100])
    again = write(tmp_path / "d.png", np.fliplr(heads[0]))
    links = find_copies([whole, *broken, tmp_path / "lost.png", again], cache=tmp_path)
    assert [(k.a, k.b) for k in links] == [(0, 4)]
    assert len(set(connected(5, links).tolist())) == 4


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_files_to_compare_give_no_links(heads, tmp_path, count):
    paths = [write(tmp_path / f"{i}.png", heads[i]) for i in range(count)]
    assert find_copies(paths, cache=tmp_path) == []


def test_flat_pictures_are_not_copies_of_one_another(tmp_path):
    paths = [
        write(tmp_path / f"{gray}_{side}.png", np.full((side, side), gray, np.uint8))
        for gray in (1, 9, 90, 199, 200)
        for side in (50, 64, 90)
    ]
    assert find_copies(paths, cache=tmp_path) == []


def next_slice(a: Picture) -> Picture:
    """The same head bent by a pixel here and there, as from one slice to the next."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: a.shape[0], : a.shape[1]].astype(np.float32)
    wide = [cv2.GaussianBlur(rng.normal(size=a.shape), (0, 0), 12) for _ in range(2)]
    across, down = ((1.2 * bend / bend.std()).astype(np.float32) for bend in wide)
    return cv2.remap(a, columns + across, rows + down, cv2.INTER_LINEAR)


@pytest.mark.parametrize("number", [7, 9, 10])
def test_a_neighboring_slice_is_a_neighbor_of_every_copy_and_no_copy(heads, tmp_path, number):
    head = heads[number]
    pictures = [head, next_slice(head), np.fliplr(head), brightened(next_slice(head))]
    paths = [write(tmp_path / f"{i}.png", picture) for i, picture in enumerate(pictures)]
    found = {(k.a, k.b): k.kind for k in find_copies(paths, cache=tmp_path)}
    copies = {(0, 2): "copy", (1, 3): "copy"}
    assert found == copies | dict.fromkeys(((0, 1), (0, 3), (1, 2), (2, 3)), "neighbor")


def test_no_two_of_one_picture_are_neighbors(planted, pictures):
    groups = connected(len(pictures), planted, SAME)
    neighbors = [k for k in planted if k.kind == "neighbor"]
    assert all(groups[k.a] != groups[k.b] for k in neighbors)


def test_what_is_found_of_one_file_is_said_of_all_with_its_pixels(heads, tmp_path):
    """Also where the twin comes before: then the turn is the way back."""
    turned = np.rot90(heads[8], -1)
    pictures = [turned, heads[8], turned, heads[8]]
    paths = [write(tmp_path / f"{i}.png", picture) for i, picture in enumerate(pictures)]
    found = [(k.a, k.b, k.kind, k.orientation) for k in find_copies(paths, cache=tmp_path)]
    assert found == [
        (0, 1, "copy", "rotate 270"),
        (0, 2, "exact", "as is"),
        (0, 3, "copy", "rotate 270"),
        (1, 2, "copy", "rotate 90"),
        (1, 3, "exact", "as is"),
        (2, 3, "copy", "rotate 270"),
    ]


def test_very_many_equal_files_are_listed_as_a_star(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(copies_module, "_MAX_LISTED", 4)
    paths = [write(tmp_path / f"{i}.png", heads[0]) for i in range(5)]
    paths += [write(tmp_path / f"{i}.png", np.fliplr(heads[0])) for i in range(5, 8)]
    links = find_copies(paths, cache=tmp_path)
    pairs = [(k.a, k.b) for k in links]
    assert [pair for pair in pairs if pair[1] < 5] == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert set(connected(8, links, SAME).tolist()) == {0}


@pytest.mark.parametrize("turn", range(8), ids=ORIENTATIONS)
def test_a_turn_and_its_inverse_leave_a_picture_as_it_is(turn):
    small = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(orient(orient(small, turn), INVERSE[turn]), small)


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files whose pixels were read, in some order."""
    seen: list[Path] = []

    def reading(path):
        seen.append(path)
        return read_scan(path)

    monkeypatch.setattr(fingerprints, "read_scan", reading)
    return seen


@pytest.fixture
def few(heads, tmp_path) -> list[Path]:
    """Three heads, each with a flipped and a brightened copy."""
    pictures = [change(head) for head in heads[6:9] for change in (np.array, np.fliplr, brightened)]
    return [write(tmp_path / f"{i}.png", picture) for i, picture in enumerate(pictures)]


def test_a_second_search_reads_no_pixels_and_finds_the_same(few, tmp_path, reads):
    first = find_copies(few, cache=tmp_path / "cache")
    assert sorted(reads) == sorted(few)
    assert find_copies(few, cache=tmp_path / "cache") == first != []
    assert len(reads) == len(few)


def test_a_search_with_one_more_file_reads_that_one_only(few, heads, tmp_path, reads):
    find_copies(few, cache=tmp_path / "cache")
    reads.clear()
    added = write(tmp_path / "added.png", np.flipud(heads[6]))
    links = find_copies([added, *few], cache=tmp_path / "cache")
    assert reads == [added]
    assert [k.b for k in links if k.a == 0 and k.kind == "copy"] == [1, 2, 3]


def test_a_search_that_was_stopped_goes_on_and_finds_the_same(few, tmp_path, reads, monkeypatch):
    """Stop after the first chunk of two, of which nothing is lost."""
    monkeypatch.setattr(chunks, "CHUNK", 2)

    def stopping(done: int, _: int) -> None:
        raise KeyboardInterrupt(done)

    with pytest.raises(KeyboardInterrupt):
        find_copies(few, cache=tmp_path / "cache", progress=stopping)
    assert len(reads) == 2
    found = find_copies(few, cache=tmp_path / "cache")
    assert len(reads) == len(few)
    assert found == find_copies(few, cache=tmp_path / "other")


def test_without_a_folder_the_users_own_cache_is_used(few, tmp_path, reads, monkeypatch):
    monkeypatch.setenv("TUMORLENS_CACHE", str(tmp_path / "own"))
    assert find_copies(few) == find_copies(few, cache=tmp_path / "own") != []
    assert len(reads) == len(few)


def test_links_come_from_fingerprints_alone(few, tmp_path):
    """The files may be gone by then."""
    prints = fingerprint(few, cache=tmp_path / "cache")
    for path in few:
        path.unlink()
    links = link_copies(prints)
    assert {(0, 1), (0, 2), (1, 2)} <= {(k.a, k.b) for k in links if k.kind == "copy"}


def test_connected_joins_chains_and_leaves_the_rest_alone():
    links = [Link(0, 2, "copy", "as is", 0.9), Link(2, 4, "neighbor", "as is", 0.7)]
    groups = connected(6, links).tolist()
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups)) == 4


def test_connected_follows_only_the_kinds_it_is_given():
    links = [Link(0, 2, "copy", "as is", 0.9), Link(2, 4, "neighbor", "as is", 0.7)]
    groups = connected(6, links, ("exact", "pixels", "copy")).tolist()
    assert groups[0] == groups[2] != groups[4]


def test_without_links_everyone_stands_alone():
    assert sorted(connected(3, []).tolist()) == [0, 1, 2]
