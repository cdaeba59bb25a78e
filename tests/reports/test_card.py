"""The model card says what a bundle is, what it was made from and what it must not be used for."""

from dataclasses import replace
from types import SimpleNamespace

import jinja2
import pytest

from tumorlens.models.bundle import UncertaintyBand
from tumorlens.models.performance import Provenance, load_operating_point, load_provenance
from tumorlens.records import Estimate
from tumorlens.reports.card import write_card

CHOICE = {"aim": "sensitivity >= 0.98 at the best specificity", "part": "validation", "n": 50,
          "n_tumor": 20, "threshold": 0.41, "sensitivity": 0.98, "specificity": 0.873}  # fmt: skip
DETAILS = {
    "created": "2026-01-01T00:00:00+00:00",
    "recipe": {"name": "quick", "summary": "a first look", "network": "residual-tiny", "seed": 3},
    "parameters": 178166,
    "validation": {"epoch": 7},
    "data": {
        "split": "0123456789abcdef",
        "leaks": {"n": 40, "share": 0.0},
        "cases": {"train": {"set/ct_tumor": 100}, "val": {"set/ct_tumor": 20},
                  "test": {"set/mri_glioma": 11}},
    },
}  # fmt: skip


@pytest.fixture
def bundle(tiny_bundle):
    return replace(
        tiny_bundle, operating_point=load_operating_point(CHOICE, threshold=0.4123),
        provenance=load_provenance(DETAILS),
    )  # fmt: skip


def test_a_card_says_research_use_before_anything_else(bundle):
    text = write_card(bundle).split("\n---\n", 1)[1]
    title, first = [line for line in text.splitlines() if line][:2]
    assert title == "# tiny"
    assert first.startswith("**Research use only. Not a medical device")


@pytest.mark.parametrize(
    "text",
    ["residual-tiny, 178,166 parameters", "64 x 64 pixels", "epoch 7", "seed 3",
     "`0123456789abcdef`", "Threshold 0.4123", "sensitivity 0.980 (n=20), specificity 0.873 (n=30)",
     "n=50, 20 with tumor", "## Known limits", "## Do not use it to", "hemorrhage"],
)  # fmt: skip
def test_a_card_names_its_facts(bundle, text):
    assert text in " ".join(write_card(bundle).split())


def test_a_card_counts_every_set_and_label_in_every_part(bundle):
    rows = [line for line in write_card(bundle).splitlines() if line.startswith("| set/")]
    assert rows == ["| set/ct_tumor | 100 | 20 | 0 |", "| set/mri_glioma | 0 | 0 | 11 |"]


def test_a_card_of_a_leaking_split_says_so(bundle):
    leaks = {"n": 1445, "share": 0.658}
    details = DETAILS | {"data": DETAILS["data"] | {"leaks": leaks}}
    leaking = replace(bundle, provenance=load_provenance(details))
    assert "**This split leaks:** 65.8 %" in write_card(leaking)
    assert "leaks" not in write_card(bundle)


def test_a_card_describes_the_band_or_says_that_there_is_none(bundle):
    assert 'Between 0.450 and 0.550 the answer is "uncertain"' in write_card(bundle)
    never = replace(bundle, uncertainty_band=UncertaintyBand(0.5, 0.5, 0.01))
    assert 'No probability is called "uncertain"' in write_card(never)


def test_a_card_cannot_be_written_of_a_bundle_that_does_not_say_where_it_comes_from(bundle):
    with pytest.raises(jinja2.UndefinedError):
        write_card(replace(bundle, provenance=Provenance()))


def test_the_block_on_top_is_metadata_that_the_hub_can_read(bundle):
    yaml = pytest.importorskip("yaml")
    open_ = Estimate(None, None, None, 20)
    found = SimpleNamespace(
        auc=Estimate(0.9, 0.8, 0.95, 40), sensitivity=Estimate(0.9, None, None, 20),
        specificity=open_, f1=open_, accuracy=open_,
    )  # fmt: skip
    evaluation = SimpleNamespace(
        detection={"all": found}, type=SimpleNamespace(accuracy=Estimate(0.75, None, None, 4)),
        datasets={"a set: odd": 40}, part="test", created="2026-01-01T00:00:00+00:00",
        split=SimpleNamespace(fingerprint=None), intervals="95 %", test_accesses=None,
        calibration=SimpleNamespace(ece=Estimate(0.1, None, None, 40)),
    )  # fmt: skip
    metadata = yaml.safe_load(write_card(bundle, evaluation).split("---\n")[1])
    results = metadata["model-index"][0]["results"]
    assert metadata["license"] == "unknown"
    assert [row["metrics"][0]["type"] for row in results] == ["roc_auc", "recall", "accuracy"]
    assert results[0]["metrics"][0]["value"] == 0.9
    assert "0.800-0.950, n=40" in results[0]["metrics"][0]["name"]
    assert results[0]["dataset"]["name"] == "a set: odd"
    assert "model-index" not in yaml.safe_load(write_card(bundle).split("---\n")[1])
