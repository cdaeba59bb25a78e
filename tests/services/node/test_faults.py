"""What may fail around a node: partners, disks, certificates. Nothing is lost, nobody let in."""

import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
from pydicom import uid
from pynetdicom.acse import ACSE
from pynetdicom.presentation import build_context
from support.broken_files import HEAD
from support.dicom_files import write_series
from support.live_server import free_port
from support.orthanc import running_orthanc
from support.running_node import answered_folder, associate, make_certificates, own_node
from support.waiting import wait_until

from tumorlens.errors import ServiceError
from tumorlens.reports.dicom.objects import write_objects
from tumorlens.services.node import send
from tumorlens.services.node.receiver import ReceiverOptions, start_receiver
from tumorlens.services.node.routes import Route, read_routes
from tumorlens.services.node.send import (
    Destination,
    associated,
    parse_destination,
    send_objects,
)
from tumorlens.services.node.tls import TlsFiles, server_context
from tumorlens.services.spool import OBJECTS, Spool, read_state

SLICES = np.stack([HEAD.astype(np.int16)] * 3)
WAIT_S = 60.0
ECHO = build_context("1.2.840.10008.1.1")


@contextmanager
def working(node):
    """Let a node work in a thread while the block lasts."""
    thread = threading.Thread(target=node.run)
    thread.start()
    try:
        yield node
    finally:
        node.stop()
        thread.join(WAIT_S)


@contextmanager
def receiving(folder, **options):
    """Let a receiver take slices while the block lasts; yields its port, spool and events."""
    spool, events = Spool(folder, max_bytes=10**8), []
    chosen = ReceiverOptions(port=free_port(), **options)
    server = start_receiver(spool, chosen, lambda event, **_: events.append(event))
    try:
        yield chosen.port, spool, events
    finally:
        server.shutdown()


def stored(spool: Spool) -> int:
    return len(list((spool.root / "series").rglob("*.dcm")))


# --- destinations -----------------------------------------------------------------------------


def test_a_pacs_that_is_killed_while_results_are_sent_has_each_of_them_once_in_the_end(
    answered, tmp_path, monkeypatch
):
    objects = [one for kind in ("sr", "pm", "sc", "ko") for one in answered.objects[kind]]
    (tmp_path / "pacs").mkdir()
    with running_orthanc(tmp_path / "pacs") as orthanc:
        spool = Spool(tmp_path / "spool", max_bytes=10**8)
        folder = answered_folder(spool, orthanc.entity)
        (folder / OBJECTS / "report-1.dcm").unlink()
        write_objects(objects, folder / OBJECTS)
        whole, calls = send._store_one, []

        def store_one(association, dataset):
            calls.append(1)
            if len(calls) == 2:
                orthanc.kill()
            return whole(association, dataset)

        monkeypatch.setattr(send, "_store_one", store_one)
        events = []
        node = own_node(
            spool, routes=[Route((parse_destination(orthanc.entity),))],
            log=lambda event, **_: events.append(event), retry_s=0.1, send_s=5, max_attempts=99,
        )  # fmt: skip
        with working(node):
            wait_until(lambda: "failed" in events, "the first try to fail")
            assert read_state(folder).pending == (orthanc.entity,)
            orthanc.start()
            wait_until(lambda: "done" in events, "the results to be sent")
        assert len(orthanc.instances()) == len(objects)


def test_a_pacs_that_never_answers_holds_up_no_other(answered, orthanc, tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**8)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = f"SLOW@127.0.0.1:{silent.getsockname()[1]}"
        folder = answered_folder(spool, slow, orthanc.entity)
        (folder / OBJECTS / "report-1.dcm").unlink()
        write_objects(answered.objects["sr"], folder / OBJECTS)
        routes = [Route((parse_destination(slow), parse_destination(orthanc.entity)))]
        node = own_node(spool, routes=routes, log=lambda *_, **__: None, send_s=1)
        with working(node):
            wait_until(lambda: read_state(folder).pending == (slow,), "the other to get it")
    assert len(orthanc.instances()) == 1


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("pem"))


@pytest.mark.parametrize(
    ("ca", "certificate", "is_sent"),
    [("ca", "client", True), ("other", "client", False), ("ca", "other", False), ("ca", "", False)],
)
def test_results_go_over_tls_to_those_alone_whose_certificates_fit(
    pem, tmp_path, ca, certificate, is_sent
):
    """The receiver asks for clients of the authority, and we for a receiver of it."""
    names = f'ca = "{pem / ca}.pem"'
    if certificate:
        names += f', certificate = "{pem / certificate}.pem", key = "{pem / certificate}.key"'
    context = server_context(pem / "server.pem", pem / "server.key", pem / "ca.pem")
    files = sorted(write_series(tmp_path / "in", SLICES).iterdir())
    with receiving(tmp_path / "spool", tls=context) as (port, spool, _):
        (tmp_path / "r.toml").write_text(
            f'[[route]]\nto = ["TUMORLENS@127.0.0.1:{port}"]\ntls = {{{names}}}\n'
        )
        ((to,),) = (route.to for route in read_routes(tmp_path / "r.toml"))
        sent = []
        with suppress(ServiceError):
            sent = send_objects(files, replace(to, timeout_s=5))
        assert [one.is_stored for one in sent] == [True] * len(files) * is_sent
        assert stored(spool) == len(files) * is_sent


