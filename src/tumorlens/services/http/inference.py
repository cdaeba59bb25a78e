"""From the bytes of a request to predictions that are on the disk.

All but the waiting runs in worker threads, file by file. Nothing of an upload touches the disk: the
middleware bounds the whole body in memory, and the form parser keeps its files there.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from tumorlens.errors import ImageError
from tumorlens.images.readers import announced_pixels, attempt
from tumorlens.records import PreparedScan, Unusable
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.service import Service
from tumorlens.services.store.history import NewPrediction, anonymous_name
from tumorlens.settings import Settings

MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
MAX_BOUNDARY = 70  # characters, as RFC 2046 has it
MAX_NAME = 120  # characters
CHUNK_BYTES = 2**18
SMALL_FORM_BYTES = 2**18  # is read at once; a larger one as a large image is
LEFT_SECONDS = 0.5  # between looks whether the client of a long request is still there
T = TypeVar("T")
LARGE_PIXELS = 2_000_000  # above it, or above so many bytes, images are decoded one at a time
LARGE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Upload:
    """A file as it was sent; `name` is what the sender calls it and opens nothing."""

    name: str
    data: bytes
    pixels: int = 0  # that it announces
    error: ImageError | None = None  # why it will not be decoded

    @property
    def is_large(self) -> bool:
        """Whether it is decoded while no other large one is."""
        return self.pixels > LARGE_PIXELS or len(self.data) > LARGE_BYTES


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


async def receive_uploads(request: Request, *, max_files: int, owner: str) -> list[Upload]:
    """Return the files of a request with what they announce; large forms are read one at a time."""
    service: Service = request.app.state.service
    body = request.scope["state"].get("body", bytearray())
    kind = request.headers.get("content-type", "")

    def read() -> list[Upload]:
        uploads = read_form(body, kind, max_files=max_files)
        body.clear()  # its parts were copied, and it would stay in memory until the answer
        return measure(uploads, service.settings)

    if len(body) <= SMALL_FORM_BYTES:
        return read()
    return await service.pool.run(read, owner=owner, large=True)


def measure(uploads: Sequence[Upload], settings: Settings) -> list[Upload]:
    """Return uploads with the pixels they announce; raises Refusal for too many together."""
    measured, pixels = [], 0
    for upload in uploads:
        found = attempt(
            announced_pixels, upload.data, source=upload.name, limits=settings.read_limits
        )
        if isinstance(found, Unusable):
            measured.append(replace(upload, error=found.error))
        else:
            pixels += found
            measured.append(replace(upload, pixels=found))
    if pixels > settings.max_request_pixels and len(uploads) > 1:
        fact = f"{settings.max_request_pixels:,} pixels are taken at once."
        raise Refusal("too-large", fact)
    return measured


def decode(service: Service, index: int, upload: Upload) -> DecodedUpload:
    """Decode and prepare an upload, in a process of its own."""
    started = time.perf_counter()
    sha256 = hashlib.sha256(upload.data).hexdigest()
    name = clean_name(upload.name)
    stored_name = name if service.settings.keep_names and name else anonymous_name(sha256, name)
    if upload.error is None:
        scan = service.decoders.prepare(
            upload.data, service.predictor.bundle.spec, source=stored_name, pixels=upload.pixels
        )
    else:
        scan = Unusable(type(upload.error)(stored_name, upload.error.fact, upload.error.fix))
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


async def call_off_when_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for work, and call it off when the client has left; raises Refusal then."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=LEFT_SECONDS))[0]:
            if await request.is_disconnected():
                raise Refusal("bad-request", "The connection was closed.")
        return task.result()
    finally:
        task.cancel()


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
