"""The SCP: it takes CT and MR images and echoes, and acknowledges what is safe on disk.

The server is pynetdicom's, with limits where it has none. By itself it shakes hands of TLS in the
thread that accepts connections, so that one client that stays silent holds up all; and it reads a
PDU for as long as its sender likes, of any length that the sender names.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from tumorlens.errors import ServiceError, StoreFullError
from tumorlens.images.dicom import READ_SYNTAXES
from tumorlens.images.dicom_header import MODALITY_OF_STORAGE
from tumorlens.services.node.metrics import Log, NodeMetrics
from tumorlens.services.spool import MISMATCH, NO_ROOM, NOT_UNDERSTOOD, Spool

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import EventHandlerType

SUCCESS = 0x0000
_OUTCOMES = {SUCCESS: "stored", NO_ROOM: "no room", MISMATCH: "mismatch",
             NOT_UNDERSTOOD: "not understood"}  # fmt: skip
MAX_PDU_BYTES = 2**20  # of any kind; those of data are shorter, as was agreed
CHUNK_BYTES = 2**16
MAX_CONNECTIONS = 4  # by association that is allowed: others wait for an answer, or are refused


@dataclass(frozen=True)
class ReceiverOptions:
    """Who may send what, and how much at once."""

    title: str = "TUMORLENS"
    host: str = "127.0.0.1"
    port: int = 11112
    callers: tuple[str, ...] = ()  # titles that may send; empty: any
    is_title_required: bool = True  # a sender must name this node's own title
    max_associations: int = 10
    max_pdu: int = 2**17  # bytes
    max_object: int = 512 * 2**20  # bytes
    network_s: float = 30.0  # without a byte, after which an association ends
    tls: ssl.SSLContext | None = None


def start_receiver(
    spool: Spool, options: ReceiverOptions, log: Log, *, metrics: NodeMetrics | None = None
) -> "GuardedServer":
    """Listen; `shutdown()` of what is returned stops. Raises ServiceError where a port is taken."""
    entity = ApplicationEntity(ae_title=options.title)
    entity.maximum_associations = options.max_associations
    entity.maximum_pdu_size = options.max_pdu
    entity.require_calling_aet = list(options.callers)
    entity.require_called_aet = options.is_title_required
    entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = options.network_s
    entity.add_supported_context("1.2.840.10008.1.1")  # Verification
    for storage in MODALITY_OF_STORAGE:
        entity.add_supported_context(storage, list(READ_SYNTAXES))
    watch = _SizeWatch(options.max_object, log)
    handlers = [
        (evt.EVT_C_STORE, _store, [spool, log, metrics or NodeMetrics()]),
        (evt.EVT_C_ECHO, lambda _: SUCCESS),
        (evt.EVT_PDU_RECV, watch.count),
        (evt.EVT_DIMSE_RECV, watch.reset),
        (evt.EVT_CONN_CLOSE, watch.reset),
        (evt.EVT_REJECTED, lambda event: log("rejected", caller=_caller(event))),
    ]
    try:
        return start_server(
            entity, (options.host, options.port), context=options.tls, handlers=handlers,
            on_failure=lambda kind: log("not let in", error=kind),
        )  # fmt: skip
    except OSError as e:
        fact = f"cannot be listened on ({e.strerror})"
        raise ServiceError(f"{options.host}:{options.port}", fact, "Name another --port.") from e


def _store(event: Any, spool: Spool, log: Log, metrics: NodeMetrics) -> int:
    started = time.perf_counter()
    status = _keep(event, spool, log)
    metrics.count_instance(_OUTCOMES[status], time.perf_counter() - started)
    return status


def _keep(event: Any, spool: Spool, log: Log) -> int:
    """Keep one object and answer for it; a failure leaves it to the sender."""
    caller = _caller(event)
    try:
        dataset = event.dataset
        instance, series = str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)
        study = str(dataset.get("StudyInstanceUID") or "")
    except Exception as error:  # noqa: BLE001 (the edge: whatever a sender makes the parser raise)
        log("not understood", caller=caller, error=type(error).__name__)
        return NOT_UNDERSTOOD
    if instance != event.request.AffectedSOPInstanceUID:
        return MISMATCH
    try:
        spool.add(
            event.encoded_dataset(), caller=caller, series=f"{study}\0{series}", instance=instance
        )
    except (StoreFullError, OSError) as error:
        log("no room", caller=caller, error=str(error))
        return NO_ROOM
    return SUCCESS


def _caller(event: Any) -> str:
    return str(event.assoc.requestor.ae_title).strip()


class _SizeWatch:
    """Ends an association whose object grows beyond the limit, before it fills the memory."""

    def __init__(self, max_bytes: int, log: Log) -> None:
        self._max_bytes, self._log = max_bytes, log
        self._held: dict[int, int] = {}

    def count(self, event: Any) -> None:
        values = getattr(event.pdu, "presentation_data_value_items", ())
        total = self._held.get(id(event.assoc), 0)
        total += sum(len(item.presentation_data_value) for item in values)
        self._held[id(event.assoc)] = total
        if total > self._max_bytes:
            self._log("object too large", caller=_caller(event))
            event.assoc.abort()

    def reset(self, event: Any) -> None:
        self._held.pop(id(event.assoc), None)


class GuardedSocket(AssociationSocket):
    """A connection on which a PDU is neither longer, nor longer on its way, than it may be."""

    def __init__(self, association: "Association", client: socket.socket, seconds: float) -> None:
        super().__init__(association, client_socket=client)
        self._seconds = seconds

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, or fewer where the other side hangs up; raises OSError."""
        if nr_bytes > MAX_PDU_BYTES:
            raise OSError(f"a PDU of {nr_bytes:,} bytes is too long")
        connection, data = self.socket, bytearray()
        assert connection is not None
        deadline = time.monotonic() + self._seconds
        try:
            while len(data) < nr_bytes:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                piece = connection.recv(min(CHUNK_BYTES, nr_bytes - len(data)))
                if not piece:
                    break
                data += piece
        finally:
            connection.settimeout(self._seconds)
        return data