def test_a_receiver_whose_name_is_not_in_its_certificate_gets_nothing(pem, tmp_path):
    context = server_context(pem / "server.pem", pem / "server.key", None)
    files = sorted(write_series(tmp_path / "in", SLICES).iterdir())
    with receiving(tmp_path / "spool", tls=context) as (port, spool, _):
        tls = TlsFiles(ca=pem / "ca.pem")
        to = Destination("localhost", port, "TUMORLENS", tls=tls, timeout_s=5)
        with pytest.raises(ServiceError, match="cannot be reached"):
            send_objects(files, to)
        assert stored(spool) == 0


# --- senders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "gets_in"), [("client", True), ("other", False), ("", False)]
)
def test_over_tls_only_clients_of_the_authority_get_in(pem, tmp_path, certificate, gets_in):
    context = server_context(pem / "server.pem", pem / "server.key", pem / "ca.pem")
    own = ssl.create_default_context(cafile=str(pem / "ca.pem"))
    own.check_hostname = False
    if certificate:
        own.load_cert_chain(pem / f"{certificate}.pem", pem / f"{certificate}.key")
    with receiving(tmp_path, tls=context) as (port, _, events):
        association = associate(port, tls=own)
        assert association.is_established == gets_in
        association.abort()
        assert not associate(port).is_established  # without TLS
        wait_until(lambda: "not let in" in events, "it to be in the log")


@contextmanager
def held(port: int, data: bytes, *, count: int):
    """Hold connections on which something was sent, and no more."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        for connection in connections:
            connection.sendall(data)
        yield connections
    finally:
        for connection in connections:
            connection.close()


HALF = b"\x01\x00\x00\x00\x01\x00half"  # of an association request


@pytest.mark.parametrize("uses_tls", [False, True])
def test_connections_that_stay_silent_or_stop_halfway_end_and_others_get_in(
    pem, tmp_path, uses_tls
):
    context = server_context(pem / "server.pem", pem / "server.key", None) if uses_tls else None
    own = ssl.create_default_context(cafile=str(pem / "ca.pem")) if uses_tls else None
    if own is not None:
        own.check_hostname = False
    limits = {"tls": context, "network_s": 1, "max_associations": 4}
    with (
        receiving(tmp_path, **limits) as (port, _, _),
        held(port, b"", count=1),
        held(port, HALF, count=2) as half,
    ):
        association = associate(port, tls=own)
        assert association.is_established
        association.release()
        for connection in half:
            connection.settimeout(WAIT_S)
            with suppress(ConnectionResetError):
                while connection.recv(4096):  # an alert of TLS comes first
                    pass


def test_more_associations_than_are_allowed_are_refused_and_may_come_later(tmp_path):
    with receiving(tmp_path, max_associations=1) as (port, _, events):
        first = associate(port)
        assert associate(port).is_rejected
        first.release()
        wait_until(lambda: associate(port).is_established, "the place to be free")
        assert "rejected" in events


def test_a_refusal_that_is_over_before_it_is_waited_for_is_called_one(tmp_path, monkeypatch):
    request = ACSE.send_request

    def request_and_wait(own: ACSE) -> None:
        request(own)
        wait_until(lambda: not own.assoc.dul.is_alive(), "the other side to hang up")

    monkeypatch.setattr(ACSE, "send_request", request_and_wait)
    with receiving(tmp_path, callers=("CT_1",)) as (port, _, _):
        to = Destination("127.0.0.1", port, "TUMORLENS", calling_title="CT_2")
        with pytest.raises(ServiceError, match="refuses"), associated(to, [ECHO]):
            pass


@pytest.mark.parametrize("kind", [1, 4], ids=["association request", "data"])
def test_a_pdu_that_says_it_has_4_gib_ends_its_connection_at_once(tmp_path, kind):
    with receiving(tmp_path) as (port, _, _):
        head = bytes([kind, 0]) + (2**32 - 1).to_bytes(4, "big")
        with held(port, head, count=1) as (connection,):
            connection.settimeout(WAIT_S)
            with suppress(ConnectionResetError):
                connection.recv(4096)
        assert associate(port).is_established


def test_a_sender_that_goes_silent_in_the_middle_of_a_slice_leaves_nothing(tmp_path):
    with receiving(tmp_path, network_s=1) as (port, spool, _):
        contexts = [(uid.MRImageStorage, uid.ExplicitVRLittleEndian)]
        association = associate(port, contexts=contexts)
        association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00half")
        wait_until(lambda: not association.is_established, "the association to end")
        assert stored(spool) == 0
        assert not any((spool.root / "incoming").iterdir())
        assert associate(port).is_established


def test_slices_that_a_full_disk_refused_are_taken_once_there_is_room(tmp_path, monkeypatch):
    files = sorted(write_series(tmp_path / "in", SLICES).iterdir())
    with receiving(tmp_path / "spool") as (port, spool, events):
        to = Destination("127.0.0.1", port, "TUMORLENS")

        def fail(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(os, "fsync", fail)
            sent = send_objects(files, to)
        assert {one.reason for one in sent} == {"refused with status 0xA700 (no reason given)"}
        assert stored(spool) == 0
        assert events.count("no room") == len(files)
        assert all(one.is_stored for one in send_objects(files, to))
        assert stored(spool) == len(files)
