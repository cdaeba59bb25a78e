"""Batches over HTTP."""

import asyncio
import threading
from dataclasses import replace

import pytest
from httpx import Response
from sqlalchemy import text
from starlette.requests import Request
from starlette.testclient import TestClient
from support.serving import PROBLEM, SCAN, Locked, files, phantom_png
from support.waiting import wait_until

from tumorlens.services.http.inference import Upload
from tumorlens.services.http.schemas import JobDocument, JobResult
from tumorlens.services.http.service import Service
from tumorlens.services.store import Store


def finished(client: TestClient, job: dict) -> dict:
    def asked() -> dict:
        found = client.get(job["links"]["self"]).json()
        JobDocument.model_validate(found, strict=True)
        return found

    wait_until(lambda: asked()["state"] == "done", "the batch to end")
    return asked()


def test_a_batch_is_answered_in_the_order_of_its_files(client: TestClient):
    scans = [SCAN, b"no picture", phantom_png("ct", "healthy")]
    response = client.post("/v1/predict/batch", files=files(*scans))
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == job["links"]["self"]
    assert (finished(client, job)["answered"], finished(client, job)["failed"]) == (3, 1)
    found = client.get(job["links"]["result"]).json()
    JobResult.model_validate(found, strict=True)
    alone = client.post("/v1/predict", files=files(scans[2])).json()["results"][0]["prediction"]
    assert [row["index"] for row in found["results"]] == [0, 1, 2]
    assert "not a PNG" in found["results"][1]["prediction"]["error"]
    assert found["results"][2]["prediction"] == alone


def test_the_result_as_csv_has_a_row_for_each_file(client: TestClient):
    job = client.post("/v1/predict/batch", files=files(SCAN, b"no picture", SCAN)).json()
    finished(client, job)
    response = client.get(job["links"]["csv"])
    assert response.headers["content-type"].startswith("text/csv")
    assert len(response.text.splitlines()) == 4


@pytest.fixture
def standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no batch go on."""
    monkeypatch.setattr("tumorlens.services.http.service.waiting_scans", lambda store: [])


def waiting_images(store: Store, job: dict) -> int:
    with store.reading() as connection:
        query = text("SELECT count(*) FROM job_scans WHERE job = :id")
        return connection.scalar(query, {"id": job["id"]}) or 0


@pytest.mark.usefixtures("standstill")
def test_a_canceled_batch_keeps_what_is_answered_and_no_image(locked: Locked):
    ann = locked.key("predict")
    scans = files(SCAN, b"no picture", SCAN)
    job = locked.client.post("/v1/predict/batch", files=scans, headers=ann).json()
    assert waiting_images(locked.store, job) == 2
    canceled = locked.client.delete(job["links"]["cancel"], headers=ann)
    JobDocument.model_validate(canceled.json(), strict=True)
    assert canceled.json() == locked.client.get(job["links"]["self"], headers=ann).json()
    assert (canceled.json()["state"], canceled.json()["answered"]) == ("canceled", 1)
    assert waiting_images(locked.store, job) == 0
    results = locked.client.get(job["links"]["result"], headers=ann).json()["results"]
    assert [row["index"] for row in results] == [1]


def test_a_finished_batch_is_not_canceled(client: TestClient):
    job = client.post("/v1/predict/batch", files=files(SCAN)).json()
    finished(client, job)
    assert client.delete(job["links"]["cancel"]).json()["state"] == "done"


@pytest.mark.usefixtures("standstill")
def test_a_batch_is_canceled_by_its_own_key_or_an_admin(locked: Locked):
    ann = locked.key("predict")
    job = locked.client.post("/v1/predict/batch", files=files(SCAN), headers=ann).json()
    for other in (locked.key("predict"), locked.key("predict", "read")):
        assert locked.client.delete(job["links"]["cancel"], headers=other).status_code == 404
    admin = locked.key("admin")
    assert locked.client.delete(job["links"]["cancel"], headers=admin).json()["state"] == "canceled"


@pytest.mark.usefixtures("standstill")
def test_a_key_has_only_so_many_unfinished_batches(locked: Locked, monkeypatch: pytest.MonkeyPatch):
    service = locked.client.app.state.service
    monkeypatch.setattr(service, "settings", replace(service.settings, max_jobs=2))
    ann = locked.key("predict")

    def submit(key: dict[str, str]) -> Response:
        return locked.client.post("/v1/predict/batch", files=files(SCAN), headers=key)

    jobs = [submit(ann) for _ in range(2)]
    refused = submit(ann)
    assert (refused.status_code, refused.json()["type"]) == (429, "/docs#too-many-jobs")
    assert int(refused.headers["retry-after"]) >= 1
    assert submit(locked.key("predict")).status_code == 202
    locked.client.delete(jobs[0].json()["links"]["cancel"], headers=ann)
    assert submit(ann).status_code == 202


def test_a_batch_whose_client_has_left_is_not_decoded_further(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    decoded: list[int] = []
    left, some = threading.Event(), threading.Event()

    def decode(service: Service, index: int, upload: Upload) -> None:
        decoded.append(index)
        some.set()
        left.wait(10)

    async def is_disconnected(request: Request) -> bool:
        await asyncio.to_thread(some.wait, 10)
        return True

    monkeypatch.setattr("tumorlens.services.http.inference.decode", decode)
    monkeypatch.setattr("tumorlens.services.http.inference.LEFT_SECONDS", 0.01)
    monkeypatch.setattr(Request, "is_disconnected", is_disconnected)
    response = client.post("/v1/predict/batch", files=files(*[SCAN] * 50))
    left.set()
    assert response.status_code == 400
    assert len(decoded) <= client.app.state.service.pool.workers


def test_no_image_of_a_finished_batch_is_left(client: TestClient):
    finished(client, client.post("/v1/predict/batch", files=files(SCAN, SCAN)).json())
    with client.app.state.service.store.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM job_scans")) == 0
        assert connection.scalar(text("SELECT count(*) FROM predictions WHERE prepared > ''")) == 0


@pytest.mark.parametrize(
    ("scans", "status"), [([b"text"], 422), ([SCAN] * 51, 413), ([b"text", b""], 422)]
)
def test_a_batch_that_cannot_be_taken_is_a_problem(client: TestClient, scans: list, status: int):
    response = client.post("/v1/predict/batch", files=files(*scans))
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)


def test_a_batch_of_another_key_cannot_be_seen(locked: Locked):
    ann, bob = locked.key("predict"), locked.key("predict")
    job = locked.client.post("/v1/predict/batch", files=files(SCAN), headers=ann).json()
    assert locked.client.get(job["links"]["cancel"], headers=bob).status_code == 404
    for link in job["links"].values():
        assert locked.client.get(link, headers=bob).status_code == 404
        assert locked.client.get(link, headers=ann).status_code == 200
