"""Ask a running service from Python: three functions, the same Prediction as everywhere.

    from tumorlens.client import predict

    for answer in predict(["slice.png"], url="http://127.0.0.1:8000", key="tlk_..."):
        print(answer.decision, answer.tumor_probability)

Needs the extra `client` (httpx). `key` may be left out where TUMORLENS_KEY holds it, or where the
service asks for none.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tumorlens.errors import ServiceError
from tumorlens.predictions.document import from_document
from tumorlens.records import Prediction

FILES_AT_ONCE = 16  # of one request; the service takes twice as many
TRIES = 5  # where the service is busy or restarts
Document = dict[str, Any]  # as the service describes it in its reference
LOCAL = "http://127.0.0.1:8000"


def predict(
    paths: Sequence[str | Path], *, url: str = LOCAL, key: str = "", timeout_seconds: float = 60
) -> list[Prediction]:
    """Predict files, in order; one that cannot be used has its `error` set.

    Waits and tries again while the service is busy. Raises ServiceError where it refuses or
    cannot be reached, and OSError for a file that cannot be opened.
    """
    found: list[Prediction] = []
    remaining = iter(paths)
    with _connect(url, key, timeout_seconds) as client:
        while some := list(islice(remaining, FILES_AT_ONCE)):
            found += _predict_some(client, some)
    return found


def predict_batch(
    paths: Sequence[str | Path],
    *,
    url: str = LOCAL,
    key: str = "",
    timeout_seconds: float = 3600,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prediction]:
    """Submit files as one batch, wait for it, and return its predictions in the files' order.

    The batch survives a restart of the service. Raises as `predict`, and ServiceError after
    `timeout_seconds`.
    """
    end = time.monotonic() + timeout_seconds
    with _connect(url, key, 60) as client:
        job = _ask(client, "POST", "/v1/predict/batch", files=_parts(paths))
        while job["state"] == "running":
            if time.monotonic() > end:
                fact = f"has answered {job['answered']} of {job['total']} after the time given"
                raise ServiceError(url, fact, f"Ask for {job['links']['result']} later.")
            if progress:
                progress(job["answered"], job["total"])
            time.sleep(0.25)
            job = _ask(client, "GET", job["links"]["self"])
        if job["state"] == "canceled":
            fact = f"has canceled the batch after {job['answered']} of {job['total']} files"
            raise ServiceError(url, fact, "Submit the rest again.")
        results = _ask(client, "GET", job["links"]["result"])["results"]
    answers = [from_document(result["prediction"]) for result in results]
    return [replace(answer, path=str(path)) for path, answer in zip(paths, answers, strict=True)]


def history(
    *, url: str = LOCAL, key: str = "", timeout_seconds: float = 60, **filters: str
) -> Iterator[Document]:
    """Yield stored answers as the service documents them, newest first, page by page.

    Filters are those of GET /v1/predictions: decision, modality, bundle, since, until, ...
    """
    with _connect(url, key, timeout_seconds) as client:
        page = _ask(client, "GET", "/v1/predictions", params=filters)
        while True:
            yield from page["predictions"]
            if page["next"] is None:
                return
            page = _ask(client, "GET", page["next"])


def _connect(url: str, key: str, seconds: float) -> Any:
    import httpx

    key = key or os.environ.get("TUMORLENS_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=seconds)


def _parts(paths: Sequence[str | Path]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (Path(path).name, Path(path).read_bytes())) for path in paths]


def _predict_some(client: Any, paths: Sequence[str | Path]) -> list[Prediction]:
    response = _send(client, "POST", "/v1/predict", files=_parts(paths))
    document = _document(response)
    if response.status_code in (413, 422) and "errors" in document:
        # None of these files could be used: the answer is a problem with a row for each.
        facts = {row["index"]: row["fact"] for row in document["errors"]}
        return [
            Prediction(str(path), error=facts.get(index, document["detail"]))
            for index, path in enumerate(paths)
        ]
    _raise_for(response, document)
    return [
        replace(from_document(result["prediction"]), path=str(path))
        for path, result in zip(paths, document["results"], strict=True)
    ]


def _ask(client: Any, method: str, path: str, **more: Any) -> Document:
    response = _send(client, method, path, **more)
    document = _document(response)
    _raise_for(response, document)
    return document


def _send(client: Any, method: str, path: str, **more: Any) -> Any:
    """Send a request, again where the service says that it is busy, or is not there yet."""
    import httpx

    for left in reversed(range(TRIES)):
        try:
            response = client.request(method, path, **more)
        except httpx.ConnectError as error:
            if not left:
                fact = f"cannot be reached ({error})"
                raise ServiceError(str(client.base_url), fact, "Is it running?") from error
            time.sleep(0.5)
            continue
        except httpx.HTTPError as error:
            fact = f"broke off ({type(error).__name__})"
            raise ServiceError(str(client.base_url), fact, "Try again.") from error
        if response.status_code not in (429, 503) or not left:
            return response
        time.sleep(min(10.0, float(response.headers.get("Retry-After", 1))))
    raise AssertionError("the last try returns or raises")


def _document(response: Any) -> Document:
    try:
        return response.json()
    except ValueError:
        return {"detail": f"status {response.status_code}, not JSON"}


def _raise_for(response: Any, document: Document) -> None:
    if response.status_code >= 400:
        title = document.get("title", "The service refused")
        fact = f"{title} (status {response.status_code})"
        raise ServiceError(str(response.url), fact, document.get("detail", ""))
