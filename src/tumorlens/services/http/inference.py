"""From the bytes of a request to predictions that are on the disk.

All but the waiting runs in a worker thread. Nothing of an upload touches the disk: the middleware
bounds the whole body in memory, and the form parser keeps its files there.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from tumorlens.records import PreparedScan, Unusable
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.service import Service
from tumorlens.services.store.history import NewPrediction, anonymous_name

MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
MAX_BOUNDARY = 70  # characters, as RFC 2046 has it
MAX_NAME = 120  # characters
CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Upload:
    """A file as it was sent; `name` is what the sender calls it and opens nothing."""

    name: str
    data: bytes


@dataclass(frozen=True)
class DecodedUpload:
    """An upload as a prepared scan, or why it is none."""

    index: int
    name: str  # what the sender calls it, without what does not print
    sha256: str
    scan: PreparedScan | Unusable
    milliseconds: float


class _FormParser(MultiPartParser):
    """Starlette's parser, which by itself takes a form that is cut off for a whole one."""

    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


def read_form(body: bytes | bytearray, content_type: str, *, max_files: int) -> list[Upload]:
    """Return the files of a multipart form.

    Raises Refusal for another media type, a broken or huge form, and for fields: an option that is
    silently passed over would be a trap.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise Refusal("wrong-media-type", "Send multipart/form-data with a part named file.")
    if not 1 <= len(options.get(b"boundary", b"")) <= MAX_BOUNDARY:
        raise Refusal("bad-form", f"The boundary has to have 1 to {MAX_BOUNDARY} characters.")
    parser = _FormParser(
        Headers({"content-type": content_type}), _chunks(body),
        max_files=max_files, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES,
    )  # fmt: skip
    parser.spool_max_size = len(body)  # so no file of the form is ever spooled to the disk
    try:
        form = _run_without_loop(parser.parse())
    except (MultiPartException, ValueError) as error:  # ValueError: a name in no known charset
        if str(getattr(error, "message", "")).startswith("Too many"):
            raise Refusal("too-many-parts", f"{max_files} files are taken at once.") from error
        raise Refusal("bad-form", "Its parts are not delimited as announced.") from error
    if not parser.is_whole:
        raise Refusal("bad-form", "The form ends before its last boundary.")
    uploads = []
    for name, value in form.multi_items():
        if isinstance(value, str):
            raise Refusal("bad-form", "Options belong into the address: /v1/predict?heatmap=true")
        if name != "file":
            raise Refusal("bad-form", 'Files are sent under the name "file".')
        if "content-transfer-encoding" in value.headers:
            raise Refusal("bad-form", "Parts are taken as they are, without a transfer encoding.")
        uploads.append(Upload(value.filename or "", value.file.read()))
    if not uploads:
        raise Refusal("bad-form", 'No part named "file" holds a file.')
    return uploads


def _run_without_loop(parsing: Coroutine[Any, Any, FormData]) -> FormData:
    """Run a coroutine that waits for nothing: an event loop for each form would cost 0.5 ms."""
    try:
        parsing.send(None)
    except StopIteration as end:
        return end.value
    parsing.close()
    raise RuntimeError("a form in memory is parsed without waiting")


async def _chunks(body: bytes | bytearray) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), CHUNK_BYTES):
        yield bytes(body[start : start + CHUNK_BYTES])


def decode(service: Service, uploads: Sequence[Upload]) -> list[DecodedUpload]:
    """Decode and prepare uploads, in order."""
    return [_decode(service, index, upload) for index, upload in enumerate(uploads)]


def _decode(service: Service, index: int, upload: Upload) -> DecodedUpload:
    started = time.perf_counter()
    sha256 = hashlib.sha256(upload.data).hexdigest()
    name = clean_name(upload.name)
    stored_name = name if service.settings.keep_names and name else anonymous_name(sha256, name)
    scan = service.predictor.prepare_bytes(upload.data, source=stored_name)
    return DecodedUpload(index, name, sha256, scan, 1000 * (time.perf_counter() - started))


def predict(
    service: Service, decoded: DecodedUpload, *, owner: str, source: str, job: str | None = None
) -> NewPrediction:
    """Predict one upload, with its heatmap, in a batch of one; an unusable one has its `error`."""
    started = time.perf_counter()
    prediction = service.predictor.predict_prepared([decoded.scan], heatmaps=True)[0]
    timings = {"prepare": decoded.milliseconds}
    if not prediction.error:
        timings["predict"] = 1000 * (time.perf_counter() - started)
    service.metrics.count_prediction(prediction, timings)
    return NewPrediction(
        prediction=prediction,
        input_sha256=decoded.sha256,
        bundle_sha256=service.predictor.bundle.sha256,
        owner=owner,
        source=source,
        timings=timings,
        keep=service.settings.keep_images,
        job=job,
        position=None if job is None else decoded.index,
    )


def enqueue(service: Service, new: Sequence[NewPrediction]) -> list[Future[str]]:
    """Queue predictions to be written; by their worker, while the event loop is busy."""
    return [service.commits.submit(item) for item in new]


async def wait_persisted(queued: Sequence[Future[str]]) -> None:
    """Wait until predictions are on the disk; raises the StoreError of one that is not."""
    await asyncio.gather(*map(asyncio.wrap_future, queued))


def clean_name(sent: str) -> str:
    r"""Return the last part of a name as printable text; it is shown, and never opened.

    >>> clean_name("..\\..\\etc/pass\x00wd")
    'passwd'
    """
    last = sent.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter for letter in last if letter.isprintable())
    return printable.strip()[-MAX_NAME:]
