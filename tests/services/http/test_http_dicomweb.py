"""Facts about STOW-RS into the spool of a node."""

import io
import json
import re

import numpy as np
import pytest
from pydicom import dcmread, uid
from sqlalchemy import update
from support.broken_files import HEAD
from support.dicom_files import dicom_bytes, slice_dataset, write_series
from support.serving import serving

from tumorlens.services.http.routes_dicomweb import read_related
from tumorlens.services.spool import State, write_state
from tumorlens.services.store import find_predictions, find_series, open_store
from tumorlens.services.store.database import PredictionRow

SLICE = slice_dataset(HEAD.astype(np.int16), StudyInstanceUID="1.2.3")
REPORT = slice_dataset(HEAD.astype(np.int16), SOPClassUID=uid.BasicTextSRStorage)
DEFLATED = dicom_bytes(SLICE, syntax=uid.DeflatedExplicitVRLittleEndian)
KIND = 'multipart/related; type="application/dicom"; boundary="b"'


@pytest.fixture(scope="module")
def stow(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("stow")

    def send(*parts: bytes, path: str = "/dicom-web/studies", kind: str = KIND, end: str = "--"):
        lines = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in parts)
        body = b"".join(lines) + f"--b{end}\r\n".encode()
        return client.post(path, content=body, headers={"Content-Type": kind})

    with serving(folder, tiny_bundle, spool=str(folder / "spool")) as client:
        send.client = client
        yield send, folder / "spool"


def test_a_slice_is_on_disk_as_it_was_sent_when_it_is_acknowledged(stow):
    send, spool = stow
    data = dicom_bytes(SLICE)
    answer = send(data)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081155"]["Value"] == [SLICE.SOPInstanceUID]
    assert [path.read_bytes() for path in (spool / "series").rglob("*.dcm")] == [data]


@pytest.mark.parametrize(
    ("part", "path", "reason"),
    [
        (dicom_bytes(REPORT), "/dicom-web/studies", 0x0122),
        (DEFLATED, "/dicom-web/studies", 0x0122),
        (b"no DICOM", "/dicom-web/studies", 0xC000),
        (dicom_bytes(SLICE), "/dicom-web/studies/9.9", 0xA900),
    ],
    ids=["report", "deflated", "text", "other study"],
)  # fmt: skip
def test_what_is_not_taken_is_named_with_its_reason(stow, part, path, reason):
    send, _ = stow
    answer = send(part, path=path)
    assert answer.status_code == 409
    (item,) = answer.json()["00081198"]["Value"]
    assert item["00081197"]["Value"] == [reason]


def test_some_of_several_are_stored(stow):
    send, _ = stow
    answer = send(dicom_bytes(SLICE), b"no DICOM")
    assert answer.status_code == 202
    assert set(answer.json()) == {"00081198", "00081199"}


@pytest.mark.parametrize(
    ("change", "status"),
    [({"kind": "application/dicom"}, 415), ({"end": ""}, 400),
     ({"path": "/dicom-web/studies/x"}, 422)],
)  # fmt: skip
def test_a_request_that_is_no_stow_is_a_problem(stow, change, status):
    send, _ = stow
    assert send(dicom_bytes(SLICE), **change).status_code == status


def test_objects_of_a_series_come_back_in_the_form_in_which_slices_went_in(stow, tmp_path):
    send, spool = stow
    folder = write_series(tmp_path, np.stack([HEAD.astype(np.int16)] * 5), StudyInstanceUID="1.2.7",
                          FrameOfReferenceUID="1.2.8")  # fmt: skip
    slices = [path.read_bytes() for path in sorted(folder.iterdir())]
    answers = [send(*slices, path="/v1/series/objects") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    parts = read_related(answers[0].content, answers[0].headers["content-type"], max_parts=99)
    found = [dcmread(io.BytesIO(part)) for part in parts]
    assert {one.StudyInstanceUID for one in found} == {"1.2.7"}
    assert uid.Comprehensive3DSRStorage in {one.SOPClassUID for one in found}
    store = open_store(str(spool.parent / "store.sqlite"))
    assert len(find_predictions(store)) == len(slices)  # the second time adds nothing
    (series,) = find_series(store)
    assert (series.source, series.answer.slices) == ("http", len(slices))


def test_a_series_is_looked_at_while_its_files_lie_in_the_spool(stow, tmp_path):
    send, spool = stow
    folder = write_series(tmp_path, np.stack([HEAD.astype(np.int16)] * 5), StudyInstanceUID="1.3.7")
    slices = [path.read_bytes() for path in sorted(folder.iterdir())]
    send(*slices, path="/v1/series/objects")
    row = find_series(open_store(str(spool.parent / "store.sqlite")))[0]
    get = send.client.get
    (listed,) = [one for one in get("/v1/series").json()["series"] if one["id"] == row.id]
    gone = get(listed["links"]["view"])
    assert gone.status_code == 410
    assert "--keep-hours" in gone.json()["detail"]
    kept = spool / "done" / "a"
    (kept / "slices").mkdir(parents=True)
    for number, data in enumerate(slices):
        (kept / "slices" / f"{number}.dcm").write_bytes(data)
    write_state(kept, State("CT_1", series=(row.series,)))
    page = get(listed["links"]["view"])
    assert page.status_code == 200, page.text
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    content = json.loads(re.search(r'id="viewer-0">(.*?)</script>', page.text)[1])
    assert len(content["slices"]) == 5
    assert get(f"/v1/series/{'0' * 32}/view").status_code == 404


def test_a_series_that_was_sent_again_with_one_slice_more_is_looked_at_whole(stow, tmp_path):
    send, spool = stow
    folder = write_series(tmp_path, np.stack([HEAD.astype(np.int16)] * 6), StudyInstanceUID="1.4.7")
    slices = [path.read_bytes() for path in sorted(folder.iterdir())]
    store = open_store(str(spool.parent / "store.sqlite"))
    send(*slices[:5], path="/v1/series/objects")
    with store.writing() as connection:  # an hour ago
        connection.execute(update(PredictionRow).values(created_at="2026-01-01T00:00:00.000Z"))
    send(*slices, path="/v1/series/objects")
    row = find_series(store)[0]
    kept = spool / "done" / "again"
    (kept / "slices").mkdir(parents=True)
    for number, data in enumerate(slices):
        (kept / "slices" / f"{number}.dcm").write_bytes(data)
    write_state(kept, State("CT_1", series=(row.series,)))
    page = send.client.get(f"/v1/series/{row.id}/view")
    content = json.loads(re.search(r'id="viewer-0">(.*?)</script>', page.text)[1])
    assert len(content["slices"]) == 6


def test_a_series_that_gets_no_objects_says_why(stow):
    send, _ = stow
    answer = send(dicom_bytes(SLICE), path="/v1/series/objects")
    assert answer.status_code == 422
    assert "has 1 slice, fewer than 5" in answer.json()["detail"]


def test_without_a_spool_there_is_no_such_address(client):
    assert client.post("/dicom-web/studies").status_code == 404
