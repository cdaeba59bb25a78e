"""Facts about the running node, with dcmtk on the other side."""

import socket
import time
import urllib.request

import numpy as np
import pytest
from pydicom import uid
from support.broken_files import HEAD
from support.command import command_runner
from support.dicom_files import slice_dataset, write_series
from support.live_server import free_port
from support.running_node import (
    answered_folder,
    associate,
    needs_dcmtk,
    own_node,
    running_node,
    storescu,
)

from tumorlens.errors import ServiceError, StoreError
from tumorlens.services.answer_process import AnswerProcess
from tumorlens.services.node.metrics import NodeMetrics, serve_metrics
from tumorlens.services.node.receiver import ReceiverOptions, start_receiver
from tumorlens.services.node.routes import Route
from tumorlens.services.node.send import Sent, parse_destination
from tumorlens.services.spool import Spool, dead_series, read_state
from tumorlens.services.store import find_predictions, find_series, open_store, verify
from tumorlens.services.store.audit_log import entries

VOLUME = np.stack([HEAD.astype(np.int16)] * 5)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return tiny_bundle.folder


def answered(node) -> list:
    return find_predictions(open_store(str(node.store)))


@needs_dcmtk
def test_every_acknowledged_slice_is_answered_once_also_after_kills(bundle, tmp_path):
    sent = 0
    with running_node(tmp_path, bundle) as node:
        for kill in range(3):
            folder = write_series(tmp_path / f"s{kill}", VOLUME, SeriesInstanceUID=f"1.2.{kill}")
            assert storescu(node.port, sorted(folder.iterdir())).returncode == 0
            sent += len(VOLUME)
            node.kill()
            node.start()
        # A sender that did not hear of it sends again: nothing is doubled.
        assert storescu(node.port, sorted(folder.iterdir())).returncode == 0
        node.wait_for(lambda: not node.waits(), "the series to be dealt with")
        stored = answered(node)
    assert len(stored) == sent
    assert len({item.input_sha256 for item in stored}) == sent
    store = open_store(str(node.store))
    series = find_series(store, source="dicom")
    assert [one.series for one in series] == list(
        dict.fromkeys(item.prediction.series for item in stored)
    )
    assert {one.answer.slices for one in series} == {len(VOLUME)}
    assert verify(store).problems == ()
    assert {item.owner for item in stored} == {"dicom:STORESCU"}
    assert not any("1.2." in item.prediction.series for item in stored)


@pytest.fixture(scope="module")
def strict(bundle, tmp_path_factory):
    """A node that listens to one sender alone."""
    with running_node(tmp_path_factory.mktemp("node"), bundle, "--from", "CT_1") as node:
        yield node


def test_an_echo_is_answered(strict):
    association = associate(strict.port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize("names", [{"title": "CT_2"}, {"called": "ANOTHER"}])
def test_unknown_titles_are_not_let_in(strict, names):
    assert associate(strict.port, **names).is_rejected


def test_a_deflated_file_and_a_report_are_not_taken(strict):
    association = associate(
        strict.port,
        contexts=[
            (uid.CTImageStorage, uid.DeflatedExplicitVRLittleEndian),
            (uid.BasicTextSRStorage, uid.ExplicitVRLittleEndian),
        ],
    )
    assert association.accepted_contexts == []
    association.abort()


def test_what_cannot_be_understood_is_refused_and_the_node_lives(strict):
    dataset = slice_dataset(VOLUME[0])
    del dataset.SeriesInstanceUID
    context = [(dataset.SOPClassUID, uid.ExplicitVRLittleEndian)]
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    association = associate(strict.port, contexts=context)
    assert association.send_c_store(dataset).Status == 0xC000
    association.release()
    assert strict.is_running()


def test_a_sender_that_hangs_up_halfway_leaves_nothing(strict):
    association = associate(
        strict.port, contexts=[(uid.MRImageStorage, uid.ExplicitVRLittleEndian)]
    )
    association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00half")
    association.abort()
    assert not any((strict.spool / "incoming").iterdir())
    assert associate(strict.port).is_established


def test_metrics_count_instances_events_and_what_waits(tmp_path):
    spool = Spool(tmp_path, max_bytes=60_000)
    node = own_node(spool, log=lambda *_, **__: None)
    served = serve_metrics(node.metrics, "127.0.0.1", 0)
    try:
        assert [send(node.port, VOLUME[0]) for _ in range(2)] == [0, 0]
        send(node.port, np.zeros((128, 128), np.int16))
        address = f"http://127.0.0.1:{served.port}/metrics"
        with urllib.request.urlopen(address, timeout=60) as answer:
            text = answer.read().decode()
    finally:
        served.close()
        node.stop()
    for line in (
        'tumorlens_node_instance_seconds_count{outcome="stored"} 2.0',
        'tumorlens_node_instance_seconds_count{outcome="no room"} 1.0',
        'tumorlens_node_events_total{event="no room"} 1.0',
        'tumorlens_node_series_waiting{stage="series"} 1.0',
    ):
        assert line in text
    assert "1.2.3" not in text


def test_a_port_that_is_taken_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match="cannot be listened on"):
            serve_metrics(NodeMetrics(), "127.0.0.1", port)
        with pytest.raises(ServiceError, match="Name another --port"):
            start_receiver(Spool(tmp_path, max_bytes=1), ReceiverOptions(port=port), print)


def test_dead_series_are_listed(tmp_path, monkeypatch, capsys):
    spool = Spool(tmp_path, max_bytes=1000)
    spool.add(b"x", caller="CT_1", series="1", instance="2")
    (folder,) = spool.complete(quiet_s=0)
    spool.postpone(folder, "PACS@host:104: cannot be reached", first_s=1, max_attempts=1)
    ended = command_runner(monkeypatch, capsys)("dicom", "node", tmp_path, "--list-dead")
    assert ended.out == f"{folder.name}  from CT_1  1 tries  PACS@host:104: cannot be reached\n"


