"""A study is fetched from a PACS: by C-FIND and C-GET, or by QIDO-RS and WADO-RS.

The PACS first lists the slices of CT and MR. What lies in the folder already is not asked for
again, so a pull that was cut off goes on where it was. By C-MOVE, the PACS sends to a node instead.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorlens.errors import CasesError, ImageError, ServiceError
from tumorlens.files import write_file
from tumorlens.images.dicom import READ_SYNTAXES
from tumorlens.images.dicom_header import MODALITY_OF_STORAGE, parsing
from tumorlens.images.series import anonymous_series_name
from tumorlens.json_records import JsonObject
from tumorlens.progress import Progress, silent
from tumorlens.services.node.send import Destination, associated, web_client
from tumorlens.services.spool import MISMATCH, NO_ROOM, NOT_UNDERSTOOD, hashed

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient
    from pydicom import Dataset
    from pynetdicom.association import Association

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{kind}" for kind in (1, 2, 3))  # by study
AT_ONCE = 64  # slices that are asked for in one request
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)


@dataclass(frozen=True)
class Instance:
    """A slice that a PACS has."""

    study: str
    series: str
    instance: str
    storage: str  # its SOP class

    def path(self, folder: Path) -> Path:
        """Return where it is kept, under names that are hashes."""
        return folder / anonymous_series_name(self.series) / f"{hashed(self.instance)}.dcm"


@dataclass
class Pulled:
    """What became of a study."""

    there: int = 0  # in the folder before, and not asked for
    others: int = 0  # objects of other kinds, which are not asked for
    received: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # by instance, with the reason

    @property
    def asked(self) -> int:
        """How many were asked for: those received, and those refused."""
        return self.received + len(self.refused)


Keep = Callable[[Instance, str], None]  # takes a slice, and why it was not received, or ""


def pull_study(
    study: str,
    source: Destination,
    folder: Path,
    *,
    series: Sequence[str] = (),
    progress: Progress = silent,
) -> Pulled:
    """Fetch the CT and MR slices of a study, or of some of its series, that are not there yet.

    Raises CasesError where the PACS has no such study, ServiceError where it does not answer.
    """
    link = _Web(source) if source.url else _Dimse(source)
    wanted, others = _listed(link, study, series)
    missing = [one for one in wanted if not one.path(folder).exists()]
    result = Pulled(there=len(wanted) - len(missing), others=others)
    if missing:
        link.fetch(missing, folder, _counter(result, len(missing), progress))
    return result


def move_study(
    study: str,
    source: Destination,
    node: str,
    *,
    series: Sequence[str] = (),
    progress: Progress = silent,
) -> Pulled:
    """Have a PACS send the CT and MR slices of a study to a node that it knows by its title.

    Slices that the node has are sent again, and are not doubled there. Raises as `pull_study`.
    """
    if source.url:
        raise ServiceError(str(source), "cannot be asked to move", "Name AE@HOST:PORT.")
    link = _Dimse(source)
    wanted, others = _listed(link, study, series)
    result = Pulled(others=others)
    if wanted:
        link.move(wanted, node, _counter(result, len(wanted), progress))
    return result


def _listed(link: "_Dimse | _Web", study: str, series: Sequence[str]) -> tuple[list[Instance], int]:
    """Return the slices of CT and MR, and how many objects of other kinds there are."""
    found = link.find(study, series)
    if not found:
        fact = f"has no {'such series of the ' if series else ''}study {study}"
        raise CasesError(str(link.source), fact, "Check the UID, and that we may query there.")
    wanted = [one for one in found if one.storage in MODALITY_OF_STORAGE]
    return wanted, len(found) - len(wanted)


def _counter(result: Pulled, total: int, progress: Progress) -> Keep:
    def keep(one: Instance, reason: str) -> None:
        if reason:
            result.refused[one.instance] = reason
        else:
            result.received += 1
        progress(result.asked, total)

    return keep


@dataclass(frozen=True)
class _Dimse:
    """C-FIND, C-GET and C-MOVE."""

    source: Destination

    def find(self, study: str, series: Sequence[str]) -> list[Instance]:
        with self._associated([FIND]) as link:
            rows = self._found(link, _query("SERIES", study, ""))
            names = [str(row.SeriesInstanceUID) for row in rows]
            return [
                Instance(study, name, str(row.SOPInstanceUID), str(row.get("SOPClassUID") or ""))
                for name in names
                if not series or name in series
                for row in self._found(link, _query("IMAGE", study, name, SOPInstanceUID=""))
            ]

    def _found(self, link: "Association", query: "Dataset") -> "list[Dataset]":
        rows = []
        for status, row in link.send_c_find(query, FIND):
            if status.get("Status") in PENDING and row is not None:
                rows.append(row)
            elif reason := _why_not(status):
                raise ServiceError(str(self.source), f"answers no query: {reason}", "See its log.")
        return rows

    def fetch(self, wanted: Sequence[Instance], folder: Path, keep: Keep) -> None:
        """Ask for some slices at a time, and for those that did not come one by one.

        A PACS may refuse all for one that it does not have.
        """
        from pynetdicom import evt
        from pynetdicom.presentation import build_role

        by_id, reasons = {one.instance: one for one in wanted}, dict[str, str]()
        classes = sorted({one.storage for one in wanted})
        handler = (evt.EVT_C_STORE, _receive, [by_id, folder, reasons])
        roles = [build_role(storage, scp_role=True) for storage in classes]
        with self._associated([GET], classes, ext_neg=roles, evt_handlers=[handler]) as link:
            for chunk in _chunks(wanted):
                _outcome(link, "send_c_get", _chosen(chunk), GET)
                for one in chunk:
                    path, failure = one.path(folder), ""
                    if not path.exists() and one.instance not in reasons:
                        _, failure = _outcome(link, "send_c_get", _chosen([one]), GET)
                    keep(one, "" if path.exists() else reasons.get(one.instance, failure))

    def move(self, wanted: Sequence[Instance], node: str, keep: Keep) -> None:
        with self._associated([MOVE]) as link:
            for chunk in _chunks(wanted):
                stored, _ = _outcome(link, "send_c_move", _chosen(chunk), node, MOVE)
                for one in chunk:
                    failure = ""
                    if stored < len(chunk):  # which of them failed is not always said
                        is_kept, failure = _outcome(link, "send_c_move", _chosen([one]), node, MOVE)
                        failure = "" if is_kept else failure
                    keep(one, failure)

    def _associated(
        self, models: Sequence[str], storages: Sequence[str] = (), **options: Any
    ) -> "AbstractContextManager[Association]":
        """Open an association; each transfer syntax of a storage class is a context of its own.

        So the PACS can send each slice as it has it.
        """
        from pynetdicom.presentation import build_context

        contexts = [build_context(model) for model in models]
        contexts += [build_context(storage, syn) for storage in storages for syn in READ_SYNTAXES]
        return associated(self.source, contexts, **options)


def _receive(event: Any, wanted: dict[str, Instance], folder: Path, reasons: dict[str, str]) -> int:
    """Keep a slice that was asked for; any other is refused."""
    one = wanted.get(str(event.request.AffectedSOPInstanceUID))
    if one is None:
        return MISMATCH
    try:
        with parsing(one.instance):
            found = str(event.dataset.get("SOPInstanceUID"))
    except ImageError as error:
        reasons[one.instance] = error.fact
        return NOT_UNDERSTOOD
    if found != one.instance:
        reasons[one.instance] = "came under the id of another"
        return MISMATCH
    try:
        write_file(one.path(folder), event.encoded_dataset())
    except OSError as error:
        reasons[one.instance] = f"cannot be written ({error.strerror})"
        return NO_ROOM
    return SUCCESS


def _query(level: str, study: str, series: str = "", **keys: object) -> "Dataset":
    from pydicom import Dataset

    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = level, study
    query.SeriesInstanceUID = series
    if level == "IMAGE":
        query.SOPClassUID = ""
    for name, value in keys.items():
        setattr(query, name, value)
    return query


def _chosen(chunk: Sequence[Instance]) -> "Dataset":
    """Return the query that names some slices of one series."""
    query = _query("IMAGE", chunk[0].study, chunk[0].series)
    del query.SOPClassUID  # to retrieve, only unique keys are named (PS3.4 C.4.2.1.4)
    query.SOPInstanceUID = [one.instance for one in chunk]
    return query


def _chunks(wanted: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Yield slices some at a time, never of two series."""
    for _, group in groupby(wanted, lambda one: one.series):
        rows = list(group)
        for start in range(0, len(rows), AT_ONCE):
            yield rows[start : start + AT_ONCE]


