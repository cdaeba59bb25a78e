"""DICOM objects go to a PACS: by C-STORE, or by STOW-RS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tumorlens.errors import ServiceError, SettingsError
from tumorlens.progress import Progress, silent
from tumorlens.services.node.tls import TlsFiles

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient
    from pydicom import Dataset
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

MAX_TITLE = 16  # characters of an application entity's title
_FORMS = "Name AE@HOST:PORT, or the address of a DICOMweb service: https://HOST/dicom-web."
_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark (PS3.4 B.2.3)


@dataclass(frozen=True)
class Destination:
    """An application entity, or the URL of a DICOMweb service, and how it is called."""

    host: str = ""
    port: int = 0
    title: str = ""
    url: str = ""
    login: tuple[str, str] | None = None  # of the DICOMweb service
    tls: TlsFiles | None = None  # None: none towards an entity, the system's towards https
    calling_title: str = "TUMORLENS"  # our own, towards an entity
    timeout_s: float = 30.0

    def __str__(self) -> str:
        """Return it without its password."""
        return self.url or f"{self.title}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Sent:
    """What became of one object."""

    instance: str  # its SOP Instance UID
    reason: str = ""  # why it was not stored; empty: it was

    @property
    def is_stored(self) -> bool:
        """Whether the receiver said that it keeps it."""
        return not self.reason


def parse_destination(text: str) -> Destination:
    """Read `AE@HOST:PORT` or a URL, which may hold `user:password@`; raises SettingsError."""
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        address = parts.netloc.rpartition("@")[2]
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        return Destination(
            url=urlunsplit((parts.scheme, address, parts.path.rstrip("/"), "", "")), login=login
        )
    title, _, address = text.partition("@")
    host, _, port = address.rpartition(":")
    if not (0 < len(title.strip()) <= MAX_TITLE and host and port.isdecimal()):
        raise SettingsError(text, "is no destination", _FORMS)
    if not 0 < int(port) < 2**16:
        raise SettingsError(text, f"has no port {port}", "Ports are 1 to 65535.")
    return Destination(host.strip("[]"), int(port), title.strip())


def send_objects(
    objects: "Sequence[Dataset | Path]",
    to: Destination,
    *,
    progress: Progress = silent,
) -> list[Sent]:
    """Send data sets or files; return for each whether the receiver keeps it.

    Files are read one after the other. Raises ServiceError where nobody answers, or where the
    receiver refuses to talk at all.
    """
    if not objects:
        return []
    sent = []
    for result in _stow(objects, to) if to.url else _store(objects, to):
        sent.append(result)
        progress(len(sent), len(objects))
    return sent


def _store(objects: "Sequence[Dataset | Path]", to: Destination) -> Iterator[Sent]:
    from pynetdicom.presentation import build_context

    wanted = [build_context(*context) for context in dict.fromkeys(_contexts(objects))]
    with associated(to, wanted) as association:
        for item in objects:
            yield _store_one(association, _dataset(item))


@contextmanager
def associated(
    to: Destination, contexts: "Sequence[PresentationContext]", **options: Any
) -> "Iterator[Association]":
    """Open an association; raises ServiceError where nobody answers, or where it is refused.

    `options` are those of pynetdicom's `associate`.
    """
    from pynetdicom.ae import ApplicationEntity

    entity = ApplicationEntity(ae_title=to.calling_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = to.timeout_s
    entity.connection_timeout = to.timeout_s
    tls = (to.tls.context(), to.host) if to.tls else None
    association = associate(
        entity, to.host, to.port,
        contexts=list(contexts), ae_title=to.title, tls_args=tls, **options,
    )  # fmt: skip
    if not association.is_established:
        is_refused = association.is_rejected
        fact = "refuses the association" if is_refused else "cannot be reached, or does not answer"
        fix = "Check the titles of both sides." if is_refused else "Check host, port and TLS."
        raise ServiceError(str(to), fact, fix)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def associate(entity: "ApplicationEntity", host: str, port: int, **options: Any) -> "Association":
    """Ask for an association, and know of a refusal that comes at once.

    pynetdicom's own `associate` takes it for no connection, now and then; `options` are its own.
    """
    from pynetdicom import evt

    received: set[str] = set()
    watch = (evt.EVT_PDU_RECV, lambda event: received.add(type(event.pdu).__name__))
    handlers = [*options.pop("evt_handlers", ()), watch]
    association = entity.associate(host, port, evt_handlers=handlers, **options)
    association.is_rejected |= "A_ASSOCIATE_RJ" in received
    return association


def _contexts(objects: "Sequence[Dataset | Path]") -> Iterator[tuple[str, str]]:
    for item in objects:
        meta = _dataset(item, header_only=True).file_meta
        yield str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _store_one(association: "Association", dataset: "Dataset") -> Sent:
    instance = str(dataset.SOPInstanceUID)
    try:
        status = association.send_c_store(dataset)
    except (ValueError, RuntimeError) as e:  # no context was accepted, or the other side is gone
        return Sent(instance, str(e).splitlines()[0])
    if "Status" not in status:
        return Sent(instance, "no answer: the connection was lost, or it took too long")
    code = int(status.Status)
    if code == 0 or code in _WARNINGS:
        return Sent(instance)
    comment = status.get("ErrorComment") or "no reason given"
    return Sent(instance, f"refused with status 0x{code:04X} ({comment})")


def _stow(objects: "Sequence[Dataset | Path]", to: Destination) -> Iterator[Sent]:
    import requests

    client = web_client(to)
    for item in objects:
        dataset = _dataset(item)
        try:
            yield _stowed(str(dataset.SOPInstanceUID), client.store_instances([dataset]))
        except requests.HTTPError as e:
            status = e.response.status_code if e.response is not None else "an error"
            yield Sent(str(dataset.SOPInstanceUID), f"refused with HTTP status {status}")
        except requests.RequestException as e:
            fact = f"cannot be reached ({type(e).__name__})"
            raise ServiceError(str(to), fact, "Check the address, and that it is running.") from e


def web_client(to: Destination) -> "DICOMwebClient":
    """Return a client of a DICOMweb service, with its login and TLS files."""
    import requests
    from dicomweb_client.session_utils import create_session_from_user_pass
    from dicomweb_client.web import DICOMwebClient

    session = create_session_from_user_pass(*to.login) if to.login else requests.Session()
    if to.tls is not None:
        session.verify = str(to.tls.ca) if to.tls.ca else True
        if to.tls.certificate and to.tls.key:
            session.cert = (str(to.tls.certificate), str(to.tls.key))
    client = DICOMwebClient(to.url, session=session)
    client.set_http_retry_params(retry=False)
    client._http_timeout = to.timeout_s  # type: ignore[attr-defined]
    return client


def _stowed(instance: str, answer: "Dataset") -> Sent:
    """Read what a service says it stored: a status of 200 alone is no proof."""
    stored = {str(i.ReferencedSOPInstanceUID) for i in answer.get("ReferencedSOPSequence") or []}
    failed = {
        str(i.ReferencedSOPInstanceUID): int(i.get("FailureReason") or 0)
        for i in answer.get("FailedSOPSequence") or []
    }
    if instance in stored:
        return Sent(instance)
    if instance in failed:
        return Sent(instance, f"refused with reason 0x{failed[instance]:04X}")
    return Sent(instance, "the service does not say that it stored it")


def _dataset(item: "Dataset | Path", *, header_only: bool = False) -> "Dataset":
    """Return a data set with its file meta information; raises ServiceError for another file."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not isinstance(item, Path):
        return item
    try:
        return dcmread(item, specific_tags=["SOPInstanceUID"] if header_only else None)
    except (InvalidDicomError, EOFError) as e:
        raise ServiceError(item, "is no DICOM file", "Name DICOM files, or folders of them.") from e
