"""Facts about objects that go to a PACS, and that it gives back what was sent."""

import io
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from dicomweb_client.session_utils import create_session_from_user_pass
from dicomweb_client.web import DICOMwebClient
from pydicom import dcmread
from support.command import command_runner
from support.dicom_tools import output_of, program
from support.live_server import free_port

from tumorlens.errors import ServiceError, SettingsError
from tumorlens.reports.dicom import KINDS
from tumorlens.reports.dicom.objects import write_objects
from tumorlens.services.node.send import Destination, parse_destination, send_objects


@pytest.fixture
def files(answered, tmp_path) -> list[Path]:
    made = [dataset for kind in KINDS for dataset in answered.objects[kind]]
    return [path for path, _ in write_objects(made, tmp_path / "objects")]


def without_preamble_and_meta(data: bytes) -> bytes:
    """Return a file from its first data element on: who stores it may name itself before it."""
    length = int.from_bytes(data[140:144], "little")
    return data[144 + length :]


@pytest.mark.parametrize("way", ["entity", "web"])
def test_a_series_goes_in_and_its_objects_come_back_bit_for_bit(orthanc, answered, files, way):
    sources = [Path(header.path) for header in answered.series.slices]
    storescu = program("storescu", "Debian dcmtk")
    output_of(storescu, "-aec", "ORTHANC", "127.0.0.1", str(orthanc.dicom_port), *sources)
    assert len(orthanc.instances()) == len(sources)
    sent = send_objects(files, parse_destination(getattr(orthanc, way)))
    assert [item.reason for item in sent] == [""] * len(files)
    to = parse_destination(orthanc.web)
    client = DICOMwebClient(to.url, session=create_session_from_user_pass(*to.login))
    found = client.search_for_instances(answered.series.slices[0].study, fields=["SOPClassUID"])
    known = {item["00080018"]["Value"][0] for item in found}
    assert known == {h.instance for h in answered.series.slices} | {s.instance for s in sent}
    for path in files:
        written = dcmread(path)
        returned = client.retrieve_instance(
            written.StudyInstanceUID, written.SeriesInstanceUID, written.SOPInstanceUID,
            media_types=(("application/dicom", written.file_meta.TransferSyntaxUID),),
        )  # fmt: skip
        buffer = io.BytesIO()
        returned.save_as(buffer, enforce_file_format=True)
        expected = without_preamble_and_meta(path.read_bytes())
        assert without_preamble_and_meta(buffer.getvalue()) == expected


def test_sending_twice_doubles_nothing(orthanc, files):
    for way in (orthanc.entity, orthanc.web, orthanc.entity):
        assert all(item.is_stored for item in send_objects(files, parse_destination(way)))
    assert len(orthanc.instances()) == len(files)


def test_the_command_sends_a_folder(orthanc, files, monkeypatch, capsys):
    run = command_runner(monkeypatch, capsys)
    (files[0].parent / "notes.txt").write_text("no object")
    ended = run("dicom", "send", files[0].parent, "--to", orthanc.entity)
    assert ended.status == 0, ended.err
    assert f"{len(files)} objects stored by {orthanc.entity}" in ended.err


def test_a_wrong_title_is_refused_and_said(orthanc, files):
    to = Destination("127.0.0.1", orthanc.dicom_port, "SOMEBODY")
    with pytest.raises(ServiceError, match="refuses the association"):
        send_objects(files, to)
    assert orthanc.instances() == []


def test_a_wrong_password_is_a_reason_for_each_object(orthanc, files):
    to = replace(parse_destination(orthanc.web), login=("tumorlens", "guessed"))
    sent = send_objects(files[:2], to)
    assert [item.reason for item in sent] == ["refused with HTTP status 401"] * 2
    assert orthanc.instances() == []


@pytest.mark.parametrize("form", ["A@127.0.0.1:{}", "http://me:secret@127.0.0.1:{}/dicom-web"])
def test_a_pacs_that_is_not_there_is_one_error_without_the_password(files, form):
    nobody = replace(parse_destination(form.format(free_port())), timeout_s=2)
    with pytest.raises(ServiceError) as e:
        send_objects(files, nobody)
    assert "cannot be reached" in str(e.value)
    assert "secret" not in str(e.value)


def test_a_service_that_says_200_and_stores_nothing_is_not_believed(files):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_say_ok, args=(server, 1), daemon=True).start()
        to = parse_destination(f"http://127.0.0.1:{server.getsockname()[1]}/dicom-web")
        (sent,) = send_objects(files[:1], to)
    assert sent.reason == "the service does not say that it stored it"


def _say_ok(server: socket.socket, times: int) -> None:
    for _ in range(times):
        connection, _ = server.accept()
        with connection:
            received = b""
            while not received.rstrip().endswith(b"--"):
                received += connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
                b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
            )


def test_a_file_that_is_no_dicom_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(ServiceError, match=r"a\.txt: is no DICOM file"):
        send_objects([tmp_path / "a.txt"], Destination("127.0.0.1", 1, "A"))


@pytest.mark.parametrize(
    "text", ["", "A@host", "host:104", "A@host:0", f"{'A' * 17}@h:1", "ftp://a"]
)
def test_what_is_no_destination_is_an_error_that_shows_the_forms(text):
    with pytest.raises(SettingsError):
        parse_destination(text)


def test_destinations_are_read_with_their_login():
    assert parse_destination("PACS@[::1]:104") == Destination("::1", 104, "PACS")
    found = parse_destination("https://me:pa%40ss@pacs.example/dicom-web/")
    assert found == Destination(url="https://pacs.example/dicom-web", login=("me", "pa@ss"))
