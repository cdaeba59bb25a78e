"""Batches: many scans at once, answered in the background, also after a restart."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from tumorlens.services.http import answering
from tumorlens.services.http.documents import job_document, job_item
from tumorlens.services.http.form import read_form
from tumorlens.services.http.openapi import JobId, upload
from tumorlens.services.http.routes_predict import refuse_fields, refuse_if_none_is_usable
from tumorlens.services.http.schemas import JobDocument, JobResult
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.store.database import Store
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import NewPrediction, iter_job
from tumorlens.services.store.jobs import Job, JobScan, NewJob, get_job, save_job
from tumorlens.settings import Settings

router = APIRouter(tags=["predict"])


@router.post(
    "/v1/predict/batch",
    status_code=202,
    responses={202: {"model": JobDocument}},
    openapi_extra=upload(Settings.max_files),
)
async def submit(request: Request) -> Response:
    """Take a batch; it is on the disk, as prepared images, when the job's id is given."""
    service, caller = service_of(request), caller_of(request, "predict")
    body, kind = request.scope["state"].get("body", b""), request.headers.get("content-type", "")

    def work() -> Job:
        form = read_form(body, kind, most_files=service.settings.max_files)
        refuse_fields(form.fields)
        job = _new_job(service, answering.receive(service, form.files), owner=caller.id)
        save_job(service.store, job)
        return get_job(service.store, job.id)

    with service.pool.place():
        job = await service.pool.run(work)
    service.runner.wake()
    document = job_document(job)
    headers = {"Location": document["links"]["self"]}
    return Response(
        json.dumps(document), status_code=202, headers=headers, media_type="application/json"
    )


@router.get("/v1/predict/batch/{id}", responses={200: {"model": JobDocument}})
def progress(request: Request, id: JobId) -> Response:
    """Say how far a batch is."""
    service, caller = service_of(request), caller_of(request, "predict")
    job = get_job(service.store, id, owner=caller.sees)
    return Response(json.dumps(job_document(job)), media_type="application/json")


@router.get(
    "/v1/predict/batch/{id}/result",
    responses={200: {"model": JobResult, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def result(
    request: Request,
    id: JobId,
    format: Annotated[Literal["json", "csv"], Query(description="The kind of answer.")] = "json",
) -> Response:
    """Give the answers so far, in the order of the files."""
    service, caller = service_of(request), caller_of(request, "predict")
    job = get_job(service.store, id, owner=caller.sees)
    if format == "csv":
        headers = {"Content-Disposition": f'attachment; filename="batch-{id}.csv"'}
        rows = history_table(service.store, iter_job(service.store, id))
        return StreamingResponse(rows, media_type="text/csv", headers=headers)
    return StreamingResponse(_json(service.store, job), media_type="application/json")


def _json(store: Store, job: Job) -> Iterator[str]:
    """Write the answers one by one: a thousand of them are several megabytes."""
    yield f'{{"job": {json.dumps(job_document(job))}, "results": ['
    for count, stored in enumerate(iter_job(store, job.id)):
        yield (", " if count else "") + json.dumps(job_item(stored))
    yield "]}"


def _new_job(service: Service, received: list[answering.Received], *, owner: str) -> NewJob:
    refuse_if_none_is_usable(received)
    job = NewJob(owner, waiting=[], failed=[])
    waiting = [
        JobScan(item.index, item.scan, item.sha256) for item in received if item.scan is not None
    ]
    failed = [
        NewPrediction(
            answering.unusable(service, item),
            input_sha256=item.sha256,
            bundle_sha256=service.predictor.bundle.sha256,
            owner=owner,
            source="batch",
            job=job.id,
            position=item.index,
        )
        for item in received
        if item.error is not None
    ]
    return NewJob(owner, waiting, failed, id=job.id)
