"""DICOM by HTTP: series into the spool of a node (STOW-RS), or objects back at once.

Only there where a spool is set (TUMORLENS_SPOOL). The answer to STOW-RS says of each instance
whether it is safe on disk (PS3.18 10.5).
"""

import io
import secrets
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tumorlens.errors import ImageError, StoreFullError, UnreadableImageError
from tumorlens.images.dicom import READ_SYNTAXES
from tumorlens.images.dicom_header import attribute, modality, parse, parsing
from tumorlens.services.answer_process import hash_slices, save_answers
from tumorlens.services.http.documents import json_response
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.spool import (
    MISMATCH,
    NO_ROOM,
    NOT_UNDERSTOOD,
    OBJECTS,
    SLICES,
    UNSUPPORTED,
    Spool,
)

MEDIA_TYPE, RELATED = "application/dicom+json", "multipart/related"
STORED: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {}}}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {RELATED: _BINARY}}}
MAX_BOUNDARY = 200  # characters
router = APIRouter(tags=["predict"])
StudyId = Annotated[str, InPath(max_length=64, pattern=r"^[0-9.]+$")]


@dataclass(frozen=True)
class _Stored:
    """What became of one part; `failure` 0: it is on disk."""

    storage: str
    instance: str
    failure: int = 0


@router.post("/dicom-web/studies", responses=STORED, openapi_extra=BODY)
async def store(request: Request) -> Response:
    """Store slices of CT or MR (multipart/related, application/dicom) for the DICOM node."""
    return await _stored(request, None)


@router.post("/dicom-web/studies/{study}", responses=STORED, openapi_extra=BODY)
async def store_of_study(request: Request, study: StudyId) -> Response:
    """Store slices of one study; those of another are refused."""
    return await _stored(request, study)


@router.post("/v1/series/objects", responses={200: {"content": {RELATED: {}}}}, openapi_extra=BODY)
async def objects(request: Request) -> Response:
    """Answer series of CT or MR, and return their DICOM objects in the same form.

    What comes back can be sent to a PACS by STOW-RS as it is. The answers are kept in the store.
    """
    service, caller = service_of(request), caller_of(request, "predict")
    body, kind = request.scope["state"].get("body", b""), request.headers.get("content-type", "")

    def answer() -> list[bytes]:
        parts = read_related(bytes(body), kind, max_parts=service.settings.max_files)
        return _objects(service, parts, owner=caller.id)

    with service.pool.slot(caller.id):
        found = await service.pool.run(answer, owner=caller.id, large=True)
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    content = b"".join(head + data + b"\r\n" for data in found) + f"--{boundary}--\r\n".encode()
    media_type = f'{RELATED}; type="application/dicom"; boundary={boundary}'
    return Response(content, media_type=media_type)


def _objects(service: Service, parts: list[bytes], *, owner: str) -> list[bytes]:
    """Return the objects of the series that some slices make; raises Refusal where there are none.

    The slices lie in a private folder meanwhile.
    """
    assert service.series is not None  # as the spool is set
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as name:
        folder = Path(name)
        (folder / SLICES).mkdir()
        for number, data in enumerate(parts):
            (folder / SLICES / f"{number:04}.dcm").write_bytes(data)
        answers = service.series.answer(folder)
        digests = hash_slices(folder)
        save_answers(service.store, answers, digests, owner=owner, source="http",
                     keep=service.settings.keep_images)  # fmt: skip
        made = [path.read_bytes() for path in sorted((folder / OBJECTS).glob("*.dcm"))]
    for prediction in answers.predictions:
        service.metrics.count_prediction(prediction, {})
    if not made:
        reasons = {one.reason for one in answers.series if one.reason}
        errors = {one.error for one in answers.predictions if one.error and not one.series}
        fact = "; ".join(sorted(f"A series {reason}." for reason in reasons) + sorted(errors)[:9])
        raise Refusal("unusable-scan", fact or "No slice could be judged.")
    return made