def test_tls_without_its_key_is_an_error(tmp_path, monkeypatch, capsys):
    run = command_runner(monkeypatch, capsys)
    ended = run("dicom", "node", tmp_path / "spool", "--tls-cert", tmp_path / "cert.pem")
    assert ended.status == 2
    assert "lacks a certificate or its key" in ended.err


@needs_dcmtk
def test_objects_come_back_by_both_ways_and_wait_while_the_pacs_is_down(orthanc, bundle, tmp_path):
    nobody = free_port()
    (tmp_path / "routes.toml").write_text(
        f'[[route]]\nfrom = "CT_1"\nmodality = "mri"\nto = ["{orthanc.entity}", "{orthanc.web}", '
        f'"GONE@127.0.0.1:{nobody}"]\n'
    )
    volume = np.stack([HEAD.astype(np.int16)] * 6)
    folder = write_series(tmp_path / "in", volume, StudyInstanceUID="1.2.77", PatientID="1",
                          SeriesInstanceUID="1.2.77.1", FrameOfReferenceUID="1.2.77.2")  # fmt: skip
    with running_node(tmp_path, bundle, "--routes", tmp_path / "routes.toml") as node:
        assert storescu(node.port, sorted(folder.iterdir()), "-aet", "CT_1").returncode == 0
        node.wait_for(lambda: node.count("failed"), "the place that is gone to fail")
        (work,) = (node.spool / "work").iterdir()
        made = list((work / "objects").iterdir())
        assert read_state(work).pending == (f"GONE@127.0.0.1:{nobody}",)
    assert len(made) > 1
    assert len(orthanc.instances()) == len(made)


@pytest.fixture
def small(tmp_path):
    """A receiver with little room, in this process, and what it logged."""
    spool, events = Spool(tmp_path, max_bytes=25_000), []
    options = ReceiverOptions(port=free_port(), max_object=100_000)
    server = start_receiver(spool, options, lambda event, **_: events.append(event))
    yield options.port, spool, events
    server.shutdown()


def send(port: int, pixels):
    dataset = slice_dataset(pixels)
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    contexts = [(dataset.SOPClassUID, uid.ExplicitVRLittleEndian)]
    association = associate(port, contexts=contexts)
    status = association.send_c_store(dataset)
    association.release()
    return status.get("Status")


def test_a_full_spool_leaves_slices_to_the_sender(small):
    port, _, _ = small
    assert send(port, VOLUME[0]) == 0
    assert send(port, VOLUME[1]) == 0xA700


def test_an_object_beyond_the_limit_ends_its_association(small):
    port, spool, events = small
    assert send(port, np.zeros((512, 512), np.int16)) is None
    assert "object too large" in events
    assert not any((spool.root / "series").iterdir())


def test_a_disk_that_is_full_for_a_while_ends_no_work(tmp_path, monkeypatch):
    spool, events = Spool(tmp_path, max_bytes=25_000), []
    node = own_node(spool, log=lambda event, **_: events.append(event))

    def complete(**_: float) -> list:
        if "waits" in events:
            node.stop()
            return []
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool, "complete", complete)
    node.run()
    assert "waits" in events


def test_a_store_that_does_not_answer_costs_a_series_no_attempt(tmp_path, monkeypatch):
    spool = Spool(tmp_path, max_bytes=10**6)
    spool.add(b"slice", caller="CT_1", series="1.2", instance="1.2.3")
    [folder] = spool.complete(quiet_s=0)

    def fail(*_: object) -> None:
        raise StoreError("store", "failed", "Check that it runs.")

    monkeypatch.setattr(AnswerProcess, "answer", fail)
    node = own_node(spool, max_attempts=1, retry_s=60,
                    log=lambda event, **_: node.stop() if event == "waits" else None)  # fmt: skip
    node.run()
    state = read_state(folder)
    assert (state.attempts, state.is_answered) == (0, False)
    assert state.not_before > time.time() + 30


def test_a_series_that_is_given_up_is_in_the_audit_trail_and_its_reason_holds_no_password(
    tmp_path, monkeypatch
):
    spool = Spool(tmp_path, max_bytes=10**6)
    folder = answered_folder(spool, "https://me:5eC3e7@pacs/web")  # as older nodes wrote it
    refusal = [Sent("1.2.4", "refused with HTTP status 403")]
    monkeypatch.setattr("tumorlens.services.node.node.send_objects", lambda *_, **__: refusal)
    routes = [Route((parse_destination("https://me:5eC3e7@pacs/web"),))]
    node = own_node(spool, routes=routes, max_attempts=1,
                    log=lambda event, **_: node.stop() if event == "dead" else None)  # fmt: skip
    node.run()
    [(_, state)] = dead_series(tmp_path)
    assert state.reason.startswith("https://pacs/web: did not store 1 of 1 objects")
    assert "5eC3e7" not in state.reason
    last = list(entries(node._store))[-1].event
    assert (last.action, last.subject) == ("series dead", folder.name)


def test_a_destination_that_left_the_routes_is_named_as_the_reason(tmp_path):
    spool = Spool(tmp_path, max_bytes=10**6)
    answered_folder(spool, "PACS@host:104")
    node = own_node(spool, max_attempts=1,
                    log=lambda event, **_: node.stop() if event == "dead" else None)  # fmt: skip
    node.run()
    [(_, state)] = dead_series(tmp_path)
    assert state.reason == "PACS@host:104: is in no route any more"
