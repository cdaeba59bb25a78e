"""Answers for whole series, and a page to look at one that came to the DICOM node.

The store keeps no images: a series can be looked at while its files lie in the spool of the node
(`tumorlens dicom node --keep-hours H`), which the service shares as TUMORLENS_SPOOL.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response

from tumorlens.images.listing import list_series
from tumorlens.images.readers import attempt, choose_frame, read_bytes
from tumorlens.images.series import Series
from tumorlens.images.slices import SliceHeader
from tumorlens.inputs.prepare import prepare_scan
from tumorlens.records import Heatmap, PreparedScan, Scan, Unusable
from tumorlens.reports.scan.report import scan_html
from tumorlens.reports.viewer.content import MAX_PIXELS, ViewedSlice, viewer_content
from tumorlens.services.answer_process import hash_slices, slice_id
from tumorlens.services.http.authenticator import Caller
from tumorlens.services.http.documents import json_response
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.spool import SLICES, read_state, series_folders
from tumorlens.services.store.history import StoredPrediction, predictions_by_id
from tumorlens.services.store.series import StoredSeries, find_series, get_series

SCOPES = ("predict", "read")
WEB = "dicom:web "  # owners of series that came by STOW-RS: so, and the id of a key
NO_IMAGES = (
    "The answer is kept, the images are not. Start the node with --keep-hours, and this service "
    "with TUMORLENS_SPOOL naming its spool; or send the series again."
)
router = APIRouter(tags=["history"])
SeriesId = Annotated[str, InPath(pattern=r"^[0-9a-f]{8,64}$", description="The id of a series.")]
_SCRIPT = re.compile(r'<script type="module">(.*?)</script>', re.DOTALL)


@router.get("/v1/series")
def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """List answers for series, newest first: one's own, or all with the scope read."""
    store, caller = service_of(request).store, caller_of(request, *SCOPES)
    owners = (None,) if caller.sees is None else (caller.sees, WEB + caller.sees)
    found = [
        row
        for owner in owners
        for row in find_series(store, owner=owner, limit=limit, before=before)
    ]
    rows = sorted(found, key=lambda row: -row.number)[:limit]
    following = f"/v1/series?limit={limit}&before={rows[-1].number}" if len(rows) == limit else None
    return json_response({"series": [_document(row) for row in rows], "next": following})


def _document(row: StoredSeries) -> dict[str, object]:
    names = ("id", "created_at", "owner", "modality", "description", "bundle_sha256")
    return {name: getattr(row, name) for name in names} | {
        "answer": row.answer.to_document(),
        "links": {"view": f"/v1/series/{row.id}/view"},
    }


@router.get("/v1/series/{id}/view", responses={200: {"content": {"text/html": {}}}})
async def view(request: Request, id: SeriesId) -> Response:
    """Return a page with the viewer of a series; 410 once its images are not kept any more."""
    service, caller = service_of(request), caller_of(request, *SCOPES)
    with service.pool.slot(caller.id):
        page = await service.pool.run(
            lambda: _page(service, caller, id), owner=caller.id, large=True
        )
    return Response(page, media_type="text/html; charset=utf-8", headers=_headers(page))


def _headers(page: str) -> dict[str, str]:
    """Let the page run the script of the viewer, and no other."""
    found = _SCRIPT.search(page)
    digest = hashlib.sha256((found[1] if found else "").encode()).digest()
    allowed = f"script-src 'sha256-{base64.b64encode(digest).decode()}'; style-src 'unsafe-inline'"
    return {"content-security-policy": f"default-src 'none'; {allowed}; img-src data:",
            "cache-control": "no-store"}  # fmt: skip


def _page(service: Service, caller: Caller, id: str) -> str:
    row = get_series(service.store, id)
    if row is None or caller.sees not in (None, row.owner.removeprefix(WEB)):
        raise Refusal("not-found", "There is no series of this id.")
    folder = _folder(service, row.series)
    files = sorted((folder / SLICES).iterdir()) if folder else []
    listing = list_series(files, limits=service.settings.read_limits)
    if folder is None or not listing.series:
        raise Refusal("gone", NO_IMAGES)
    series = max(listing.series, key=lambda s: len(s.slices))
    answers = _answers(service, row, series, digests=hash_slices(folder))
    share = _share(series)
    viewed = [
        _viewed(_shrunk(scan, share), stored, header, service)
        for header, stored, scan in zip(
            series.slices, answers, _scans(series, service), strict=True
        )
        if stored is not None and isinstance(scan, Scan)
    ]
    content = viewer_content(viewed, name=row.description or row.series, answer=row.answer)
    return scan_html(
        [], service.predictor.bundle, made=datetime.now(UTC), series=[row.answer], viewers=[content]
    )


def _folder(service: Service, name: str) -> Path | None:
    """Return the folder of a series whose files still lie in the spool."""
    if not service.settings.spool:
        return None
    for _, folder in series_folders(Path(service.settings.spool)):
        try:
            if name in read_state(folder).series:
                return folder
        except (OSError, ValueError):  # moved on meanwhile
            continue
    return None


def _answers(
    service: Service, row: StoredSeries, series: Series, *, digests: Mapping[str, str]
) -> list[StoredPrediction | None]:
    """Return the stored answer for each slice, found by what its file holds.

    A slice that was sent before was answered then, maybe under another number.
    """
    ids = [
        slice_id(digests[Path(header.path).name], header.frame, owner=row.owner, source=row.source,
                 bundle_sha256=row.bundle_sha256)
        for header in series.slices
    ]  # fmt: skip
    stored = predictions_by_id(service.store, ids)
    found = [stored.get(id) for id in ids]
    return [
        one and replace(one, prediction=replace(one.prediction, slice=number))
        for number, one in enumerate(found, start=1)
    ]


def _share(series: Series) -> float:
    """Return how much slices are shrunk while they are read, so that all of them have room."""
    pixels = sum(header.matrix[0] * header.matrix[1] for header in series.slices)
    return min(1.0, (MAX_PIXELS / max(pixels, 1)) ** 0.5)


def _scans(series: Series, service: Service) -> Iterator[Scan | Unusable]:
    """Read the slices of a series, file by file, in the process that reads files."""
    for path, headers in groupby(series.slices, key=lambda header: header.path):
        data = attempt(read_bytes, path, limits=service.settings.read_limits)
        read = data if isinstance(data, Unusable) else service.reader.open_images(data, source=path)
        for header in headers:
            yield read if isinstance(read, Unusable) else attempt(choose_frame, read, header.frame)


def _viewed(
    scan: Scan, stored: StoredPrediction, header: SliceHeader, service: Service
) -> ViewedSlice:
    """Return one slice with its stored answer, and the evidence where it lies."""
    prepared = prepare_scan(scan, service.predictor.bundle.spec)
    heatmap = (
        Heatmap(stored.evidence, prepared.pixels, prepared.matrix)
        if stored.evidence is not None and isinstance(prepared, PreparedScan)
        else None
    )
    return ViewedSlice(scan, replace(stored.prediction, heatmap=heatmap), header.orientation)


def _shrunk(scan: Scan, share: float) -> Scan:
    if share >= 1:
        return scan
    height, width = (max(1, round(side * share)) for side in scan.pixels.shape)
    small = cv2.resize(scan.pixels, (width, height), interpolation=cv2.INTER_AREA)
    spacing = scan.spacing_mm and (scan.spacing_mm[0] / share, scan.spacing_mm[1] / share)
    return replace(scan, pixels=np.asarray(small, np.float32), spacing_mm=spacing)
