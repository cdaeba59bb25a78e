"""Scans in, answers out: at once, or as a batch that is answered in the background."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.records import PreparedScan, Unusable
from tumorlens.services.http import documents, inference
from tumorlens.services.http.documents import Document, csv_response, json_response
from tumorlens.services.http.inference import (
    DecodedUpload,
    Upload,
    call_off_when_left,
    receive_uploads,
)
from tumorlens.services.http.problems import Refusal, as_refusal
from tumorlens.services.http.schemas import (
    JobDocument,
    JobId,
    JobResult,
    Predicted,
    describe_upload,
)
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.store.database import Store
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import NewPrediction, iter_job
from tumorlens.services.store.jobs import (
    Job,
    JobScan,
    NewJob,
    cancel_job,
    check_unfinished,
    get_job,
    save_job,
)
from tumorlens.settings import Settings

MAX_AT_ONCE = 32  # files of one request; a batch takes more
CSV = {"text/csv": {"schema": {"type": "string"}}}
router = APIRouter(tags=["predict"])


@router.post(
    "/v1/predict", responses={200: {"model": Predicted}}, openapi_extra=describe_upload(MAX_AT_ONCE)
)
async def predict(
    request: Request,
    heatmap: Annotated[bool, Query(description="Put the heatmap (PNG) into the answer.")] = False,
    report: Annotated[
        Literal["html", "pdf"] | None, Query(description="Put a report into the answer.")
    ] = None,
) -> Response:
    """Predict one or several scans.

    An unusable file among others has its `error` set; where none is usable, that is a problem.
    """
    service, caller = service_of(request), caller_of(request, "predict")
    bundle = service.predictor.bundle

    def answer(index: int, upload: Upload) -> Answered:
        decoded = inference.decode(service, index, upload)
        new = inference.predict(service, decoded, owner=caller.id, source="http")
        queued = [] if new.prediction.error else inference.enqueue(service, [new])
        row = _result(decoded, new, bundle, heatmap=heatmap, report=report)
        return Answered(decoded, queued, row)

    with service.pool.slot(caller.id):
        uploads = await receive_uploads(request, max_files=MAX_AT_ONCE, owner=caller.id)
        works = [(partial(answer, i, upload), upload.is_large) for i, upload in enumerate(uploads)]
        found = await service.pool.run_all(works, owner=caller.id)
        _refuse_if_none_is_usable([item.decoded for item in found])
        await inference.wait_persisted([future for item in found for future in item.queued])
    results = [item.row for item in found]
    return json_response({"request_id": request.state.request_id, "results": results})


@dataclass(frozen=True)
class Answered:
    """One upload with its answer on the way to the disk, and its row of the response."""

    decoded: DecodedUpload
    queued: list[Future[str]]
    row: Document


def _refuse_if_none_is_usable(decoded: Sequence[DecodedUpload]) -> None:
    """Raise the Refusal of the first unusable file where there is no other kind."""
    errors = [item.scan.error for item in decoded if isinstance(item.scan, Unusable)]
    if len(errors) == len(decoded):
        refusal = as_refusal(errors[0])
        found = [{"index": index, "fact": error.fact} for index, error in enumerate(errors)]
        raise Refusal(refusal.kind, refusal.detail, errors=found)


def _result(
    item: DecodedUpload, answer: NewPrediction, bundle: Bundle, *, heatmap: bool, report: str | None
) -> Document:
    prediction = answer.prediction
    result = {
        "index": item.index,
        "name": item.name,
        "id": None if prediction.error else answer.id,
        "input_sha256": item.sha256,
        "prediction": to_document(prediction),
        "timings_ms": {name: round(ms, 3) for name, ms in answer.timings.items()},
        "heatmap": None,
        "report": None,
        "links": None if prediction.error else documents.links_of(answer.id),
    }
    if heatmap and prediction.heatmap is not None:
        data = documents.heatmap_png(prediction.heatmap)
        result["heatmap"] = documents.attached(data, "image/png")
    if report is not None and not prediction.error:
        data = documents.report_file(prediction, bundle, format=report)
        result["report"] = documents.attached(data, documents.REPORT_TYPES[report])
    return result


@router.post(
    "/v1/predict/batch",
    status_code=202,
    responses={202: {"model": JobDocument}},
    openapi_extra=describe_upload(Settings.max_files),
)
async def submit(request: Request) -> Response:
    """Take a batch; it is on the disk, as prepared images, when the job's id is given.

    Its files are decoded when no request waits.
    """
    service, caller = service_of(request), caller_of(request, "predict")

    def save(decoded: Sequence[DecodedUpload]) -> Job:
        job = _new_job(service, decoded, owner=caller.id)
        save_job(service.store, job, max_unfinished=service.settings.max_jobs)
        return get_job(service.store, job.id)

    with service.pool.slot(caller.id):
        check_unfinished(service.store, caller.id, max_unfinished=service.settings.max_jobs)
        files = service.settings.max_files
        uploads = await receive_uploads(request, max_files=files, owner=caller.id)
        works = [
            (partial(inference.decode, service, index, upload), upload.is_large)
            for index, upload in enumerate(uploads)
        ]
        decoding = service.pool.run_all(works, owner=caller.id, background=True)
        decoded = await call_off_when_left(request, decoding)
        writing = partial(save, decoded)
        job = await service.pool.run(writing, owner=caller.id, large=True, background=True)
    service.batches.wake()
    headers = {"Location": documents.job_links(job.id)["self"]}
    return json_response(documents.job_document(job), status=202, headers=headers)


@router.get("/v1/jobs/{id}", responses={200: {"model": JobDocument}})
@router.get("/v1/predict/batch/{id}", responses={200: {"model": JobDocument}})
def progress(request: Request, id: JobId) -> Response:
    """Return how far a batch is."""
    return json_response(documents.job_document(_job(request, id)))


@router.delete("/v1/jobs/{id}", responses={200: {"model": JobDocument}})
def cancel(request: Request, id: JobId) -> Response:
    """Cancel a batch: what waits is removed, what is answered stays; a finished one stays whole."""
    caller = caller_of(request, "predict")
    owner = None if caller.may("admin") else caller.id
    job = cancel_job(service_of(request).store, id, actor=caller.id, owner=owner)
    return json_response(documents.job_document(job))


@router.get("/v1/predict/batch/{id}/result", responses={200: {"model": JobResult, "content": CSV}})
def result(
    request: Request,
    id: JobId,
    format: Annotated[Literal["json", "csv"], Query(description="The kind of answer.")] = "json",
) -> Response:
    """Return the answers so far, in the order of the files."""
    store, job = service_of(request).store, _job(request, id)
    if format == "csv":
        return csv_response(history_table(store, iter_job(store, id)), name=f"batch-{id}")
    return StreamingResponse(_job_json(store, job), media_type="application/json")


def _job(request: Request, id: str) -> Job:
    caller = caller_of(request, "predict")
    return get_job(service_of(request).store, id, owner=caller.sees)


def _job_json(store: Store, job: Job) -> Iterator[str]:
    """Write the answers one by one: a thousand of them are several megabytes."""
    yield f'{{"job": {json.dumps(documents.job_document(job))}, "results": ['
    for count, stored in enumerate(iter_job(store, job.id)):
        yield (", " if count else "") + json.dumps(documents.job_item(stored))
    yield "]}"


def _new_job(service: Service, decoded: Sequence[DecodedUpload], *, owner: str) -> NewJob:
    """Return a batch in which what is unusable is answered already."""
    _refuse_if_none_is_usable(decoded)
    waiting = [
        JobScan(item.index, item.scan, item.sha256)
        for item in decoded
        if isinstance(item.scan, PreparedScan)
    ]
    job = NewJob(owner, waiting, failed=[])
    failed = [
        inference.predict(service, item, owner=owner, source="batch", job=job.id)
        for item in decoded
        if isinstance(item.scan, Unusable)
    ]
    return replace(job, failed=failed)
