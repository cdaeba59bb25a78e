"""The model, its health, its metrics, and the pages about the API."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.serving import SCAN, files, serving

from tumorlens.errors import BundleError
from tumorlens.models.bundle import Bundle, SelfTest, write_bundle
from tumorlens.predictions.predictor import (
    Predictor,
    check_self_test,
    load_predictor,
)
from tumorlens.services.http.problems import KINDS
from tumorlens.services.http.schemas import ModelDocument
from tumorlens.services.http.service import StoreCheck
from tumorlens.services.store import Store


def test_the_model_says_what_it_is(client: TestClient, tiny_bundle: Bundle):
    found = client.get("/v1/model").json()
    ModelDocument.model_validate(found, strict=True)
    assert (found["sha256"], found["threshold"]) == (tiny_bundle.sha256, tiny_bundle.threshold)
    assert found["graph_sha256"] == tiny_bundle.graph_sha256


def test_metrics_count_answers_and_requests_by_route(client: TestClient):
    client.post("/v1/predict", files=files(SCAN))
    client.get("/v1/predictions/Jane-Doe")
    text = client.get("/metrics").text
    assert re.search(r'tumorlens_predictions_total\{decision="[a-z ]+",modality="mri"\} \d', text)
    assert 'route="/v1/predictions/{id}"' in text
    assert "Jane" not in text


def test_the_service_is_not_ready_when_the_store_takes_no_writes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    service = client.app.state.service
    monkeypatch.setattr("tumorlens.services.http.service.is_writable", lambda store: False)
    monkeypatch.setattr(service, "store_check", StoreCheck(service.store))
    for path in ("/readyz", "/v2/health/ready"):
        assert client.get(path).status_code == 503
    assert client.get("/healthz").status_code == 200


def test_who_asks_often_whether_it_is_ready_does_not_write_as_often(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Store] = []
    monkeypatch.setattr("tumorlens.services.http.service.is_writable", asked.append)
    check = StoreCheck(client.app.state.service.store)
    for _ in range(100):
        check.is_writable()
    assert len(asked) <= 2


def test_the_page_about_the_api_has_every_route_and_problem(client: TestClient):
    page = client.get("/docs").text
    described = client.get("/openapi.json").json()
    for path in described["paths"]:
        assert path in page
    for kind in KINDS:
        assert f'id="{kind}"' in page
    assert "<script" not in page
    assert "Research use only" in page


def test_every_route_says_what_it_gives_and_that_it_may_refuse(client: TestClient):
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            statuses = set(operation["responses"])
            assert {"4XX", "5XX"} <= statuses, path
            assert any(status.startswith("2") for status in statuses), path


def test_a_bundle_knows_its_answer_to_the_self_test_scan(tiny_bundle: Bundle, tmp_path: Path):
    bundle = copied(tiny_bundle, tmp_path)
    known = Predictor(bundle).answer_self_test()
    write_bundle(replace(bundle, self_test=known), "# tiny\n")
    assert "as when the bundle was made" in check_self_test(load_predictor(tmp_path))


def test_another_answer_to_the_self_test_scan_stops_the_start(tiny_bundle: Bundle, tmp_path: Path):
    bundle = copied(tiny_bundle, tmp_path)
    known = SelfTest(dict.fromkeys(bundle.atoms, 1 / 6))
    write_bundle(replace(bundle, self_test=known), "# tiny\n")
    with pytest.raises(BundleError, match="differently"), serving(tmp_path, bundle):
        pass


def test_the_shipped_bundle_keeps_its_self_test_answer():
    assert "as when the bundle was made" in check_self_test(load_predictor())


def copied(bundle: Bundle, folder: Path) -> Bundle:
    (folder / "model.onnx").write_bytes(bundle.graph.read_bytes())
    return replace(bundle, folder=folder)
