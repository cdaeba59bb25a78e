"""The SCP: it takes CT and MR images and echoes, and acknowledges what is safe on disk."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorlens.errors import SettingsError, StoreFullError
from tumorlens.images.dicom import READ_SYNTAXES
from tumorlens.images.dicom_header import MODALITY_OF_STORAGE
from tumorlens.services.spool import Spool

if TYPE_CHECKING:
    from pynetdicom.transport import ThreadedAssociationServer

SUCCESS, FULL, NOT_UNDERSTOOD, MISMATCH = 0x0000, 0xA700, 0xC000, 0xA900  # PS3.4 B.2.3
Log = Callable[..., None]


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


def tls_context(certificate: Path, key: Path, clients: Path | None) -> ssl.SSLContext:
    """Return what a server needs for TLS 1.2 or later; with `clients` their certificates are asked.

    Raises SettingsError for files that do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.load_verify_locations(clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as e:
        fix = "Name PEM files: certificate, its key, and the authority of the clients."
        raise SettingsError(certificate, f"cannot be used for TLS ({e})", fix) from e
    return context


def start_receiver(spool: Spool, options: ReceiverOptions, log: Log) -> "ThreadedAssociationServer":
    """Listen; `shutdown()` of what is returned stops. Raises OSError where the port is taken."""
    from pynetdicom import evt
    from pynetdicom.ae import ApplicationEntity

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
    server = entity.start_server(
        (options.host, options.port), block=False, ssl_context=options.tls,
        evt_handlers=[
            (evt.EVT_C_STORE, _store, [spool, log]),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_PDU_RECV, watch.count),
            (evt.EVT_DIMSE_RECV, watch.reset),
            (evt.EVT_CONN_CLOSE, watch.reset),
            (evt.EVT_REJECTED, lambda event: log("rejected", caller=_caller(event))),
        ],
    )  # fmt: skip
    assert server is not None  # it does not block
    return server


def _store(event: Any, spool: Spool, log: Log) -> int:
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
        return FULL
    return SUCCESS


def _caller(event: Any) -> str:
    return str(event.assoc.requestor.ae_title).strip()


class _SizeWatch:
    """Ends an association whose object grows beyond the limit, before it fills the memory."""

    def __init__(self, most: int, log: Log) -> None:
        self._most, self._log = most, log
        self._held: dict[int, int] = {}

    def count(self, event: Any) -> None:
        values = getattr(event.pdu, "presentation_data_value_items", ())
        total = self._held.get(id(event.assoc), 0)
        total += sum(len(item.presentation_data_value) for item in values)
        self._held[id(event.assoc)] = total
        if total > self._most:
            self._log("object too large", caller=_caller(event))
            event.assoc.abort()

    def reset(self, event: Any) -> None:
        self._held.pop(id(event.assoc), None)
