"""Statistics of a stream of images, what it samples, and how two classes differ."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.explore import class_images
from tumorlens.study.explore.class_images import (
    MONTAGE,
    TESTED_GROUPS,
    TESTED_SIDE,
    ClassStatistics,
    class_statistics,
    mean_difference,
    merge_statistics,
    prepared_images,
)

RNG = np.random.default_rng(8)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_noise_in_any_order():
    RNG.bit_generator.state = START


def images_of(
    pixels: np.ndarray, label: str, *, groups: list[str] | None = None
) -> list[tuple[np.ndarray, Case]]:
    names = [f"{label}/{i}" for i in range(len(pixels))]
    return [
        (image, Case(Path(name), name, label, "set", group=group))
        for image, name, group in zip(pixels, names, groups or names, strict=True)
    ]


def noise(count: int, side: int = 20) -> np.ndarray:
    return RNG.integers(0, 256, (count, side, side)).astype(np.uint8)


def test_mean_and_deviation_are_those_of_all_scans():
    pixels = noise(50)
    found = class_statistics(images_of(pixels, "mri_glioma"))["mri_glioma"]
    assert found.count == 50
    assert np.allclose(found.mean, pixels.mean(0), atol=1e-12)
    assert np.allclose(found.deviation, pixels.std(0), atol=1e-9)


def test_nothing_cancels_where_scans_hardly_differ():
    pixels = np.full((4001, 8, 8), 255, np.uint8)
    pixels[17] = 254
    found = class_statistics(images_of(pixels, "mri_glioma"))["mri_glioma"]
    assert np.allclose(found.deviation, np.sqrt(1 / 4001 - 1 / 4001**2), rtol=1e-9)


def test_histograms_count_every_pixel():
    pixels = noise(9)
    found = class_statistics(images_of(pixels, "ct_tumor"))["ct_tumor"]
    assert found.histogram.tolist() == np.bincount(pixels.ravel(), minlength=256).tolist()


def test_labels_are_kept_apart_and_gathered_by_modality():
    ct, mri, open_ = noise(4), noise(6), noise(2)
    mixed = images_of(ct, "ct_tumor"), images_of(mri, "mri_glioma"), images_of(open_, "tumor")
    found = class_statistics([*chain(*mixed), *images_of(ct, "ct_healthy")])
    counts = {name: kept.count for name, kept in found.items()}
    assert counts == {"all ct": 8, "all mri": 6, "ct_healthy": 4, "ct_tumor": 4, "mri_glioma": 6,
                      "tumor": 2}  # fmt: skip
    assert np.allclose(found["all mri"].mean, mri.mean(0))


def test_labels_may_come_in_any_order():
    pixels = noise(6)
    sides = images_of(pixels[::2], "mri_glioma"), images_of(pixels[1::2], "mri_healthy")
    found = class_statistics(chain(*zip(*sides, strict=True)))
    assert np.allclose(found["mri_healthy"].mean, pixels[1::2].mean(0))


def test_no_scans_give_no_classes():
    assert class_statistics([]) == {}
    empty = ClassStatistics(8)
    assert np.isnan(empty.mean).all()
    assert np.isnan(empty.deviation).all()


def test_order_changes_nothing():
    pixels = noise(3 * MONTAGE)
    whole = images_of(pixels, "mri_glioma", groups=[f"g{i % 30}" for i in range(len(pixels))])
    turned = [whole[i] for i in RNG.permutation(len(pixels))]
    first, second = (class_statistics(images)["mri_glioma"] for images in (whole, turned))
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.deviation, second.deviation)
    assert [path for _, path, _ in first.sample] == [path for _, path, _ in second.sample]
    assert first.group_means().keys() == second.group_means().keys()


def test_the_montage_is_a_seeded_sample_of_bounded_size():
    images = images_of(noise(200, 8), "mri_glioma")
    kept = [class_statistics(images, seed=seed)["mri_glioma"].sample for seed in (0, 0, 1)]
    names = [[path for _, path, _ in sample] for sample in kept]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == MONTAGE
    by_path = {case.path: image for image, case in images}
    assert all(np.array_equal(image, by_path[path]) for _, path, image in kept[0])


def test_every_scan_has_the_same_chance_of_the_montage():
    images = images_of(np.zeros((48, 4, 4), np.uint8), "tumor")
    drawn = [
        int(path.name)
        for seed in range(200)
        for _, path, _ in class_statistics(images, seed=seed)["tumor"].sample
    ]
    counts = np.bincount(drawn, minlength=48)  # 100 expected, deviation 7
    assert counts.min() > 65
    assert counts.max() < 135


def test_memory_is_bounded_whatever_the_number_of_groups(monkeypatch):
    monkeypatch.setattr(class_images, "TESTED_GROUPS", 10)
    found = class_statistics(images_of(noise(300, 8), "mri_glioma"))["mri_glioma"]
    assert len(found.groups) == 10
    assert len(found.sample) == MONTAGE


def test_a_group_in_the_sample_has_all_of_its_scans(monkeypatch):
    monkeypatch.setattr(class_images, "TESTED_GROUPS", 5)
    groups = [f"g{i % 20}" for i in range(100)]
    found = class_statistics(images_of(noise(100, 8), "mri_glioma", groups=groups))
    assert [count for count, _ in found["mri_glioma"].groups.values()] == [5] * 5


def test_group_means_are_of_the_shrunk_scans():
    pixels = np.kron(noise(3, TESTED_SIDE), np.ones((2, 2), np.uint8))
    found = class_statistics(images_of(pixels, "mri_glioma", groups=["a", "b", "a"]))
    means = found["mri_glioma"].group_means()
    expected = {
        "a": pixels[[0, 2], ::2, ::2].mean(0).ravel(), "b": pixels[1, ::2, ::2].ravel()
    }  # fmt: skip
    assert {name.split()[1]: value.tolist() for name, value in means.items()} == {
        name: value.tolist() for name, value in expected.items()
    }


def test_a_difference_of_classes_holds_map_and_test():
    dark, bright = noise(12, 64) // 2, noise(12, 64) // 2
    bright[:, 20:40, 20:40] += 100
    images = [*images_of(dark, "mri_healthy"), *images_of(bright, "mri_glioma")]
    result = mean_difference(
        class_statistics(images), "mri_healthy", "mri_glioma", permutations=100
    )
    assert np.allclose(result.pixels, bright.mean(0) - dark.mean(0))
    assert result.significant.shape == (TESTED_SIDE, TESTED_SIDE)
    assert result.significant[16:29, 16:29].all()
    outside = result.significant.copy()
    outside[14:31, 14:31] = False
    assert not outside.any()


def test_copies_of_one_scan_prove_nothing():
    one = [np.repeat(noise(1, 24), 30, axis=0) for _ in range(2)]
    images = [
        *images_of(one[0], "mri_healthy", groups=["a"] * 30),
        *images_of(one[1], "mri_glioma", groups=["b"] * 30),
    ]
    result = mean_difference(class_statistics(images), "mri_healthy", "mri_glioma")
    assert (result.test, result.significant) == (None, None)


def test_merged_statistics_are_those_of_one_stream():
    pixels = noise(900, 10)
    groups = [f"g{i // 2}" for i in range(900)]
    images = images_of(pixels, "tumor", groups=groups)
    whole, first, second = (
        class_statistics(part, seed=4)["tumor"] for part in (images, images[:401], images[401:])
    )
    merged = merge_statistics([first, second])
    assert merged.count == 900
    assert np.array_equal(merged.mean, whole.mean)
    assert np.array_equal(merged.deviation, whole.deviation)
    assert np.array_equal(merged.histogram, whole.histogram)
    assert [kept[1] for kept in merged.sample] == [kept[1] for kept in whole.sample]
    assert len(merged.sample) == MONTAGE
    means, expected = merged.group_means(), whole.group_means()
    assert means.keys() == expected.keys()
    assert len(means) == TESTED_GROUPS
    assert all(np.allclose(means[key], expected[key]) for key in means)


def test_statistics_of_two_sizes_do_not_merge():
    with pytest.raises(ValueError, match="one side"):
        merge_statistics([ClassStatistics(8), ClassStatistics(9)])


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


def test_a_stream_holds_what_can_be_prepared(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(class_images, "BLOCK", 2)
    spec, progress = InputSpec(side=48), []
    images = list(
        prepared_images(cases, spec, cache=tmp_path / "c", progress=lambda *n: progress.append(n))
    )
    known = prepare_files([case.path for case in cases[:3]], spec, cache=tmp_path / "c")
    assert np.array_equal([image for image, _ in images], known.pixels)
    assert [case.key for _, case in images] == ["s/a.png", "s/b.jpg", "s/c.png"]
    assert progress == [(2, 5), (4, 5), (5, 5)]
    found = class_statistics(images)["mri_glioma"]
    assert found.count == 3
    assert {key.split()[1] for key in found.groups} == {"g1", "s/c.png"}


def test_the_sample_of_groups_is_as_large_as_documented():
    assert TESTED_GROUPS == 400
    assert TESTED_SIDE == 48
