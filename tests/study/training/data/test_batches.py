"""Which images an epoch shows follows from (seed, epoch) alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorlens.labels import ATOMS, label_mask
from tumorlens.study.training.data import batches
from tumorlens.study.training.data.batches import (
    TrainingSet,
    ViewSpec,
    epoch_batches,
    epoch_positions,
    one_of_each_image,
    prefetched,
)
from tumorlens.study.training.data.lesion_masks import find_lesion_masks


def make_set(strata: list[int], copies: list[int] | None = None) -> TrainingSet:
    """One picture per entry of `strata`, with so many files each."""
    copies = copies or [1] * len(strata)
    pictures = np.repeat(np.arange(len(strata)), copies)
    n = len(pictures)
    images = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    masks = np.zeros((n, len(ATOMS)), np.float32)
    masks[np.arange(n), np.arange(n) % len(ATOMS)] = 1
    return TrainingSet(images, masks, pictures, np.repeat(strata, copies))


def positions_of(data: TrainingSet, **options) -> np.ndarray:
    return epoch_positions(data.image_ids, data.strata, **options)


RARE = make_set([0] * 90 + [1] * 10)
COPIED = make_set([0] * 8 + [1] * 8, copies=[5, 1, 2, 3] * 4)

pictures_lists = st.lists(st.integers(0, 9), min_size=1, max_size=40)


@settings(max_examples=50)
@given(pictures=pictures_lists, seed=st.integers(0, 99))
def test_one_file_of_each_picture_is_the_first_in_the_order_given(pictures, seed):
    numbers = np.array(pictures)
    order = np.random.default_rng(seed).permutation(len(numbers))
    taken = one_of_each_image(numbers, order)
    wanted = {p: next(i for i in order.tolist() if pictures[i] == p) for p in set(pictures)}
    assert sorted(taken.tolist()) == sorted(wanted.values())


def test_the_length_of_an_epoch_is_the_number_of_pictures():
    assert len(COPIED) == 44
    assert COPIED.distinct_count == 16


@pytest.mark.parametrize("epoch", range(5))
def test_without_balance_an_epoch_shows_one_file_of_each_picture(epoch):
    positions = positions_of(COPIED, balance=0, seed=1, epoch=epoch)
    assert sorted(COPIED.image_ids[positions].tolist()) == list(range(16))


def test_with_full_balance_every_stratum_is_shown_equally_often():
    for epoch in range(4):
        positions = positions_of(RARE, balance=1, seed=0, epoch=epoch)
        shown = np.bincount(RARE.strata[positions])
        assert shown.sum() == pytest.approx(100, abs=1)
        assert abs(int(shown[0]) - int(shown[1])) <= 4


def test_half_balance_shows_by_the_square_root_of_the_count():
    shown = sum(
        np.bincount(RARE.strata[positions_of(RARE, balance=0.5, seed=0, epoch=e)])
        for e in range(20)
    )
    assert shown[0] / shown[1] == pytest.approx(3, rel=0.1)


def test_frequent_pictures_take_turns_from_epoch_to_epoch():
    shown = np.concatenate([positions_of(RARE, balance=1, seed=0, epoch=e) for e in range(12)])
    assert set(shown.tolist()) == set(range(100))


def test_the_copies_of_a_picture_take_turns_from_epoch_to_epoch():
    first = np.flatnonzero(COPIED.image_ids == 0)
    shown = {
        int(position)
        for epoch in range(40)
        for position in epoch_positions(
            COPIED.image_ids, COPIED.strata, balance=0, seed=0, epoch=epoch
        )
        if position in first
    }
    assert shown == set(first.tolist())


def test_the_same_seed_and_epoch_show_the_same_positions():
    first, again = (positions_of(COPIED, balance=0.5, seed=3, epoch=2) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("other", [{"epoch": 1, "seed": 0}, {"epoch": 0, "seed": 1}])
def test_another_seed_or_epoch_shows_another_order(other):
    first = positions_of(RARE, balance=0, seed=0, epoch=0)
    second = positions_of(RARE, balance=0, **other)
    assert sorted(first.tolist()) == sorted(second.tolist())
    assert first.tolist() != second.tolist()


def all_batches(strength: float = 0.0, seed: tuple[int, ...] = (0, 0), batch: int = 8):
    positions = np.arange(40)
    return list(epoch_batches(RARE, positions, view=ViewSpec(4, strength), batch=batch, seed=seed))


def test_batches_show_the_positions_in_order_with_their_masks():
    images = np.concatenate([batch.images for batch in all_batches()])
    masks = np.concatenate([batch.targets for batch in all_batches()])
    assert images.shape == (40, 4, 4, 1)
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(40))
    np.testing.assert_array_equal(masks, RARE.label_masks[:40])


@pytest.mark.parametrize(("batch", "count"), [(8, 5), (7, 5), (40, 1), (41, 0)])
def test_only_whole_batches_are_shown(batch, count):
    assert [len(found.images) for found in all_batches(batch=batch)] == [batch] * count


def test_positions_beyond_the_last_whole_batch_are_never_asked_for(monkeypatch):
    made = []

    def count(image, *_: object, **__: object) -> np.ndarray:
        made.append(image)
        return image

    monkeypatch.setattr(batches, "augment_marked", count)
    found = list(epoch_batches(RARE, np.arange(20), view=ViewSpec(4, 0), batch=8, seed=(0,)))
    assert (len(found), len(made)) == (2, 16)


def test_an_error_in_any_batch_comes_out_where_that_batch_is_taken():
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("batch 2")
        return number

    found = prefetched(make, 3)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="batch 2"):
        next(found)


def big_set() -> TrainingSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32), dtype=np.uint8)
    masks = np.ones((24, len(ATOMS)), np.float32)
    return TrainingSet(images, masks, np.arange(24), np.zeros(24, np.int64))


def test_the_same_seed_augments_the_same_and_another_epoch_augments_anew():
    data = big_set()

    def shown(seed: tuple[int, int]) -> np.ndarray:
        found = epoch_batches(
            data, np.arange(24), view=ViewSpec(data.images.shape[1], 1.0), batch=8, seed=seed
        )
        return np.concatenate([batch.images for batch in found])

    np.testing.assert_array_equal(shown((0, 1)), shown((0, 1)))
    assert (shown((0, 1)) != shown((0, 2))).any()
    assert (shown((0, 1)) != shown((1, 1))).any()


def test_batches_of_one_epoch_are_augmented_differently():
    data = big_set()
    twice = np.tile(np.arange(8), 2)
    first, second = (
        batch.images
        for batch in epoch_batches(
            data, twice, view=ViewSpec(data.images.shape[1], 1.0), batch=8, seed=(0, 0)
        )
    )
    assert (first != second).any()


def test_shares_of_a_tumor_sum_to_one_and_stand_where_it_lies():
    image = np.full((1, 32, 32), 99, np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[:8, 16:] = True
    places = find_lesion_masks(image, ["mri_glioma"], {0: mask})
    data = TrainingSet(
        image, label_mask(["mri_glioma"]), np.arange(1), np.zeros(1, np.int64), places
    )
    look = ViewSpec(32, 0, grid=4)
    found = epoch_batches(data, np.zeros(2, np.int64), view=look, batch=2, seed=(0,))
    shares = next(found).lesion_shares
    assert shares.shape == (2, 4, 4)
    np.testing.assert_allclose(shares[0, 0, 2:], 0.5)
    np.testing.assert_allclose(shares.sum((1, 2)), 1)


def test_a_set_without_known_places_has_empty_shares():
    assert not any(batch.lesion_shares.any() for batch in all_batches())


def test_a_reader_may_stop_in_the_middle_of_an_epoch():
    found = epoch_batches(RARE, np.arange(40), view=ViewSpec(4, 0), batch=8, seed=(0, 0))
    next(found)
    found.close()
    assert list(found) == []


def test_a_teacher_is_asked_about_the_images_as_they_are_shown():
    def mean_gray(images: np.ndarray) -> np.ndarray:
        return np.repeat(images.mean((1, 2)), len(ATOMS), axis=1).astype(np.float32)

    data = big_set()
    [found] = epoch_batches(
        data, np.arange(24), view=ViewSpec(32, 1.0), batch=24, seed=(0, 0), teach=mean_gray
    )
    masks, taught = np.split(found.targets, 2, axis=1)
    np.testing.assert_array_equal(masks, data.label_masks)
    np.testing.assert_array_equal(taught, mean_gray(found.images))
    assert (taught[:, 0] != data.images.mean((1, 2)).astype(np.float32)).any()
