"""What audit.json holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.planted import ARTIST, BURNED, audit_of, head_of, write

from tumorlens.json_records import to_json
from tumorlens.records import Estimate
from tumorlens.study.audit import figures as module
from tumorlens.study.audit.figures import (
    audit_result,
    balance,
    shared_images,
    traced_tumors,
)
from tumorlens.study.audit.run import Audit
from tumorlens.study.audit.shortcuts import Shortcut

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def figures_of(audit: Audit, *folders: str) -> dict[str, Any]:
    return to_json(audit_result(audit, folders=folders, now=NOW))


@pytest.fixture(scope="module")
def figures(audit: Audit) -> dict[str, Any]:
    return figures_of(audit, "hospital", "register")


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def is_plain(figures: dict[str, Any]) -> bool:
    """Whether figures outlast a trip through strict JSON."""
    return json.loads(json.dumps(figures), parse_constant=refuse) == figures


def test_the_head_says_what_was_audited_and_when(figures, audit, tiny_bundle):
    expected = {
        "schema": 1, "created": "2026-01-02T03:04:05+00:00", "folders": ["hospital", "register"],
        "fingerprint": audit.groups.audit, "bundle": tiny_bundle.version,
    }  # fmt: skip
    assert {key: figures[key] for key in expected} == expected


def test_files_pictures_groups_and_patients_are_counted(figures):
    assert (figures["n"], figures["pictures"], figures["groups"]) == (29, 24, 23)
    assert figures["datasets"] == {
        "hospital": {"n": 26, "pictures": 23, "groups": 22, "patients": 1},
        "register": {"n": 3, "pictures": 3, "groups": 2, "patients": 2},
    }
    assert figures["labels"]["mri_tumor"] == {"n": 1, "pictures": 1, "groups": 1, "patients": 0}
    assert figures["links"] == {"exact": 0, "pixels": 0, "copy": 5, "neighbor": 0}


def test_leaks_are_told_by_copies_and_by_groups(figures):
    leaks = figures["split"]["leaks"]
    assert (figures["split"]["name"], figures["split"]["leaking"]) == ("published", 2)
    assert (leaks["copies"][0]["in_train"], leaks["copies"][0]["n"]) == (1, 6)
    assert (leaks["groups"][0]["in_train"], leaks["groups"][0]["share"]) == (2, 2 / 6)
    assert leaks["test_tumors"] == {"traceable": 1, "in_train": 1}


def test_copies_are_counted_between_parts_and_between_sets(figures):
    assert figures["copies"]["by_split"]["test"] == {"-": 1, "test": 0, "train": 1}
    assert figures["copies"]["by_split"]["train"] == {"-": 1, "test": 1, "train": 4}
    assert figures["copies"]["by_dataset"]["register"] == {"hospital": 2, "register": 0}


def test_patients_conflicts_privacy_and_quality_are_counted(figures):
    assert figures["patients"] == {"known": 5, "n": 2, "inherited": 2, "disputed": 0}
    assert figures["conflicts"]["pictures"] == {"contradictory": 1, "refining": 1}
    assert figures["conflicts"]["by_labels"][0] == {
        "kind": "contradictory", "labels": ["mri_glioma", "mri_healthy"], "pairs": 1,
    }  # fmt: skip
    privacy = figures["privacy"]
    assert (privacy["with_text"], privacy["over_head"]) == (1, 0)
    assert privacy["by_label"]["mri_healthy"] == 1
    assert (privacy["fields"], privacy["with_fields"]) == ({"Artist": 1}, 1)
    quality = figures["quality"]
    assert (quality["unreadable"], quality["odd"], quality["unlabeled"]) == (1, 2, 1)
    assert quality["listed"]["unreadable"][0]["path"].endswith("broken.png")


def test_the_balance_counts_every_file(figures):
    counts = [n for parts in figures["balance"].values() for part in parts.values()
              for n in part.values()]  # fmt: skip
    assert sum(counts) == figures["n"]
    assert figures["balance"]["register"] == {"": {"mri_glioma": 3}}


def test_figures_are_json_without_nan(figures):
    assert is_plain(figures)


def test_no_text_of_a_scan_or_its_metadata_is_in_them(figures):
    text = json.dumps(figures)
    assert not any(word in text for word in (*BURNED.split(), *ARTIST.split()))


def no_files(root: Path) -> None:
    (root / "set/yes").mkdir(parents=True)
    for name in "ab":
        (root / f"set/yes/{name}.png").write_bytes(b"no picture")


def one_file(root: Path) -> None:
    write(root / "set/yes/a.png", head_of(0))


def nothing_to_see(root: Path) -> None:
    write(root / "set/yes/a.png", np.zeros((64, 64), np.uint8))
    write(root / "set/no/b.png", np.full((1, 1), 7, np.uint8))


def one_class(root: Path) -> None:
    for number in range(12):
        write(root / f"set/glioma/{number}.png", head_of(number))


def no_test_part(root: Path) -> None:
    for number, part in enumerate(("train", "val", "train")):
        write(root / f"set/{part}/yes/{number}.png", head_of(number))


def without_labels(root: Path) -> None:
    write(root / "set/pred/a.png", head_of(0))


@pytest.mark.parametrize(
    ("make", "n", "unreadable"),
    [(no_files, 2, 2), (one_file, 1, 0), (nothing_to_see, 2, 2), (one_class, 12, 0),
     (no_test_part, 3, 0), (without_labels, 1, 0)],
)  # fmt: skip
def test_poor_sets_have_whole_figures(make, n, unreadable, tmp_path, tiny_bundle):
    make(tmp_path)
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    figures = figures_of(found, "set")
    assert is_plain(figures)
    assert (figures["n"], figures["quality"]["unreadable"]) == (n, unreadable)
    assert figures["split"]["leaking"] == 0
    assert {row["auc"] for row in figures["shortcuts"]} == {None}
    assert all(row["reason"] for row in figures["shortcuts"])
    assert audit_result(found, folders=(), now=NOW).serious_shortcuts() == []


def test_long_lists_are_cut_and_the_count_is_not(tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(module, "MAX_NAMED", 1)
    no_files(tmp_path)
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    quality = figures_of(found)["quality"]
    assert (quality["unreadable"], len(quality["listed"]["unreadable"])) == (2, 1)


SURE = Estimate(0.9, 0.8, 0.95, 40)


def row(auc: Estimate = SURE, **names: str) -> Shortcut:
    named = {"task": "CT detection", "family": "file bytes", "stage": "as stored"} | names
    return Shortcut(**named, n_groups=40, auc=auc)


@pytest.mark.parametrize(
    ("changes", "serious"),
    [
        ({}, True),
        ({"auc": Estimate(0.9, 0.7, 0.95, 40)}, False),
        ({"stage": "prepared"}, False),
        ({"family": "all of these"}, False),
        ({"auc": Estimate(None, None, None, 0)}, False),
        ({"auc": Estimate(0.9, None, None, 40)}, False),
    ],
)
def test_a_shortcut_is_serious_where_one_family_is_surely_enough(changes, serious, audit):
    found = replace(audit_result(audit, folders=(), now=NOW), shortcuts=(row(**changes),))
    assert bool(found.serious_shortcuts()) == serious


def test_files_are_counted_by_set_part_and_label():
    table = balance(
        ["mri_tumor", "mri_healthy", "mri_tumor", "ct_tumor"],
        ["train", "test", "train", None],
        ["b", "b", "b", "a"],
    )
    assert table == {
        "a": {"": {"ct_tumor": 1}},
        "b": {"test": {"mri_healthy": 1}, "train": {"mri_tumor": 2}},
    }
    assert list(table) == ["a", "b"]


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        balance(["mri_tumor"], [], ["a"])


def test_shared_images_are_counted_from_both_sides():
    sides = ["a", "a", "a", "b", "b", "c"]
    image_ids = [1, 1, 2, 1, 3, 4]
    assert shared_images(sides, image_ids) == {
        "a": {"a": 2, "b": 2, "c": 0},
        "b": {"a": 1, "b": 0, "c": 0},
        "c": {"a": 0, "b": 0, "c": 0},
    }


def test_of_nothing_nothing_is_shared():
    assert shared_images([], []) == {}


def test_test_tumors_of_a_patient_that_trains_are_counted():
    labels = ["mri_glioma", "mri_glioma", "mri_tumor", "mri_glioma", "mri_glioma"]
    parts = ["train", "test", "test", "test", "val"]
    found = traced_tumors(labels, parts, ["s/1", "s/1", "s/2", "", "s/2"])
    assert found == {"traceable": 2, "in_train": 1}


@pytest.mark.parametrize("label", ["mri_healthy", "healthy", "unlabeled"])
def test_what_is_no_known_tumor_is_not_traced(label):
    found = traced_tumors([label] * 2, ["train", "test"], ["s/1", "s/1"])
    assert found == {"traceable": 0, "in_train": 0}
