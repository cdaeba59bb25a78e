"""The SCP: it takes CT and MR images and echoes, and acknowledges what is safe on disk."""

import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tumorlens.errors import ServiceError, StoreFullError
from tumorlens.images.dicom import READ_SYNTAXES
from tumorlens.images.dicom_header import MODALITY_OF_STORAGE
from tumorlens.services.node.metrics import Log, NodeMetrics
from tumorlens.services.spool import MISMATCH, NO_ROOM, NOT_UNDERSTOOD, Spool

if TYPE_CHECKING:
    from tumorlens.services.node.guarded_server import GuardedServer

SUCCESS = 0x0000
_OUTCOMES = {SUCCESS: "stored", NO_ROOM: "no room", MISMATCH: "mismatch",
             NOT_UNDERSTOOD: "not understood"}  # fmt: skip


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
    from pynetdicom import evt
    from pynetdicom.ae import ApplicationEntity

    from tumorlens.services.node.guarded_server import start_server

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
