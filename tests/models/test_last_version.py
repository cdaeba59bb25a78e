"""Bundles that the last version wrote load, say the same, and are written again without a loss."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.models.bundle import SHIPPED, Bundle, load_bundle, write_bundle
from tumorlens.models.performance import Quantization
from tumorlens.records import Estimate

STORED = json.loads(
    (Path(__file__).parents[1] / "support/last_version/bundle.json").read_text(encoding="utf-8")
)


@pytest.fixture
def old(tiny_bundle, tmp_path) -> Bundle:
    """A bundle.json of the last version beside a graph that loads."""
    (tmp_path / "model.onnx").write_bytes(tiny_bundle.graph.read_bytes())
    stored = STORED | {"sha256": tiny_bundle.graph_sha256}
    (tmp_path / "bundle.json").write_text(json.dumps(stored), encoding="utf-8")
    return load_bundle(tmp_path)


def test_the_operating_point_is_read_from_the_choice_of_the_threshold(old):
    point = old.operating_point
    assert (point.threshold, point.aim) == (STORED["threshold"], STORED["threshold_choice"]["aim"])
    assert (point.n, point.sensitivity.n, point.specificity.n) == (13, 8, 5)
    assert point.specificity == Estimate(0.2, None, None, 5)
    assert point.to_json() == STORED["threshold_choice"]


def with_later_fields(stored: dict) -> dict:
    """Add the fields that came later, each as it was when none was stored."""
    later = {
        "input": {"ct_window": [40.0, 80.0]},
        "abstention": {"error_of": "each class"},
        "eight_bit": {"of": "weights and activations"},
    }
    return stored | {name: fields | stored[name] for name, fields in later.items()}


def test_band_and_reference_are_read_from_their_old_names(old):
    assert vars(old.uncertainty_band) == with_later_fields(STORED)["abstention"]
    assert old.ood_reference.limit == STORED["scope"]["limit"]
    assert old.ood_reference.references.shape == (6, 12)


def test_the_golden_answer_is_the_self_test(old):
    assert old.self_test.atoms == STORED["golden"]


def test_where_it_comes_from_is_typed_and_loses_nothing(old):
    made = old.provenance
    assert (made.created, made.parameters) == (STORED["created"], STORED["parameters"])
    assert made.data.split == STORED["data"]["split"]
    assert (made.data.leaks.n, made.data.leaks.share) == (12, 0.0)
    assert made.environment.libraries == STORED["environment"]["libraries"]
    assert isinstance(made.eight_bit, Quantization)
    assert made.is_complete
    own = ("created", "recipe", "validation", "parameters", "round_trip", "eight_bit", "data",
           "environment")  # fmt: skip
    assert made.to_json() == {name: with_later_fields(STORED)[name] for name in own}


def test_it_is_written_again_with_every_field(old):
    write_bundle(old, "# card\n")
    again = json.loads((old.folder / "bundle.json").read_text(encoding="utf-8"))
    assert again.pop("self_test") == STORED["golden"]
    kept = with_later_fields(STORED)
    kept = {name: value for name, value in kept.items() if name not in ("golden", "scope")}
    assert {name: again[name] for name in kept} == kept | {"sha256": old.graph_sha256}
    assert set(again) == {*kept, "scope"}
    first, second = (
        replace(found, ood_reference=None, sha256="")  # the hash covers the text of the card
        for found in (old, load_bundle(old.folder))
    )
    assert first == second


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_shipped_bundles_keep_all_that_they_were_stored_with(folder):
    stored = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    bundle = load_bundle(folder)
    assert bundle.provenance.unknown == {}
    assert {name: row.to_json()["n"] for name, row in bundle.performance.items()} == {
        name: row["n"] for name, row in stored["measured"].items()
    }
    for name, value in bundle.provenance.to_json().items():
        assert with_later_fields(stored)[name] == value
