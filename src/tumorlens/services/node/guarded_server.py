"""Pynetdicom's server, with limits where it has none.

By itself it shakes hands of TLS in the thread that accepts connections, so that one client that
stays silent holds up all; and it reads a PDU for as long as its sender likes, of any length that
the sender names.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.association import Association
    from pynetdicom.events import EventHandlerType

MAX_PDU_BYTES = 2**20  # of any kind; those of data are shorter, as was agreed
CHUNK_BYTES = 2**16
MAX_CONNECTIONS = 4  # by association that is allowed: others wait for an answer, or are refused


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
        most = MAX_CONNECTIONS * self.ae.maximum_associations
        return len(self.active_associations) + self._greeting < most

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
    entity: "ApplicationEntity",
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
