"""What facts of the file give away about the labels."""

import numpy as np
import pytest

from tumorlens.study.audit.facts import PIXEL_FACTS
from tumorlens.study.audit.shortcuts import FAMILIES, STAGES, TASKS, Shortcut, measure_shortcuts

CT = ["ct_healthy", "ct_tumor"]
TYPED = ["mri_glioma", "mri_meningioma", "mri_pituitary"]


def noise(n: int, *, seed: int) -> dict[str, np.ndarray]:
    """Facts of n files that know nothing of any label."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.random(n).astype(np.float32) for name in PIXEL_FACTS}
    return columns | {
        "bytes": rng.integers(5_000, 50_000, n),
        "width": rng.integers(200, 600, n),
        "height": rng.integers(200, 600, n),
        "mode": rng.choice(["L", "RGB"], n),
        "format": rng.choice(["JPEG", "PNG"], n),
    }


def measure(
    labels, *, groups=None, raw=None, prepared=None
) -> dict[tuple[str, str, str], Shortcut]:
    n = len(labels)
    found = measure_shortcuts(
        labels,
        np.arange(n) if groups is None else groups,
        raw=noise(n, seed=1) | (raw or {}),
        prepared=noise(n, seed=2) | (prepared or {}),
    )
    return {(row.task, row.family, row.stage): row for row in found}


def every(names: list[str], n: int) -> np.ndarray:
    return np.array(names)[np.arange(n) % len(names)]


def holds_chance(row: Shortcut) -> bool:
    assert row.auc.low is not None
    assert row.auc.high is not None
    return row.auc.low <= 0.5 <= row.auc.high


@pytest.mark.parametrize(
    ("family", "column", "values"),
    [
        ("size, mode and format", "width", (256, 512)),
        ("size, mode and format", "mode", ("L", "RGBA")),
        ("size, mode and format", "format", ("PNG", "JPEG")),
        ("file bytes", "bytes", (20_000, 90_000)),
        ("border, mean and black share", "black_share", (0.2, 0.6)),
        ("corner text", "corner_edges", (0.0, 0.1)),
    ],
)
def test_a_planted_shortcut_is_found_in_its_own_family_and_no_other(family, column, values):
    labels = every(CT, 400)
    planted = np.where(labels == "ct_tumor", values[1], values[0])
    found = measure(labels, raw={column: planted})
    for other in FAMILIES:
        row = found["CT detection", other, "as stored"]
        assert row.auc.value is not None
        assert (row.auc.value > 0.99) == (other in (family, "all of these"))
    left = found["CT detection", "all of these", "prepared"]
    assert left.auc.value is not None
    assert left.auc.value < 0.6


def test_a_shortcut_that_survives_preparation_is_told_of_the_prepared_pictures():
    labels = every(CT, 400)
    planted = {"mean": np.where(labels == "ct_tumor", 0.6, 0.4)}
    found = measure(labels, prepared=planted)["CT detection", "border, mean and black share",
                                              "prepared"]  # fmt: skip
    assert found.auc.value == pytest.approx(1.0, abs=1e-6)


def test_nothing_is_told_where_the_labels_are_shuffled():
    labels = np.random.default_rng(3).permutation(every(CT, 1000))
    found = measure(labels)
    assert all(holds_chance(row) for key, row in found.items() if key[0] == "CT detection")


def test_copies_of_a_file_lend_it_nothing():
    groups = np.repeat(np.arange(60), 12)
    labels = every(CT, 60)[groups]
    copied = {name: column[groups] for name, column in noise(60, seed=5).items()}
    family = "CT detection", "all of these", "as stored"
    grouped = measure(labels, groups=groups, raw=copied)[family]
    apart = measure(labels, raw=copied)[family]
    assert grouped.auc.value is not None
    assert apart.auc.value is not None
    assert holds_chance(grouped)
    assert apart.auc.value > grouped.auc.value + 0.2
    assert (grouped.auc.n, grouped.n_groups, apart.n_groups) == (720, 60, 720)


def test_prepared_pictures_have_one_size_and_so_tell_nothing_by_it():
    row = measure(every(CT, 100))["CT detection", "size, mode and format", "prepared"]
    assert (row.auc.value, row.auc.n) == (0.5, 100)
    assert (row.auc.low, row.auc.high) == pytest.approx(
        (0.366, 0.634), abs=0.001
    )  # Wilson's, of 50


def test_every_task_family_and_stage_is_told_once():
    found = measure_shortcuts(
        every(CT, 60), np.arange(60), raw=noise(60, seed=1), prepared=noise(60, seed=2)
    )
    keys = [(row.task, row.stage, row.family) for row in found]
    assert keys == [(t, s, f) for t in TASKS for s in STAGES for f in FAMILIES]


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        ("CT detection", "ct_tumor", "tumor"),
        ("CT detection", "mri_healthy", None),
        ("CT detection", "tumor", None),
        ("MRI detection", "mri_tumor", "tumor"),
        ("MRI detection", "mri_pituitary", "tumor"),
        ("MRI detection", "mri_healthy", "healthy"),
        ("type", "mri_glioma", "glioma"),
        ("type", "mri_tumor", None),
        ("type", "ct_tumor", None),
    ],
)
def test_a_task_asks_only_the_labels_that_answer_it(task, label, expected):
    assert TASKS[task](label) == expected


def test_the_type_is_scored_one_against_the_others():
    labels = every(TYPED, 300)
    planted = {"bytes": np.select([labels == name for name in TYPED], [1, 2, 3])}
    found = measure(labels, raw=planted)
    told = found["type", "file bytes", "as stored"]
    assert told.auc.value == pytest.approx(1.0, abs=1e-6)
    assert (told.auc.n, told.n_groups) == (300, 300)
    untold = found["type", "corner text", "as stored"].auc.value
    assert untold is not None
    assert 0.4 < untold < 0.6


@pytest.mark.parametrize(
    ("labels", "groups", "reason"),
    [
        (["ct_tumor"] * 20, None, "only tumor"),
        (["mri_healthy"] * 20, None, "no files"),
        (CT * 4, None, "only 4 independent groups of healthy"),
        (["ct_healthy"] * 20 + ["ct_tumor"] * 20, [*range(20), *[50] * 20],
         "only 1 independent groups of tumor"),
    ],
)  # fmt: skip
def test_a_task_with_too_little_is_skipped_with_its_reason(labels, groups, reason):
    found = measure(labels, groups=None if groups is None else np.array(groups))
    row = found["CT detection", "all of these", "as stored"]
    assert row.reason.startswith(reason)
    assert row.auc.value is row.auc.low is row.auc.high is None


def test_no_files_at_all_give_reasons():
    assert {row.reason for row in measure([]).values()} == {"no files"}


def test_a_file_without_facts_is_left_out_of_both_stages():
    labels = every(CT, 60)
    mean = np.full(60, 0.3, np.float32)
    mean[7] = np.nan
    for stage in ("raw", "prepared"):
        assert {row.auc.n for row in measure(labels, **{stage: {"mean": mean}}).values()} == {59, 0}


def test_a_file_without_a_header_is_left_out():
    width = np.full(60, 256)
    width[5] = 0
    found = measure(every(CT, 60), raw={"width": width, "height": width})
    assert found["CT detection", "file bytes", "as stored"].auc.n == 59


def test_a_structured_array_is_taken_as_columns():
    labels, columns = every(CT, 80), noise(80, seed=1)
    stored = np.zeros(80, [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        stored[name] = column
    assert measure_shortcuts(labels, np.arange(80), raw=stored, prepared=stored) == (
        measure_shortcuts(labels, np.arange(80), raw=columns, prepared=columns)
    )


def test_the_same_seed_gives_the_same_figures():
    labels = every(CT, 80)
    assert measure(labels) == measure(labels)
