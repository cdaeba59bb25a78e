"""What is measured of two thumbnails, and what follows from it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tumorlens.inputs.row_store import Rows, load_index, write_chunk
from tumorlens.study.audit.duplicates import verification
from tumorlens.study.audit.duplicates.fingerprints import (
    ORIENTATIONS,
    PRINT,
    THUMB_SIDE,
    VIEWS,
    Fingerprints,
    orient,
    thumbnail,
)
from tumorlens.study.audit.duplicates.verification import (
    ALIGNED,
    CONTENT,
    FRAME,
    NEIGHBOR_SLICE,
    SURELY_SAME,
    Likeness,
    compare,
    is_copy_aligned,
)
from tumorlens.study.phantom import PLANES, draw_phantom

Thumb = np.ndarray
MakePrints = Callable[..., Fingerprints]
MIDDLE = np.hypot(*np.mgrid[-47.5:48, -47.5:48]) < 20


def drawn(seed: int, plane: str = "axial", *, modality: str = "mri") -> np.ndarray:
    return draw_phantom(modality, "healthy", seed=seed, plane=plane).pixels.astype(np.float32)


def noise(seed: int = 0) -> Thumb:
    values = np.random.default_rng(seed).normal(0, 20, (THUMB_SIDE, THUMB_SIDE))
    return np.clip(values.round(), -127, 127).astype(np.int8)


HEAD, STRANGER = thumbnail(drawn(5)), thumbnail(drawn(6))
BLANK = np.zeros_like(HEAD)


@pytest.fixture
def prints_of(tmp_path_factory) -> MakePrints:
    """Fingerprints that hold given thumbnails as frames (and other ones as contents)."""

    def make(*frames: Thumb, contents: tuple[Thumb, ...] = ()) -> Fingerprints:
        rows = np.zeros(len(frames), PRINT)
        rows["thumbs"][:, 0] = frames
        if contents:
            rows["thumbs"][:, 1] = contents
        keys = [str(i) for i in range(len(frames))]
        folder = tmp_path_factory.mktemp("prints")
        write_chunk(folder, keys, rows)
        index = load_index(folder)
        places = Rows([index[key] for key in keys])
        return Fingerprints(
            tuple(keys),
            tuple(keys),
            rows["hashes"],
            np.ones(len(rows), bool),
            np.zeros(len(rows), bool),
            places,
        )

    return make


def one_pair(prints: Fingerprints, *, turn: int = 0, of_a: int = 0, of_b: int = 0) -> Likeness:
    return compare(prints, np.array([[0, 1, turn, of_a, of_b]]))


def swapped_inside(a: Thumb, b: Thumb) -> Thumb:
    """`a`, with the brain of `b`."""
    return np.where(MIDDLE, b, a)


# Two thumbnails, and score, agreement and middle that follow (zero for strangers).
MEASURED = {
    "itself": (HEAD, HEAD, (1, 1, 1)),
    "its negative": (HEAD, -HEAD, (-1, 0, 0)),
    "at a third of the strength": (noise(), (noise() / 3).astype(np.int8), (0.996, 1, 0.996)),
    "noise and other noise": (noise(1), noise(2), (0, 0, 0)),
    "nothing": (HEAD, BLANK, (0, 0, 0)),
    "nothing twice": (BLANK, BLANK, (0, 0, 0)),
    "another brain": (noise(1), swapped_inside(noise(1), noise(2)), (0.864, 0.98, 0)),
    "another skull": (noise(1), swapped_inside(noise(2), noise(1)), (0.136, 0, 0)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_score_agreement_and_middle_are_what_they_say(prints_of, name):
    a, b, wanted = MEASURED[name]
    found = one_pair(prints_of(a, b))
    measured = (found.score[0], found.agreement[0], found.middle[0])
    assert measured == pytest.approx(wanted, abs=0.05)


def test_the_view_of_the_content_asks_for_more(prints_of):
    measures = [np.array([value]) for value in (0.85, 0.999, 0.8)]
    assert Likeness(*measures, in_content=np.zeros(1, bool)).is_copy[0]
    assert not Likeness(*measures, in_content=np.ones(1, bool)).is_copy[0]


def test_the_measures_are_the_correlations_of_numpy(prints_of):
    found = one_pair(prints_of(noise(1), swapped_inside(noise(1), noise(2))))
    a, b = noise(1).astype(float), swapped_inside(noise(1), noise(2)).astype(float)
    assert found.score[0] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=2e-3)
    strong = (np.abs(a) > 25) & (np.abs(b) > 25)
    assert found.agreement[0] == pytest.approx((a * b > 0)[strong].mean(), abs=1e-6)
    inside = np.corrcoef(a[MIDDLE], b[MIDDLE])[0, 1]
    assert found.middle[0] == pytest.approx(inside, abs=2e-2)


# score, agreement, middle, and what the pair is.
VERDICTS = [
    (0.85, 0.999, 0.80, "copy"),
    (0.79, 0.999, 0.80, "neighbor"),
    (0.85, 0.990, 0.80, "neighbor"),
    (0.85, 0.999, 0.70, "neighbor"),
    (0.98, 0.990, 0.99, "neighbor"),
    (0.99, 0.900, 0.10, "copy"),
    (0.64, 1.000, 1.00, "stranger"),
    (-1.0, 0.000, -1.0, "stranger"),
]


@pytest.mark.parametrize(("score", "agreement", "middle", "kind"), VERDICTS)
def test_all_three_measures_make_a_copy_and_the_score_alone_a_neighbor(
    score, agreement, middle, kind
):
    measures = [np.array([value]) for value in (score, agreement, middle)]
    found = Likeness(*measures, in_content=np.zeros(1, bool))
    assert bool(found.is_copy[0]) == (kind == "copy")
    assert bool(found.is_neighbor[0]) == (kind == "neighbor")


def test_limits_after_alignment_are_nowhere_lower():
    assert ALIGNED.score > CONTENT.score > FRAME.score > NEIGHBOR_SLICE
    assert ALIGNED.middle > CONTENT.middle > FRAME.middle
    assert ALIGNED.agreement == CONTENT.agreement == FRAME.agreement
    assert ALIGNED.score < SURELY_SAME


@pytest.mark.parametrize("turn", range(8), ids=ORIENTATIONS)
def test_the_orientation_turns_the_first_into_the_second(prints_of, turn):
    prints = prints_of(HEAD, orient(HEAD, turn))
    scores = [one_pair(prints, turn=t).score[0] for t in range(8)]
    assert scores[turn] == pytest.approx(1, abs=1e-6)
    assert max(s for t, s in enumerate(scores) if t != turn) < NEIGHBOR_SLICE


def test_the_views_of_both_are_the_ones_named(prints_of):
    prints = prints_of(HEAD, noise(3), contents=(noise(4), HEAD))
    assert one_pair(prints, of_a=0, of_b=1).is_copy[0]
    assert not one_pair(prints, of_a=1, of_b=0).is_copy[0]
    inner = prints.thumbs(np.array([0]), np.array([VIEWS.index("inner")]))[0]
    assert one_pair(prints_of(HEAD, inner), of_a=2, of_b=0).score[0] == pytest.approx(1, abs=1e-6)


def test_pairs_of_many_blocks_are_measured_as_each_alone(prints_of, monkeypatch):
    prints = prints_of(HEAD, STRANGER, HEAD[::-1], noise(1), BLANK)
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.integers(0, 5, 50), rng.integers(0, 5, 50), rng.integers(0, 8, 50),
                      rng.integers(0, 3, 50), rng.integers(0, 3, 50)], 1)  # fmt: skip
    whole = compare(prints, pairs)
    monkeypatch.setattr(verification, "_BLOCK", 7)
    parts = compare(prints, pairs)
    for name in ("score", "agreement", "middle"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-6)


def test_no_pairs_have_no_measures(prints_of):
    found = compare(prints_of(HEAD), np.empty((0, 5), np.int64))
    assert found.score.shape == found.is_copy.shape == found.is_neighbor.shape == (0,)


def moved(picture: np.ndarray, *, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Scale about the middle, then shift by (x, y), as shares of the side."""
    side = picture.shape[0]
    middle = (side - 1) / 2
    matrix = np.array([[scale, 0, middle * (1 - scale) + shift[0] * side],
                       [0, scale, middle * (1 - scale) + shift[1] * side]])  # fmt: skip
    return cv2.warpAffine(picture, matrix, picture.shape[::-1])