class _Handler(RequestHandler):
    def _create_association(self) -> "Association":
        association = super()._create_association()
        seconds = self.ae.network_timeout or 0.0
        association.dul.event_queue.get_nowait()  # each socket says once that it is there
        association.dul.socket = GuardedSocket(association, self.request, seconds)
        return association


class GuardedServer(ThreadedAssociationServer):
    """A server that shakes hands in the thread of each connection, and within a time."""

    daemon_threads = True
    on_failure: Callable[[str], None] = staticmethod(lambda _: None)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named, request_handler=_Handler)
        self._greeting, self._lock = 0, threading.Lock()  # connections that are shaking hands

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection, and leave everything else to its thread."""
        assert self.socket is not None
        client, address = self.socket.accept()
        client.settimeout(self.ae.network_timeout)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there are not too many connections that wait."""
        maximum = MAX_CONNECTIONS * self.ae.maximum_associations
        return len(self.active_associations) + self._greeting < maximum

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands where TLS is asked for, then start the association."""
        if self.ssl_context is not None:
            request = self._greeted(request, self.ssl_context)
        super().finish_request(request, client_address)

    def _greeted(self, request: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        with self._lock:
            self._greeting += 1
        try:
            return context.wrap_socket(request, server_side=True)
        finally:
            with self._lock:
                self._greeting -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed, without the traceback that the standard library prints."""
        self.on_failure(type(sys.exception()).__name__)


def start_server(
    entity: ApplicationEntity,
    address: tuple[str, int],
    *,
    context: ssl.SSLContext | None,
    handlers: "list[EventHandlerType]",
    on_failure: Callable[[str], None],
) -> GuardedServer:
    """Serve an entity in threads until `shutdown`; `on_failure` is told the kind of an error.

    Raises OSError where the port is taken.
    """
    made = entity.make_server(
        address, ssl_context=context, evt_handlers=handlers, server_class=GuardedServer
    )
    assert isinstance(made, GuardedServer)
    made.on_failure = on_failure
    entity._servers.append(made)  # as `start_server` of pynetdicom does
    threading.Thread(target=made.serve_forever, name="AcceptorServer", daemon=True).start()
    return made
