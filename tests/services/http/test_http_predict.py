"""POST /v1/predict and what became of it."""

import base64
import io
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import hostile_files
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from support.broken_files import BROKEN
from support.serving import PROBLEM, SCAN, Locked, files, phantom_png, serving

from tumorlens.errors import ImageTooLargeError
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import from_document
from tumorlens.predictions.predictor import load_predictor
from tumorlens.services.http.schemas import Predicted, Problem, StoredDocument


def test_a_scan_gets_the_same_numbers_as_from_a_file(
    client: TestClient, tiny_bundle: Bundle, tmp_path: Path
):
    (tmp_path / "slice.png").write_bytes(SCAN)
    expected = load_predictor(tiny_bundle.folder).predict([tmp_path / "slice.png"])[0]
    found = client.post("/v1/predict", files=files(SCAN)).json()["results"][0]["prediction"]
    answer = from_document(found)
    assert answer.atoms == expected.atoms
    assert answer.tumor_probability == expected.tumor_probability
    assert (answer.decision, answer.type) == (expected.decision, expected.type)


def test_an_answer_is_as_its_schema_says(client: TestClient):
    response = client.post("/v1/predict?heatmap=true&report=html", files=files(SCAN))
    assert response.status_code == 200
    Predicted.model_validate(response.json(), strict=True)


def test_an_answer_is_in_the_store_when_it_is_given(client: TestClient):
    result = client.post("/v1/predict", files=files(SCAN)).json()["results"][0]
    stored = client.get(result["links"]["self"]).json()
    StoredDocument.model_validate(stored, strict=True)
    assert stored["prediction"] == result["prediction"]
    assert stored["input_sha256"] == result["input_sha256"]


def test_several_scans_are_answered_in_their_order(client: TestClient):
    other = phantom_png("ct", "healthy", 4)
    both = client.post("/v1/predict", files=files(SCAN, other)).json()["results"]
    alone = client.post("/v1/predict", files=files(other)).json()["results"][0]
    assert [result["index"] for result in both] == [0, 1]
    assert both[1]["prediction"]["atoms"] == alone["prediction"]["atoms"]


def test_an_unusable_scan_among_others_has_its_error(client: TestClient):
    results = client.post("/v1/predict", files=files(b"text", SCAN)).json()["results"]
    assert results[0]["id"] is None
    assert "not a PNG" in results[0]["prediction"]["error"]
    assert results[1]["prediction"]["decision"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_problem_with_its_reason(client: TestClient, name: str):
    data, error = BROKEN[name]
    response = client.post("/v1/predict", files=files(data, name=name))
    assert response.status_code == (413 if issubclass(error, ImageTooLargeError) else 422)
    assert response.headers["content-type"] == PROBLEM
    Problem.model_validate(response.json(), strict=True)


def test_the_heatmap_comes_with_the_answer_where_asked(client: TestClient):
    result = client.post("/v1/predict?heatmap=true", files=files(SCAN)).json()["results"][0]
    image = Image.open(io.BytesIO(base64.b64decode(result["heatmap"]["base64"])))
    assert image.size == (768, 384)
    assert np.asarray(image)[:, :384].any()


def test_a_later_heatmap_does_not_show_the_scan(client: TestClient):
    result = client.post("/v1/predict", files=files(SCAN)).json()["results"][0]
    response = client.get(result["links"]["heatmap"])
    assert response.headers["content-type"] == "image/png"
    image = np.asarray(Image.open(io.BytesIO(response.content)))
    assert not image[:, :384].any()
    assert image[:, 384:].any()


@pytest.mark.parametrize(("format", "start"), [("html", b"<!doctype html>"), ("pdf", b"%PDF-")])
def test_a_report_can_be_had_at_once_and_later(client: TestClient, format: str, start: bytes):
    response = client.post(f"/v1/predict?report={format}", files=files(SCAN))
    result = response.json()["results"][0]
    assert base64.b64decode(result["report"]["base64"]).lower().startswith(start.lower())
    later = client.get(result["links"]["report"], params={"format": format})
    assert later.content.lower().startswith(start.lower())


def test_names_of_files_are_not_kept(client: TestClient, tmp_path: Path):
    name = "Doe_Jane_1970.png"
    result = client.post("/v1/predict", files=files(SCAN, name=name)).json()["results"][0]
    assert result["name"] == name
    assert result["prediction"]["path"] == f"scan-{result['input_sha256'][:12]}.png"
    assert "Doe" not in client.get(result["links"]["self"]).text


def test_names_and_prepared_images_are_kept_where_told(tmp_path: Path, tiny_bundle: Bundle):
    with serving(tmp_path, tiny_bundle, keep_names=True, keep_images=True) as client:
        result = client.post("/v1/predict", files=files(SCAN, name="a.png")).json()["results"][0]
        assert result["prediction"]["path"] == "a.png"
        heatmap = Image.open(io.BytesIO(client.get(result["links"]["heatmap"]).content))
        assert np.asarray(heatmap)[:, :384].any()


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "/etc/shadow",
        "a\x00b.png",
        "\u202egnp.exe",
        "." * 900,
    ],
)
def test_a_hostile_name_is_shown_short_and_opens_nothing(client: TestClient, name: str):
    result = client.post("/v1/predict", files=files(SCAN, name=name)).json()["results"][0]
    assert "/" not in result["name"]
    assert "\\" not in result["name"]
    assert result["name"].isprintable()
    assert len(result["name"]) <= 120