MOVES = [(1.0, (0.03, -0.05)), (1.05, (0, 0)), (0.95, (0.02, 0.04)), (1.02, (-0.06, 0.01))]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("scale", "shift"), MOVES)
def test_a_moved_picture_is_a_copy_once_it_is_aligned(prints_of, scale, shift, plane):
    picture = drawn(9, plane)
    prints = prints_of(thumbnail(picture), thumbnail(moved(picture, scale=scale, shift=shift)))
    assert not one_pair(prints).is_copy[0]
    is_copy, score = is_copy_aligned(prints, np.array([0, 1, 0, 0, 0]))
    assert is_copy
    assert score >= ALIGNED.score


@pytest.mark.parametrize("turn", [1, 5])
def test_a_turned_and_moved_picture_is_aligned_after_it_was_turned(prints_of, turn):
    picture = drawn(9)
    other = moved(np.ascontiguousarray(orient(picture, turn)), scale=1.04, shift=(0.02, 0.03))
    prints = prints_of(thumbnail(picture), thumbnail(other))
    assert is_copy_aligned(prints, np.array([0, 1, turn, 0, 0]))[0]
    assert not is_copy_aligned(prints, np.array([0, 1, 0, 0, 0]))[0]


@pytest.mark.parametrize(("scale", "shift"), MOVES)
def test_the_alignment_is_the_known_scale_and_shift(scale, shift):
    picture = drawn(12)
    a = thumbnail(picture).astype(np.float32)
    b = thumbnail(moved(picture, scale=scale, shift=shift)).astype(np.float32)
    coarse, _ = verification._coarse_alignment(a, b)
    matrix = verification._refine(a, b, coarse)
    corners = np.array([[0, 0, 1], [95, 0, 1], [0, 95, 1], [95, 95, 1], [47.5, 47.5, 1]])
    wanted = np.array([[scale, 0, 47.5 * (1 - scale) + shift[0] * THUMB_SIDE],
                       [0, scale, 47.5 * (1 - scale) + shift[1] * THUMB_SIDE]])  # fmt: skip
    np.testing.assert_allclose(matrix @ corners.T, wanted @ corners.T, atol=0.5)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("modality", ["ct", "mri"])
def test_strangers_of_one_plane_are_refused_after_alignment_too(prints_of, modality, plane):
    heads = [thumbnail(drawn(seed, plane, modality=modality)) for seed in range(8)]
    prints = prints_of(*heads)
    for a in range(8):
        for b in range(a + 1, 8):
            assert not is_copy_aligned(prints, np.array([a, b, 0, 0, 0]))[0], (a, b)


@pytest.mark.parametrize("pair", [(HEAD, BLANK), (BLANK, HEAD), (BLANK, BLANK), (noise(1), HEAD)])
def test_what_shows_no_picture_is_never_aligned(prints_of, pair):
    assert is_copy_aligned(prints_of(*pair), np.array([0, 1, 0, 0, 0])) == (False, 0.0)


def test_a_picture_that_lies_mostly_outside_is_no_copy(prints_of):
    picture = drawn(9)
    far = moved(picture, scale=1.0, shift=(0.4, 0.4))
    prints = prints_of(thumbnail(picture), thumbnail(far))
    assert is_copy_aligned(prints, np.array([0, 1, 0, 0, 0])) == (False, 0.0)
