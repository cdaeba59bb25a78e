"""Batches over HTTP."""

import time

import pytest
from starlette.testclient import TestClient
from support.serving import PROBLEM, SCAN, Locked, files, phantom_png

from tumorlens.services.http.schemas import JobDocument, JobResult


def finished(client: TestClient, job: dict) -> dict:
    for _ in range(400):
        found = client.get(job["links"]["self"]).json()
        JobDocument.model_validate(found, strict=True)
        if found["state"] == "done":
            return found
        time.sleep(0.05)
    raise AssertionError("the batch did not end")


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


def test_no_image_of_a_finished_batch_is_left(client: TestClient):
    from sqlalchemy import text

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
    for link in job["links"].values():
        assert locked.client.get(link, headers=bob).status_code == 404
        assert locked.client.get(link, headers=ann).status_code == 200
