"""Facts about studies that are fetched from a PACS."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import Dataset
from support.command import command_runner
from support.live_server import free_port

from tumorlens.errors import CasesError, ServiceError
from tumorlens.services.node import pull
from tumorlens.services.node.pull import Instance, move_study, pull_study
from tumorlens.services.node.receiver import ReceiverOptions, start_receiver
from tumorlens.services.node.send import Destination, parse_destination, send_objects
from tumorlens.services.spool import Spool

WAYS = pytest.mark.parametrize("way", ["entity", "web"])


@pytest.fixture
def study(orthanc, answered) -> tuple[str, dict[str, bytes]]:
    """A study in the PACS: slices and a report. Returns its UID, and the slices as they are."""
    files = [Path(header.path) for header in answered.series.slices]
    to = parse_destination(orthanc.entity)
    assert all(one.is_stored for one in send_objects([*files, *answered.objects["sr"]], to))
    first = answered.series.slices[0]
    return first.study, {h.instance: Path(h.path).read_bytes() for h in answered.series.slices}


def after_meta(data: bytes) -> bytes:
    return data[144 + int.from_bytes(data[140:144], "little") :]


@WAYS
def test_slices_come_as_they_are_and_a_second_run_asks_for_none(orthanc, study, way, tmp_path):
    uid, slices = study
    source = parse_destination(getattr(orthanc, way))
    found = pull_study(uid, source, tmp_path)
    assert (found.asked, found.received, found.others) == (len(slices), len(slices), 1)
    files = sorted(tmp_path.rglob("*.dcm"))
    assert sorted(after_meta(f.read_bytes()) for f in files) == sorted(
        after_meta(data) for data in slices.values()
    )
    assert not any(uid in str(file) for file in files)
    again = pull_study(uid, source, tmp_path)
    assert (again.asked, again.there) == (0, len(slices))


@WAYS
def test_only_what_lacks_is_asked_for(orthanc, study, way, tmp_path):
    source = parse_destination(getattr(orthanc, way))
    pull_study(study[0], source, tmp_path)
    first, *_ = tmp_path.rglob("*.dcm")
    first.unlink()
    found = pull_study(study[0], source, tmp_path)
    assert (found.asked, found.received, found.there) == (1, 1, len(study[1]) - 1)
    assert first.exists()


@WAYS
def test_a_slice_that_is_gone_from_the_pacs_is_refused_and_the_others_come(
    orthanc, study, way, tmp_path, monkeypatch
):
    """One slice is listed, and is no longer there when it is asked for."""
    kind = pull._Web if way == "web" else pull._Dimse
    find, gone = kind.find, "1.2.3.4.5"

    def find_one_more(*words):
        found = find(*words)
        return [*found, replace(next(one for one in found if one.instance in study[1]),
                                instance=gone)]  # fmt: skip

    monkeypatch.setattr(kind, "find", find_one_more)
    found = pull_study(study[0], parse_destination(getattr(orthanc, way)), tmp_path)
    assert found.received == len(study[1])
    assert list(found.refused) == [gone]
    assert found.asked == found.received + 1


@WAYS
def test_a_study_that_is_not_there_is_an_error(orthanc, way, tmp_path):
    with pytest.raises(CasesError, match=r"has no study 1\.2\.9"):
        pull_study("1.2.9", parse_destination(getattr(orthanc, way)), tmp_path)


def test_who_may_not_query_is_told_so(orthanc, study, tmp_path):
    stranger = replace(parse_destination(orthanc.entity), calling_title="STRANGER")
    with pytest.raises(ServiceError, match="answers no query"):
        pull_study(study[0], stranger, tmp_path)
    wrong = Destination(url=parse_destination(orthanc.web).url, login=("tumorlens", "guessed"))
    with pytest.raises(ServiceError, match="HTTP status 401"):
        pull_study(study[0], wrong, tmp_path)


@pytest.mark.parametrize("form", ["A@127.0.0.1:{}", "http://127.0.0.1:{}/dicom-web"])
def test_a_pacs_that_is_not_there_is_an_error(form, tmp_path):
    nobody = replace(parse_destination(form.format(free_port())), timeout_s=2)
    with pytest.raises(ServiceError, match="cannot be reached"):
        pull_study("1.2", nobody, tmp_path)


def test_the_pacs_moves_a_study_to_a_node_that_it_knows_and_to_no_other(orthanc, study, tmp_path):
    options = ReceiverOptions(port=free_port(), title="NODE")
    body = {"AET": "NODE", "Host": "127.0.0.1", "Port": options.port}
    orthanc.request("/modalities/node", "PUT", json.dumps(body).encode())
    server = start_receiver(Spool(tmp_path, max_bytes=10**8), options, lambda *_, **__: None)
    try:
        found = move_study(study[0], parse_destination(orthanc.entity), "NODE")
        assert (found.received, found.refused) == (len(study[1]), {})
        assert len(list(tmp_path.rglob("*.dcm"))) == len(study[1])
        lost = move_study(study[0], parse_destination(orthanc.entity), "NOBODY")
        assert (lost.received, len(lost.refused)) == (0, len(study[1]))
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("asked", "inside", "status"),
    [("9.9", "1.2.3", 0xA900), ("1.2.3", "9.9", 0xA900), ("1.2.3", "1.2.3", 0)],
    ids=["not asked for", "another inside", "right"],
)
def test_only_slices_that_were_asked_for_are_kept(asked, inside, status, tmp_path):
    dataset = Dataset()
    dataset.SOPInstanceUID = inside
    event = SimpleNamespace(
        request=SimpleNamespace(AffectedSOPInstanceUID=asked), dataset=dataset,
        encoded_dataset=lambda: b"whole",
    )  # fmt: skip
    one = Instance("1", "1.2", "1.2.3", "")
    assert pull._receive(event, {"1.2.3": one}, tmp_path, {}) == status
    assert one.path(tmp_path).exists() == (status == 0)


def test_the_command_counts_what_it_asked_for(orthanc, study, tmp_path, monkeypatch, capsys):
    run = command_runner(monkeypatch, capsys)
    words = ("dicom", "pull", "--study", study[0], "--from", orthanc.entity, "--out", tmp_path)
    ended = run(*words)
    assert ended.status == 0
    assert f"{len(study[1])} asked: {len(study[1])} received, 0 refused; 1 objects" in ended.err
    assert run(*words).status == 0
    assert run(*words, "--move-to", "NODE").status == 2
    assert run(*words, "--series", "../x").status == 2
