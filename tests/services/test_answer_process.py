"""The process that answers series: what it is given, and what of its answers is believed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.broken_files import HEAD
from support.dicom_files import write_series

from tumorlens.errors import ServiceError
from tumorlens.predictions.predictor import Predictor
from tumorlens.services.answer_process import (
    AnswerProcess,
    _read,
    _written,
    answer_folder,
    hash_slices,
    save_answers,
)
from tumorlens.services.store import find_predictions, find_series, open_store, verify
from tumorlens.settings import Settings
from tumorlens.worker_process import ChildEndedError, ChildProcess

SECRET = "5eC3e7"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    write_series(folder / "slices", np.stack([HEAD.astype(np.int16)] * 5), PatientID="4711")
    return folder


@pytest.fixture(scope="module")
def answers(folder, tiny_bundle):
    return answer_folder(folder, Predictor(tiny_bundle, Settings(workers=1)))


def test_answers_come_through_the_pipe_as_they_are(answers):
    head, data = _written(answers)
    found = _read(json.loads(json.dumps(head)), data)
    assert found.series == answers.series
    assert found.bundle_sha256 == answers.bundle_sha256
    for one, other in zip(found.predictions, answers.predictions, strict=True):
        assert replace(one, heatmap=None) == replace(other, heatmap=None)
        np.testing.assert_array_equal(one.heatmap.evidence, other.heatmap.evidence)
        np.testing.assert_array_equal(one.heatmap.prepared, other.heatmap.prepared)


def test_answers_are_kept_once_with_their_series_and_the_image_where_images_are_kept(
    answers, folder, tmp_path
):
    store = open_store(str(tmp_path / "store.db"))
    for _ in range(2):
        save_answers(store, answers, hash_slices(folder), owner="dicom:CT_1", keep=True)
    (series,) = find_series(store, source="dicom")
    assert series.answer == answers.series[0].answer
    slices = find_predictions(store)
    assert len(slices) == 5
    assert {one.prediction.series for one in slices} == {series.series}
    assert all(one.prepared is not None for one in slices)
    assert verify(store).problems == ()


def process(monkeypatch, ask, **settings) -> AnswerProcess:
    monkeypatch.setattr(ChildProcess, "ask", ask)
    return AnswerProcess(Settings(**settings), memory=2**30, seconds=60)


def test_the_process_that_decodes_knows_no_store_and_no_key(monkeypatch, tmp_path):
    monkeypatch.setenv("TUMORLENS_STORE", f"postgresql://me:{SECRET}@host/answers")
    given = []

    def ask(self, head, **_):
        given.append((self._words, self._environment, self._greeting, head))
        raise ChildEndedError(-9)

    child = process(monkeypatch, ask, store=f"postgresql://me:{SECRET}@h/a", audit_key=SECRET)
    with pytest.raises(ServiceError, match=r"ended its process \(status -9\)"):
        child.answer(tmp_path)
    assert SECRET not in str(given)


@pytest.mark.parametrize(
    "change",
    [
        {"slices": [{}]},
        {"series": [{"answer": {}, "modality": "mri", "text": ""}]},
        {"bundle": None, "slices": None},
    ],
)
def test_nonsense_from_the_process_is_no_answer(change, answers, monkeypatch, tmp_path):
    head, data = _written(answers)
    child = process(monkeypatch, lambda *_, **__: ({**head, **change}, data))
    with pytest.raises(ServiceError, match="nonsense"):
        child.answer(tmp_path)


def test_a_map_that_is_cut_off_is_no_answer(answers, monkeypatch, tmp_path):
    head, data = _written(answers)
    child = process(monkeypatch, lambda *_, **__: (head, data[:-1]))
    with pytest.raises(ServiceError, match="nonsense"):
        child.answer(tmp_path)