def _outcome(link: "Association", verb: str, *words: object) -> tuple[int, str]:
    """Ask for slices; return how many were stored, and why others were not."""
    stored, reason = 0, ""
    try:
        for status, _ in getattr(link, verb)(*words):
            counts = (
                status.get(f"NumberOf{kind}Suboperations") for kind in ("Completed", "Warning")
            )
            stored = max(stored, sum(int(count or 0) for count in counts))
            reason = _why_not(status) or reason
    except (RuntimeError, ValueError) as e:  # the other side is gone, or takes no such request
        reason = str(e).splitlines()[0]
    return stored, reason or "the other side did not send it"


def _why_not(status: "Dataset") -> str:
    """Return what a status says went wrong; "" where nothing did."""
    if "Status" not in status:
        return "no answer: the connection was lost, or it took too long"
    code = int(status.Status)
    if code in (SUCCESS, *PENDING):
        return ""
    comment = status.get("ErrorComment") or "no reason given"
    return f"status 0x{code:04X} ({comment})"


@dataclass(frozen=True)
class _Web:
    """QIDO-RS and WADO-RS."""

    source: Destination

    def find(self, study: str, series: Sequence[str]) -> list[Instance]:
        import requests

        try:
            rows = self._client().search_for_instances(study, get_remaining=True)
        except requests.HTTPError as e:
            fact = f"answers no query: HTTP status {_status(e)}"
            raise ServiceError(str(self.source), fact, "Check the address and the login.") from e
        except requests.RequestException as e:
            fact = f"cannot be reached ({type(e).__name__})"
            fix = "Check the address, and that it is running."
            raise ServiceError(str(self.source), fact, fix) from e
        tags = ("0020000E", "00080018", "00080016")  # series, instance, class
        found = (Instance(study, *(_first(row, tag) for tag in tags)) for row in rows)
        return [one for one in found if not series or one.series in series]

    def fetch(self, wanted: Sequence[Instance], folder: Path, keep: Keep) -> None:
        client = self._client()
        for one in wanted:
            keep(one, self._fetch_one(client, one, folder))

    def _fetch_one(self, client: "DICOMwebClient", one: Instance, folder: Path) -> str:
        """Keep one slice; return why it was not received, or ""."""
        import requests

        kinds = (("application/dicom", "*"),)
        buffer = io.BytesIO()
        try:
            found = client.retrieve_instance(one.study, one.series, one.instance, kinds)
            with parsing(one.instance):
                instance = str(found.get("SOPInstanceUID"))
                found.save_as(buffer, enforce_file_format=True)
            if instance != one.instance:
                return "came under the id of another"
            write_file(one.path(folder), buffer.getvalue())
        except requests.HTTPError as e:
            return f"refused with HTTP status {_status(e)}"
        except requests.RequestException as e:
            return f"no answer ({type(e).__name__})"
        except OSError as e:
            return f"cannot be written ({e.strerror})"
        except ImageError as e:
            return e.fact
        return ""

    def _client(self) -> "DICOMwebClient":
        return web_client(self.source)


def _status(error: Any) -> object:
    return error.response.status_code if error.response is not None else "unknown"


def _first(row: JsonObject, tag: str) -> str:
    return str((row.get(tag, {}).get("Value") or [""])[0])