def test_a_format_that_its_name_denies_is_noted(client: TestClient):
    result = client.post("/v1/predict", files=files(SCAN, name="slice.jpg")).json()["results"][0]
    assert result["prediction"]["notes"] == ["named JPEG, is PNG"]


def test_nothing_of_an_upload_is_in_the_log(client: TestClient, capsys: pytest.CaptureFixture[str]):
    client.post("/v1/predict", files=files(SCAN, name="Jane.png"))
    client.post("/v1/predict", files=files(b"Jane Doe", name="Jane.png"))
    client.get("/v1/predictions/Jane?name=Jane")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(json.loads(line)["event"] == "request" for line in lines)
    assert "Jane" not in "".join(lines)


def test_the_history_pages_and_filters(locked: Locked):
    client, key = locked.client, locked.key("predict")
    client.post("/v1/predict", files=files(*[SCAN] * 5), headers=key)
    first = client.get("/v1/predictions?limit=3", headers=key).json()
    second = client.get(first["next"], headers=key).json()
    ids = [row["id"] for row in first["predictions"] + second["predictions"]]
    assert len(set(ids)) == 5
    assert second["next"] is None
    given = first["predictions"][0]["prediction"]["decision"]
    for decision in ("tumor", "no tumor", "uncertain", "out of scope"):
        asked = {"decision": decision}
        found = client.get("/v1/predictions", params=asked, headers=key).json()["predictions"]
        assert len(found) == (5 if decision == given else 0)


def test_the_history_as_csv_has_a_row_for_each_answer(locked: Locked):
    client, key = locked.client, locked.key("predict")
    client.post("/v1/predict", files=files(SCAN, SCAN), headers=key)
    response = client.get("/v1/predictions?format=csv", headers=key)
    assert response.headers["content-type"].startswith("text/csv")
    head, *rows = response.text.splitlines()
    assert head.startswith("created_at,id,owner")
    assert len(rows) == 2


def test_a_review_is_kept_with_its_answer(client: TestClient):
    links = client.post("/v1/predict", files=files(SCAN)).json()["results"][0]["links"]
    given = {"verdict": "correct", "decision": "no tumor", "reason": "an artifact"}
    assert client.post(links["review"], json=given).status_code == 201
    reviews = client.get(links["self"]).json()["reviews"]
    assert [(row["decision"], row["reason"]) for row in reviews] == [("no tumor", "an artifact")]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"verdict": "maybe"}, {"verdict": "correct"}, {"verdict": "agree", "more": 1}, [], "x"],
)
def test_a_review_that_makes_no_sense_is_a_problem(client: TestClient, wrong: object):
    links = client.post("/v1/predict", files=files(SCAN)).json()["results"][0]["links"]
    response = client.post(links["review"], json=wrong)
    assert response.status_code == 422
    assert response.headers["content-type"] == PROBLEM


def test_what_is_not_in_the_store_is_a_problem(client: TestClient):
    for path in ("", "/heatmap.png", "/report"):
        response = client.get(f"/v1/predictions/{'0' * 32}{path}")
        assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "0000-01-01", "1e9"]
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_a_time_that_utc_does_not_have_is_a_problem(client: TestClient, name: str, time: str):
    response = client.get("/v1/predictions", params={name: time})
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)


def test_a_time_in_another_zone_is_the_same_instant(client: TestClient):
    client.post("/v1/predict", files=files(SCAN))
    (newest,) = client.get("/v1/predictions", params={"limit": 1}).json()["predictions"]
    at = datetime.fromisoformat(newest["created_at"])
    there = at.astimezone(timezone(timedelta(hours=14))).isoformat()
    found = client.get("/v1/predictions", params={"since": there}).json()["predictions"]
    assert newest["id"] in [row["id"] for row in found]
    later = client.get("/v1/predictions", params={"until": there}).json()["predictions"]
    assert newest["id"] not in [row["id"] for row in later]


def test_images_of_too_many_pixels_together_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    service = client.app.state.service
    changed = replace(service.settings, max_request_pixels=3 * 96 * 96)
    monkeypatch.setattr(service, "settings", changed)
    for path, accepted in (("/v1/predict", 200), ("/v1/predict/batch", 202)):
        assert client.post(path, files=files(*[SCAN] * 3)).status_code == accepted
        response = client.post(path, files=files(*[SCAN] * 4))
        assert (response.status_code, response.json()["type"]) == (413, "/docs#too-large")


def test_a_file_of_too_many_parts_is_one_row_among_others(client: TestClient):
    bomb = hostile_files.jpeg_of_scans(40_000)
    found = client.post("/v1/predict", files=files(SCAN, bomb)).json()["results"]
    assert "100 scans" in found[1]["prediction"]["error"]
    assert found[0]["id"]
    assert client.post("/v1/predict", files=files(bomb)).status_code == 413
