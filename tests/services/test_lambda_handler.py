"""The Lambda handler, called as Lambda calls it."""

import base64
import json
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from support.broken_files import BROKEN
from support.serving import SCAN

from tumorlens.errors import ImageTooLargeError
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import from_json
from tumorlens.predictions.predictor import load_predictor
from tumorlens.services import lambda_handler


@pytest.fixture(autouse=True)
def own_bundle(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    lambda_handler._predictor.cache_clear()


def call(data: bytes) -> dict[str, Any]:
    body = base64.b64encode(data).decode()
    return lambda_handler.handler({"version": "2.0", "isBase64Encoded": True, "body": body})


def test_a_call_gives_the_numbers_of_a_file(tiny_bundle: Bundle, tmp_path: Path):
    (tmp_path / "slice.png").write_bytes(SCAN)
    expected = load_predictor(tiny_bundle.folder).predict([tmp_path / "slice.png"])[0]
    reply = call(SCAN)
    assert reply["statusCode"] == 200
    assert from_json(reply["body"]).atoms == expected.atoms


@pytest.mark.parametrize(
    "name", ["empty.png", "text.jpg", "bomb.png", "huge header.png", "nan.tif"]
)
def test_a_broken_file_is_a_problem(name: str):
    data, error = BROKEN[name]
    reply = call(data)
    assert reply["statusCode"] == (413 if issubclass(error, ImageTooLargeError) else 422)
    assert reply["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(reply["body"])["status"] == reply["statusCode"]


def test_a_file_that_would_take_minutes_is_a_problem_at_once():
    assert call(hostile_files.jpeg_of_scans(40_000))["statusCode"] == 413
    assert call(hostile_files.tiff_of_pages(60_000))["statusCode"] == 413


@pytest.mark.parametrize(
    "event",
    [{}, {"body": None}, {"body": 7}, {"body": "\u4e2d"}, {"isBase64Encoded": True, "body": "!"}],
)
def test_an_event_without_a_readable_body_is_a_problem(event: dict[str, Any]):
    assert lambda_handler.handler(event)["statusCode"] in (400, 422)
