"""Streaming statistics of pictures, the test of groups, sizes and counts."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.explore import permutation, pictures
from tumorlens.study.explore.inventory import class_balance, picture_sizes
from tumorlens.study.explore.permutation import compare_groups
from tumorlens.study.explore.pictures import (
    MONTAGE,
    TESTED_GROUPS,
    TESTED_SIDE,
    Batch,
    difference,
    read_batches,
    stream_pictures,
)

RNG = np.random.default_rng(8)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_noise_in_any_order():
    RNG.bit_generator.state = START


def batch_of(pixels: np.ndarray, label: str, *, groups: list[str] | None = None) -> Batch:
    names = [f"{label}/{i}" for i in range(len(pixels))]
    return Batch(pixels, [label] * len(pixels), groups or names, names)


def noise(count: int, side: int = 20) -> np.ndarray:
    return RNG.integers(0, 256, (count, side, side)).astype(np.uint8)


def cut(batch: Batch, size: int) -> list[Batch]:
    spans = [slice(start, start + size) for start in range(0, len(batch.pixels), size)]
    return [Batch(batch.pixels[s], batch.labels[s], batch.groups[s], batch.paths[s]) for s in spans]


def test_mean_and_deviation_are_those_of_all_scans():
    pixels = noise(50)
    found = stream_pictures(cut(batch_of(pixels, "mri_glioma"), 7))["mri_glioma"]
    assert found.count == 50
    assert np.allclose(found.mean, pixels.mean(0), atol=1e-12)
    assert np.allclose(found.deviation, pixels.std(0), atol=1e-9)


def test_nothing_cancels_where_scans_hardly_differ():
    pixels = np.full((4001, 8, 8), 255, np.uint8)
    pixels[17] = 254
    found = stream_pictures(cut(batch_of(pixels, "mri_glioma"), 500))["mri_glioma"]
    assert np.allclose(found.deviation, np.sqrt(1 / 4001 - 1 / 4001**2), rtol=1e-9)


def test_histograms_count_every_pixel():
    pixels = noise(9)
    found = stream_pictures([batch_of(pixels, "ct_tumor")])["ct_tumor"]
    assert found.histogram.tolist() == np.bincount(pixels.ravel(), minlength=256).tolist()


def test_labels_are_kept_apart_and_gathered_by_modality():
    ct, mri, open_ = noise(4), noise(6), noise(2)
    mixed = [batch_of(ct, "ct_tumor"), batch_of(mri, "mri_glioma"), batch_of(open_, "tumor")]
    found = stream_pictures([*mixed, batch_of(ct, "ct_healthy")])
    counts = {name: kept.count for name, kept in found.items()}
    assert counts == {"all ct": 8, "all mri": 6, "ct_healthy": 4, "ct_tumor": 4, "mri_glioma": 6,
                      "tumor": 2}  # fmt: skip
    assert np.allclose(found["all mri"].mean, mri.mean(0))


def test_a_batch_may_mix_labels():
    pixels = noise(6)
    labels = ["mri_glioma", "mri_healthy"] * 3
    names = [str(i) for i in range(6)]
    found = stream_pictures([Batch(pixels, labels, names, names)])
    assert np.allclose(found["mri_healthy"].mean, pixels[1::2].mean(0))


def test_no_scans_give_no_classes():
    assert stream_pictures([]) == {}
    empty = pictures.ClassPictures(8)
    assert np.isnan(empty.mean).all()
    assert np.isnan(empty.deviation).all()


def test_order_and_batches_change_nothing():
    pixels = noise(3 * MONTAGE)
    whole = batch_of(pixels, "mri_glioma", groups=[f"g{i % 30}" for i in range(len(pixels))])
    order = RNG.permutation(len(pixels)).tolist()
    turned = Batch(
        pixels[order], whole.labels,
        [whole.groups[i] for i in order], [whole.paths[i] for i in order],
    )  # fmt: skip
    first = stream_pictures(cut(whole, 5))["mri_glioma"]
    second = stream_pictures(cut(turned, 64))["mri_glioma"]
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.deviation, second.deviation)
    assert [path for _, path, _ in first.montage] == [path for _, path, _ in second.montage]
    assert first.group_means().keys() == second.group_means().keys()


def test_the_montage_is_a_seeded_sample_of_bounded_size():
    batch = batch_of(noise(200, 8), "mri_glioma")
    kept = [
        [path for _, path, _ in stream_pictures([batch], seed=seed)["mri_glioma"].montage]
        for seed in (0, 0, 1)
    ]
    assert kept[0] == kept[1] != kept[2]
    assert len(set(kept[0])) == MONTAGE
    chosen = stream_pictures([batch])["mri_glioma"].montage
    for _, path, pixels in chosen:
        assert np.array_equal(pixels, batch.pixels[list(batch.paths).index(path)])


def test_every_scan_has_the_same_chance_of_the_montage():
    batch = batch_of(np.zeros((48, 4, 4), np.uint8), "mri_glioma")
    drawn = [
        int(path.split("/")[1])
        for seed in range(200)
        for _, path, _ in stream_pictures([batch], seed=seed)["mri_glioma"].montage
    ]
    counts = np.bincount(drawn, minlength=48)  # 100 expected, deviation 7
    assert counts.min() > 65
    assert counts.max() < 135


def test_memory_is_bounded_whatever_the_number_of_groups(monkeypatch):
    monkeypatch.setattr(pictures, "TESTED_GROUPS", 10)
    found = stream_pictures(cut(batch_of(noise(300, 8), "mri_glioma"), 50))["mri_glioma"]
    assert len(found.groups) == 10
    assert len(found.montage) == MONTAGE


def test_a_group_in_the_sample_has_all_of_its_scans(monkeypatch):
    monkeypatch.setattr(pictures, "TESTED_GROUPS", 5)
    groups = [f"g{i % 20}" for i in range(100)]
    found = stream_pictures(cut(batch_of(noise(100, 8), "mri_glioma", groups=groups), 9))
    assert [count for count, _ in found["mri_glioma"].groups.values()] == [5] * 5


def test_group_means_are_of_the_shrunk_scans():
    pixels = np.kron(noise(3, TESTED_SIDE), np.ones((2, 2), np.uint8))
    found = stream_pictures([batch_of(pixels, "mri_glioma", groups=["a", "b", "a"])])
    means = found["mri_glioma"].group_means()
    expected = {
        "a": pixels[[0, 2], ::2, ::2].mean(0).ravel(), "b": pixels[1, ::2, ::2].ravel()
    }  # fmt: skip
    assert {name.split()[1]: value.tolist() for name, value in means.items()} == {
        name: value.tolist() for name, value in expected.items()
    }


def units(count: int, name: str, *, bright: float = 0.0) -> dict[str, np.ndarray]:
    pixels = RNG.normal(100, 10, (count, 60))
    pixels[:, :5] += bright
    pixels[:, -1] = 0  # background
    return {f"{name}{i}": row for i, row in enumerate(pixels)}


def test_a_difference_is_found_where_it_is_and_nowhere_else():
    found = compare_groups(units(30, "a"), units(40, "b", bright=15), permutations=200)
    assert np.flatnonzero(found.significant).tolist() == [0, 1, 2, 3, 4]
    assert (found.t[:5] > 0).all()
    assert (np.abs(found.t[:5]) >= found.threshold).all()
    assert (found.n_first, found.n_second) == (30, 40)


def test_the_statistic_is_students_t():
    from scipy import stats

    first, second = units(12, "a"), units(9, "b", bright=5)
    found = compare_groups(first, second, permutations=1)
    known = stats.ttest_ind(list(second.values()), list(first.values())).statistic[:-1]
    assert np.allclose(found.t[:-1], known)


def test_background_that_never_varies_is_never_significant():
    found = compare_groups(units(10, "a"), units(10, "b"), permutations=50)
    assert (found.t[-1], found.p[-1]) == (0, 1)


def test_equal_classes_are_told_apart_as_rarely_as_promised():
    false = sum(
        compare_groups(units(12, "a"), units(12, "b"), permutations=99, seed=i).significant.any()
        for i in range(100)
    )
    assert false <= 12  # 5 expected; more than 12 in 0.2 % of such runs


def test_no_p_is_below_what_the_relabelings_can_show():
    found = compare_groups(units(20, "a"), units(20, "b", bright=80), permutations=99)
    assert found.p.min() == 0.01


def test_heads_that_stand_in_both_classes_swap_as_pairs():
    """A shift of 3 in heads that differ by 40 shows only when each is held against itself."""
    heads = RNG.normal(100, 40, (25, 1)) + RNG.normal(0, 1, (25, 30))
    first = {f"head {i}": row for i, row in enumerate(heads)}
    second = {f"head {i}": row + 3 + RNG.normal(0, 1, 30) for i, row in enumerate(heads)}
    strangers = {f"other {name}": row for name, row in second.items()}
    assert compare_groups(first, second, permutations=200).significant.all()
    assert not compare_groups(first, strangers, permutations=200).significant.any()


def test_relabelings_keep_the_pairs_and_the_sizes():
    sides = np.array([False] * 4 + [True] * 6)
    pairs = np.array([[0, 4], [1, 5]])
    drawn = permutation._relabeled(sides, pairs, count=300, rng=np.random.default_rng(0))
    assert (drawn.sum(1) == 6).all()
    assert (drawn[:, [0, 1]] != drawn[:, [4, 5]]).all()
    assert drawn.any(0).all()
    assert not drawn.all(0).any()


@pytest.mark.parametrize("counts", [(0, 5), (5, 1), (1, 1)])
def test_too_few_groups_are_not_tested(counts):
    assert compare_groups(units(counts[0], "a"), units(counts[1], "b")) is None


def test_a_difference_of_classes_holds_map_and_test():
    dark, bright = noise(12, 64) // 2, noise(12, 64) // 2
    bright[:, 20:40, 20:40] += 100
    found = stream_pictures([batch_of(dark, "mri_healthy"), batch_of(bright, "mri_glioma")])
    result = difference(found, "mri_healthy", "mri_glioma", permutations=100)
    assert np.allclose(result.difference, bright.mean(0) - dark.mean(0))
    assert result.significant.shape == (TESTED_SIDE, TESTED_SIDE)
    assert result.significant[16:29, 16:29].all()
    outside = result.significant.copy()
    outside[14:31, 14:31] = False
    assert not outside.any()


def test_copies_of_one_scan_prove_nothing():
    one = [np.repeat(noise(1, 24), 30, axis=0) for _ in range(2)]
    batches = [
        batch_of(one[0], "mri_healthy", groups=["a"] * 30),
        batch_of(one[1], "mri_glioma", groups=["b"] * 30),
    ]
    result = difference(stream_pictures(batches), "mri_healthy", "mri_glioma")
    assert (result.test, result.significant) == (None, None)


@pytest.fixture
def cases(head, write_image, tmp_path) -> list[Case]:
    write_image(head, "s/a.png")
    write_image(head[:, ::-1].copy(), "s/b.jpg")
    write_image(np.pad(head, ((0, 0), (16, 16))), "s/c.png")
    (tmp_path / "s/d.png").write_bytes(b"no picture")
    names = ("a.png", "b.jpg", "c.png", "d.png", "gone.png")
    splits = ("train", "train", "test", "train", None)
    return [
        Case(tmp_path / "s" / name, f"s/{name}", "mri_glioma", "s", split=split,
             group="g1" if name in ("a.png", "b.jpg") else None)
        for name, split in zip(names, splits, strict=True)
    ]  # fmt: skip


def test_batches_are_prepared_scans_with_their_groups(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "BATCH", 2)
    spec, told = InputSpec(side=48), []
    batches = list(
        read_batches(cases, spec, cache=tmp_path / "c", progress=lambda *n: told.append(n))
    )
    known = prepare_files([case.path for case in cases[:3]], spec, cache=tmp_path / "c")
    assert np.array_equal(np.concatenate([b.pixels for b in batches]), known.pixels)
    assert [group for b in batches for group in b.groups] == ["g1", "g1", "s/c.png"]
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert stream_pictures(batches)["mri_glioma"].count == 3


def test_sizes_are_those_of_the_headers(cases):
    found = json.loads(json.dumps(picture_sizes(cases)))
    assert found["unreadable"] == 2
    rows = [(p["width"], p["height"], p["aspect"], p["format"], p["n"]) for p in found["points"]]
    assert rows == [(128, 128, 1.0, "JPEG", 1), (128, 128, 1.0, "PNG", 1),
                    (160, 128, 1.25, "PNG", 1)]  # fmt: skip


def test_balance_counts_scans_and_groups_of_each_part(cases):
    assert class_balance([*cases, replace(cases[0], label="mri_healthy")]) == {
        "none": {"mri_glioma": {"n": 1, "n_groups": 1}},
        "test": {"mri_glioma": {"n": 1, "n_groups": 1}},
        "train": {"mri_glioma": {"n": 3, "n_groups": 2}, "mri_healthy": {"n": 1, "n_groups": 1}},
    }


def test_the_sample_of_groups_is_as_large_as_documented():
    assert TESTED_GROUPS == 400
    assert TESTED_SIDE == 48
