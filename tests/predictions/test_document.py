"""The JSON document of a Prediction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorlens.errors import DocumentError
from tumorlens.predictions.document import (
    SCHEMA_VERSION,
    from_document,
    from_json,
    to_document,
    to_json,
)
from tumorlens.records import Heatmap, Prediction

ANSWER = Prediction(
    path="slice.png",
    modality="mri",
    modality_probability=0.1 + 0.2,
    tumor_probability=1 / 3,
    decision="tumor",
    type="glioma",
    type_probabilities={"glioma": 0.7, "meningioma": 0.2, "pituitary": 0.1},
    threshold=0.15,
    bundle="small@0123456789ab",
    notes=("first of 2 frames read",),
    atoms={"mri_glioma": 0.25},
)
chances = st.floats(0, 1)


@given(
    answer=st.builds(
        Prediction,
        path=st.text(),
        tumor_probability=st.none() | chances,
        threshold=st.none() | chances,
        decision=st.sampled_from(["tumor", "no tumor", ""]),
        type_probabilities=st.dictionaries(st.text(), chances),
        notes=st.lists(st.text()).map(tuple),
        error=st.text(),
    )
)
def test_every_prediction_comes_back_from_json_as_it_was(answer: Prediction):
    assert from_json(to_json(answer)) == answer


def test_no_digit_of_a_probability_is_lost():
    assert from_json(to_json(ANSWER)).modality_probability == 0.1 + 0.2


def test_the_document_holds_no_pixels():
    heatmap = Heatmap(np.ones((3, 3), np.float32), np.ones((9, 9), np.uint8))
    assert to_document(replace(ANSWER, heatmap=heatmap)) == to_document(ANSWER)


def test_numpy_numbers_become_plain_ones():
    answer = replace(ANSWER, atoms={"mri_glioma": np.float64(0.5)})
    assert json.loads(to_json(answer))["atoms"] == {"mri_glioma": 0.5}


def test_the_document_says_its_version_and_what_it_is_for():
    document = to_document(ANSWER)
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["notice"].startswith("Research use only")


def test_keys_that_a_newer_version_added_are_ignored():
    assert from_document(to_document(ANSWER) | {"later": 1}) == ANSWER


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"path": 3},
        {"atoms": None},
        {"tumor_probability": "high"},
        {"notes": 7},
    ],
)
def test_a_document_that_cannot_be_read_is_refused(change: dict):
    with pytest.raises(DocumentError):
        from_document(to_document(ANSWER) | change)


def test_a_document_without_a_field_is_refused():
    document = to_document(ANSWER)
    del document["decision"]
    with pytest.raises(DocumentError, match="decision"):
        from_document(document)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "3", b"\xff"])
def test_text_that_is_no_document_is_refused(text: str | bytes):
    with pytest.raises(DocumentError):
        from_json(text)
