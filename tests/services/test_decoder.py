"""Files are decoded in processes that a file can neither hold up nor bring down."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import fields

import hostile_files
import numpy as np
import pytest
from support.broken_files import BROKEN, HEAD, WHOLE
from support.dicom_files import dicom_bytes, slice_dataset
from support.serving import SCAN

from tumorlens import worker_process
from tumorlens.errors import ImageTooLargeError, MissingExtraError, UnreadableImageError
from tumorlens.inputs.prepare import InputSpec, prepare_bytes
from tumorlens.records import PreparedScan, Unusable
from tumorlens.services import decoder
from tumorlens.services.decoder import Decoders
from tumorlens.settings import ReadLimits

SPEC = InputSpec(side=64)
LIMITS = ReadLimits(max_pixels=16_000_000)
BOMB = hostile_files.jpeg_of_scans(100, side=4000)  # as much as may be asked for


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoders]:
    decoders = Decoders(count=1, limits=LIMITS, seconds=60)
    yield decoders
    decoders.close()


def prepare(decoders: Decoders, data: bytes, pixels: int = 10_000) -> PreparedScan | Unusable:
    return decoders.prepare(data, SPEC, source="x", pixels=pixels)


FILES = {**WHOLE, "dcm": dicom_bytes(slice_dataset(HEAD.astype(np.int16), modality="CT"))}


@pytest.mark.parametrize("name", ["png", "jpg", "tif", "webp", "dcm"])
def test_every_field_of_a_prepared_scan_comes_back(shared: Decoders, name: str):
    found, expected = prepare(shared, FILES[name]), prepare_bytes(FILES[name], SPEC, source="x")
    for field in fields(PreparedScan):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("name", ["empty.png", "text.jpg", "strip.png", "nan.tif", "bomb.png"])
def test_a_refusal_is_the_same_as_in_the_process_itself(shared: Decoders, name: str):
    data, kind = BROKEN[name]
    found, expected = prepare(shared, data), prepare_bytes(data, SPEC, source="x", limits=LIMITS)
    assert isinstance(found, Unusable)
    assert isinstance(expected, Unusable)
    assert type(found.error) is kind
    if name != "bomb.png":  # its cap is what it announced
        assert found.reason == expected.reason


def test_a_file_above_what_it_announced_is_refused(shared: Decoders):
    found = prepare(shared, hostile_files.webp(2000), pixels=64 * 64)
    assert isinstance(found, Unusable)
    assert isinstance(found.error, ImageTooLargeError)


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_read(
    shared: Decoders, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as changed:
        changed.setattr(shared, "_seconds", 0.1)
        found = prepare(shared, BOMB, pixels=LIMITS.max_pixels)
    assert isinstance(found, Unusable)
    assert isinstance(found.error, ImageTooLargeError)
    assert "more than 0.1 s of processor time" in found.reason
    assert isinstance(prepare(shared, SCAN), PreparedScan)


def test_a_file_that_needs_too_much_memory_is_refused_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(decoder, "BYTES_PER_PIXEL", 0)
    decoders = Decoders(count=1, limits=ReadLimits(2**20, 16_000_000), seconds=60)
    try:
        found = prepare(decoders, hostile_files.webp(4000), pixels=16_000_000)
        assert isinstance(found, Unusable)
        assert isinstance(prepare(decoders, SCAN), PreparedScan)
    finally:
        decoders.close()


def end_decoder(decoders: Decoders) -> None:
    child = decoders._all[0]._child
    child.kill()
    child.wait()


def test_a_decoder_that_was_killed_while_idle_is_replaced_before_the_next_file(shared: Decoders):
    prepare(shared, SCAN)
    end_decoder(shared)
    assert isinstance(prepare(shared, SCAN), PreparedScan)


def test_a_decoder_that_keeps_much_memory_after_a_file_is_replaced(
    shared: Decoders, monkeypatch: pytest.MonkeyPatch
):
    prepare(shared, SCAN)
    child = shared._all[0]._child
    with monkeypatch.context() as changed:
        changed.setattr(decoder, "MAX_RESTING_BYTES", 2**20)
        assert isinstance(prepare(shared, SCAN), PreparedScan)
    assert child.returncode is not None
    assert isinstance(prepare(shared, SCAN), PreparedScan)


def test_a_file_that_brings_its_decoder_down_is_unreadable_and_the_next_one_is_read(
    shared: Decoders, monkeypatch: pytest.MonkeyPatch
):
    def crash(stream: object) -> None:
        end_decoder(shared)
        raise EOFError

    with monkeypatch.context() as changed:
        changed.setattr(worker_process, "receive", crash)
        found = prepare(shared, SCAN)
    assert isinstance(found, Unusable)
    assert isinstance(found.error, UnreadableImageError)
    assert isinstance(prepare(shared, SCAN), PreparedScan)


def test_closing_ends_a_decoder_in_the_middle_of_a_file():
    own = Decoders(count=1, limits=LIMITS, seconds=60)
    prepare(own, SCAN)
    found: list[object] = []
    started = threading.Event()

    def ask() -> None:
        started.set()
        found.append(prepare(own, BOMB, pixels=LIMITS.max_pixels))

    thread = threading.Thread(target=ask)
    thread.start()
    started.wait()
    child, begun = own._all[0]._child, time.monotonic()
    own.close()
    thread.join(10)
    assert isinstance(found[0], Unusable)
    assert child.returncode is not None
    assert time.monotonic() - begun < 5


def test_a_decoder_does_not_know_where_the_store_is(
    monkeypatch: pytest.MonkeyPatch, shared: Decoders
):
    monkeypatch.setenv("TUMORLENS_STORE", "postgresql://user:secret@host/name")
    end_decoder(shared)
    assert isinstance(prepare(shared, SCAN), PreparedScan)
    with open(f"/proc/{shared._all[0]._child.pid}/environ", "rb") as file:
        assert b"secret" not in file.read()


def test_a_missing_extra_is_raised_as_such():
    head = {"error": "MissingExtraError", "subject": "a", "fact": "b", "fix": "c"}
    with pytest.raises(MissingExtraError):
        decoder._read_answer(head, b"")


@pytest.mark.parametrize("name", ["SystemExit", "os", "TumorlensError.__init__", ""])
def test_an_answer_that_names_no_error_of_this_package_is_a_failure(name: str):
    with pytest.raises(RuntimeError):
        decoder._read_answer({"error": name, "subject": "", "fact": "", "fix": ""}, b"")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of POSIX")
def test_a_decoder_is_bounded_by_the_kernel(shared: Decoders):
    prepare(shared, SCAN)
    with open(f"/proc/{shared._all[0]._child.pid}/limits", encoding="ascii") as file:
        rows = {line[:26].strip(): line[26:].split()[0] for line in file}
    assert rows["Max file size"] == "0"
    assert int(rows["Max data size"]) < 800 * 2**20
