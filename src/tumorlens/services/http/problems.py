"""Everything that can go wrong, as RFC 9457 problems: one row each.

A problem says what was wrong with the request, never what was in it.
"""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from tumorlens import errors
from tumorlens.services.telemetry import log

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A row of the table."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = {
    "bad-request": Kind(400, "The request cannot be read"),
    "bad-form": Kind(400, "The form cannot be read"),
    "no-key": Kind(401, "A valid API key is needed"),
    "not-allowed": Kind(403, "The key does not allow this"),
    "wrong-origin": Kind(403, "Requests from other web pages are refused"),
    "forwarded": Kind(403, "Without keys, nothing is taken from a proxy"),
    "not-found": Kind(404, "There is nothing here"),
    "wrong-method": Kind(405, "The method does not fit the address"),
    "gone": Kind(410, "What was here is not kept any more"),
    "too-slow": Kind(408, "The request did not arrive in time"),
    "length-conflict": Kind(400, "The body is not as long as announced"),
    "too-large": Kind(413, "The request is too large"),
    "too-many-parts": Kind(413, "The form has too many parts"),
    "long-address": Kind(414, "The address is too long"),
    "wrong-media-type": Kind(415, "The media type is not taken here"),
    "wrong-host": Kind(421, "The request is for another host"),
    "not-valid": Kind(422, "The request does not make sense"),
    "unusable-scan": Kind(422, "The scan cannot be used"),
    "too-many-requests": Kind(429, "The key has used up its requests"),
    "too-many-jobs": Kind(429, "The key has too many unfinished batches"),
    "queue-full": Kind(429, "The service has all the work it can take"),
    "large-headers": Kind(431, "The headers are too large"),
    "internal": Kind(500, "The service failed"),
    "not-ready": Kind(503, "The service is not ready"),
    "store-failed": Kind(503, "The store does not answer"),
    "store-full": Kind(507, "The store has no space left"),
}


class Refusal(HTTPException):
    """A request that is turned away; `kind` is a row of KINDS."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        errors: Sequence[Mapping[str, object]] = (),
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if KINDS[kind].status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(KINDS[kind].status, detail, headers)
        self.kind, self.errors = kind, errors


def invalid(detail: str, error: ValidationError | RequestValidationError) -> Refusal:
    """Return the refusal of a request that does not fit its schema, with each place."""
    found = [{"where": list(map(str, row["loc"])), "what": row["msg"]} for row in error.errors()]
    return Refusal("not-valid", detail, errors=found[:20])


def problem(kind: str, detail: str, *, request_id: str) -> dict[str, object]:
    """Return the members of a problem; `error` is where the v2 protocol looks for the text."""
    row = KINDS[kind]
    return {
        "type": f"/docs#{kind}",
        "title": row.title,
        "status": row.status,
        "detail": detail,
        "error": f"{row.title}: {detail}",
        "request_id": request_id,
    }


def problem_response(refusal: Refusal, request_id: str) -> Response:
    """Return a refusal as the response to a request."""
    body = problem(refusal.kind, refusal.detail, request_id=request_id)
    if refusal.errors:
        body["errors"] = refusal.errors
    return Response(
        json.dumps(body), refusal.status_code, headers=refusal.headers, media_type=MEDIA_TYPE
    )


# The first class that fits gives the row.
_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (errors.ImageTooLargeError, "too-large"),
    (errors.ImageError, "unusable-scan"),
    (errors.NotStoredError, "not-found"),
    (errors.StoreFullError, "store-full"),
    (errors.StoreError, "store-failed"),
    (errors.TooManyJobsError, "too-many-jobs"),
    (errors.ReviewError, "not-valid"),
    (errors.ReportError, "not-valid"),
    (errors.ServiceError, "unusable-scan"),  # a series that ended the process that answers
)
_RETRY_SECONDS = {"store-failed": 2, "too-many-jobs": 10}
_STATUSES = {404: "not-found", 405: "wrong-method", 400: "bad-request"}


def as_refusal(error: Exception) -> Refusal:
    """Return what an error means to who asked; an unknown one is ours, and is logged."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return invalid("See errors for each place.", error)
    if isinstance(error, HTTPException):
        refusal = Refusal(_STATUSES.get(error.status_code, "bad-request"), str(error.detail))
        refusal.headers = {**dict(error.headers or {}), **dict(refusal.headers or {})}
        return refusal
    for known, kind in _ERRORS:
        if isinstance(error, known) and isinstance(error, errors.TumorlensError):
            retry = _RETRY_SECONDS.get(kind)
            return Refusal(kind, f"{error.fact}. {error.fix}", retry_after=retry)
    log_failure(error)
    return Refusal("internal", "The request id leads to it in the log.")


def log_failure(error: BaseException) -> None:
    """Log where an unknown error came from, without its text, which may quote the upload."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
    log("failure", error=type(error).__name__, places=places)


def _allowed(app: FastAPI, request: Request, *, otherwise: str) -> str:
    """List the methods of an address; the framework names those of its first route alone."""
    for address, operations in app.openapi()["paths"].items():
        if compile_path(address)[0].match(request.scope["path"]):
            return ", ".join(sorted(name.upper() for name in operations))
    return otherwise


def install(app: FastAPI) -> None:
    """Make an application answer every error with a problem."""

    def handle(request: Request, error: Exception) -> Response:
        refusal = as_refusal(error)
        if refusal.status_code == 405:
            known = dict(refusal.headers or {})
            allowed = _allowed(app, request, otherwise=known.pop("Allow", ""))
            refusal.headers = {**known, "allow": allowed}
        return problem_response(refusal, request.scope["state"]["request_id"])

    for known in (HTTPException, RequestValidationError, errors.TumorlensError):
        app.add_exception_handler(known, handle)
