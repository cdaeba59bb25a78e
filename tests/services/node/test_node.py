"""Facts about the running node, with dcmtk on the other side."""

import numpy as np
import pytest
from pydicom import uid
from pynetdicom.ae import ApplicationEntity
from support.broken_files import HEAD
from support.command import command_runner
from support.dicom_files import slice_dataset, write_series
from support.running_node import needs_dcmtk, running_node, storescu

from tumorlens.services.store import find_predictions, open_store

VOLUME = np.stack([HEAD.astype(np.int16)] * 5)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return tiny_bundle.folder


def associate(port: int, *, title: str = "CT_1", called: str = "TUMORLENS", contexts=None):
    entity = ApplicationEntity(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = 60
    for storage, syntax in contexts or [("1.2.840.10008.1.1", uid.ImplicitVRLittleEndian)]:
        entity.add_requested_context(storage, syntax)
    return entity.associate("127.0.0.1", port, ae_title=called)


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


def test_dead_series_are_listed(tmp_path, monkeypatch, capsys):
    from tumorlens.services.node.spool import Spool

    spool = Spool(tmp_path, max_bytes=1000)
    spool.add(b"x", caller="CT_1", series="1", instance="2")
    (folder,) = spool.complete(quiet_s=0)
    spool.postpone(folder, "PACS@host:104: cannot be reached", first_s=1, most=1)
    ended = command_runner(monkeypatch, capsys)("dicom", "node", tmp_path, "--list-dead")
    assert ended.out == f"{folder.name}  from CT_1  1 tries  PACS@host:104: cannot be reached\n"


def test_tls_without_its_key_is_an_error(tmp_path, monkeypatch, capsys):
    run = command_runner(monkeypatch, capsys)
    ended = run("dicom", "node", tmp_path / "spool", "--tls", tmp_path / "cert.pem")
    assert ended.status == 2
    assert "lacks a certificate or its key" in ended.err