async def _stored(request: Request, study: str | None) -> Response:
    service, caller = service_of(request), caller_of(request, "predict")
    body, kind = request.scope["state"].get("body", b""), request.headers.get("content-type", "")

    def keep() -> list[_Stored]:
        spool = _spool(service.settings.spool, service.settings.spool_mib * 2**20)
        parts = read_related(bytes(body), kind, max_parts=service.settings.max_files)
        return [_keep(data, spool, caller=f"web {caller.id}", study=study) for data in parts]

    with service.pool.slot(caller.id):
        found = await service.pool.run(keep, owner=caller.id, large=True)
    return _response(found)


@lru_cache(maxsize=1)
def _spool(root: str, max_bytes: int) -> Spool:
    """Return the spool of this process, which counts now and then what it holds."""
    return Spool(Path(root), max_bytes=max_bytes)


def read_related(body: bytes, content_type: str, *, max_parts: int) -> list[bytes]:
    """Return the parts of a multipart/related body of DICOM files; raises Refusal."""
    kind, options = parse_options_header(content_type)
    boundary, inner = options.get(b"boundary", b""), options.get(b"type", b"application/dicom")
    if kind != b"multipart/related" or inner != b"application/dicom":
        raise Refusal("wrong-media-type", "Send multipart/related of application/dicom.")
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise Refusal("bad-form", f"The boundary has to have 1 to {MAX_BOUNDARY} characters.")
    parts: list[bytearray] = []
    ended: list[bool] = []

    def begin() -> None:
        if len(parts) == max_parts:
            raise Refusal("too-many-parts", f"{max_parts} instances are taken at once.")
        parts.append(bytearray())

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
            "on_end": lambda: ended.append(True),
        },
    )
    try:
        parser.write(body)
    except FormParserError as error:
        raise Refusal("bad-form", "Its parts are not delimited as announced.") from error
    if not ended or not parts:
        raise Refusal("bad-form", "The form ends before its last boundary, or has no part.")
    return [bytes(part) for part in parts]


def _keep(data: bytes, spool: Spool, *, caller: str, study: str | None) -> _Stored:
    """Put one instance on disk; only its header is parsed here."""
    try:
        storage, instance, own, series = _header(data)
    except ImageError:
        return _Stored("", "", NOT_UNDERSTOOD)
    if study is not None and own != study:
        return _Stored(storage, instance, MISMATCH)
    if not series:
        return _Stored(storage, instance, UNSUPPORTED)
    try:
        spool.add(data, caller=caller, series=f"{own}\0{series}", instance=instance)
    except (StoreFullError, OSError):
        return _Stored(storage, instance, NO_ROOM)
    return _Stored(storage, instance)


def _header(data: bytes) -> tuple[str, str, str, str]:
    """Return class, instance, study and series; the last is "" for what the node does not take."""
    if data[128:132] != b"DICM":
        raise UnreadableImageError("part", "is no DICOM file", "Send files with their preamble.")
    with parsing("part"):
        dataset = parse(io.BytesIO(data), "part", header_only=True)
        syntax = str(dataset.file_meta.get("TransferSyntaxUID"))
        names = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        storage, instance, study, series = (str(attribute(dataset, n) or "") for n in names)
    is_taken = modality(dataset) is not None and syntax in READ_SYNTAXES
    return storage, instance, study, series if is_taken else ""


def _response(found: list[_Stored]) -> Response:
    """Return the instances that are kept, and those that are not with why (PS3.18 10.5.3)."""
    kept = [_item(row) for row in found if not row.failure]
    failed = [
        _item(row) | {"00081197": {"vr": "US", "Value": [row.failure]}}
        for row in found
        if row.failure
    ]
    content: dict[str, Any] = {}
    if failed:
        content["00081198"] = {"vr": "SQ", "Value": failed}
    if kept:
        content["00081199"] = {"vr": "SQ", "Value": kept}
    status = 200 if not failed else 202 if kept else 409
    return json_response(content, status=status, headers={"content-type": MEDIA_TYPE})


def _item(row: _Stored) -> dict[str, Any]:
    values = {"00081150": row.storage, "00081155": row.instance}
    return {tag: {"vr": "UI", **({"Value": [v]} if v else {})} for tag, v in values.items()}
