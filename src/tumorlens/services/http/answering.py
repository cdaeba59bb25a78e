"""From uploaded bytes to an answer that is on the disk; runs in a worker thread."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from tumorlens.errors import ImageError
from tumorlens.records import Prediction, PreparedScan, Unusable
from tumorlens.services.http.form import Upload
from tumorlens.services.http.service import Service
from tumorlens.services.store.history import NewPrediction, anonymous_name

LONGEST_NAME = 120  # characters


@dataclass(frozen=True)
class Received:
    """An upload that was looked at: prepared, or an error."""

    index: int
    name: str  # what the sender calls it, without what does not print
    stored_name: str  # what the store and the documents call it
    sha256: str
    scan: PreparedScan | None
    error: ImageError | None
    milliseconds: float


def receive(service: Service, uploads: Sequence[Upload]) -> list[Received]:
    """Decode and prepare uploads, in order."""
    return [_receive(service, index, upload) for index, upload in enumerate(uploads)]


def _receive(service: Service, index: int, upload: Upload) -> Received:
    started = time.perf_counter()
    digest = hashlib.sha256(upload.data).hexdigest()
    shown = clean_name(upload.name)
    stored = shown if service.settings.keep_names and shown else anonymous_name(digest, shown)
    found = service.predictor.prepare_bytes(upload.data, source=stored)
    scan, error = (None, found.error) if isinstance(found, Unusable) else (found, None)
    spent = 1000 * (time.perf_counter() - started)
    return Received(index, shown, stored, digest, scan, error, spent)


def answer(service: Service, received: Received, *, owner: str, source: str) -> NewPrediction:
    """Answer one prepared upload, with its heatmap; batches of one, as from every other door."""
    assert received.scan is not None
    started = time.perf_counter()
    prediction = service.predictor.predict_prepared([received.scan], heatmaps=True)[0]
    timings = {
        "prepare": received.milliseconds,
        "predict": 1000 * (time.perf_counter() - started),
    }
    service.metrics.answered(prediction, timings)
    return NewPrediction(
        prediction=prediction,
        input_sha256=received.sha256,
        bundle_sha256=service.predictor.bundle.sha256,
        owner=owner,
        source=source,
        timings=timings,
        keep=service.settings.keep_images,
    )


def promise(service: Service, new: Sequence[NewPrediction]) -> list[Future[str]]:
    """Hand answers to the commits; by the worker that has them, while the event loop is busy."""
    return [service.commits.submit(item) for item in new]


async def written(promises: Sequence[Future[str]]) -> None:
    """Wait until answers are on the disk; raises the StoreError of one that is not."""
    await asyncio.gather(*map(asyncio.wrap_future, promises))


def unusable(service: Service, received: Received) -> Prediction:
    """Give the Prediction of an upload that could not be used."""
    error = received.error
    assert error is not None
    found = Prediction(
        received.stored_name,
        bundle=service.predictor.bundle.version,
        error=f"{error.fact}. {error.fix}",
    )
    service.metrics.answered(found, {})
    return found


def clean_name(sent: str) -> str:
    r"""Give the last part of a name as printable text; it is shown, and never opened.

    >>> clean_name("..\\..\\etc/pass\x00wd")
    'passwd'
    """
    last = sent.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter for letter in last if letter.isprintable())
    return printable.strip()[-LONGEST_NAME:]
