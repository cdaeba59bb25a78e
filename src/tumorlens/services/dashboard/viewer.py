"""What a browser fetches of the scans of its reader: their view, and the pixels of each slice.

A page does not carry images: the browser asks for those of the next scans ahead, so that keys
never wait for the server. Who asks names a token that only the reader's own pages hold.
"""

import struct
import zlib
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tumorlens.reports.page import png
from tumorlens.reports.viewer.content import PixelGrid, ViewerContent, lay_out, robust_window
from tumorlens.services.dashboard.results import KeptSlice, Result, decode_pixels
from tumorlens.services.dashboard.session import is_reviewed, load_shared

PATH = "reader"  # below the page; what follows is the token, the result, the slice
GONE = Response("no such scan: it was removed from the worklist\n", 404)
HEADERS = {"cache-control": "no-store"}


def view_of(result: Result, *, with_truth: bool = False) -> ViewerContent:
    """Return what the viewer draws of a result, without the pixels."""
    slices = shown_slices(result)
    middle = slices[len(slices) // 2]
    is_ct = all(one.modality == "ct" for one in slices)
    content = lay_out(
        [one.answered for one in slices],
        [_grid(one) for one in slices],
        orientations=[one.orientation for one in slices],
        name=result.name,
        answer=result.answer,
        window=None if is_ct else robust_window(middle.scan.pixels),
    )
    if with_truth:
        for drawn, one in zip(content["slices"], slices, strict=True):
            drawn["mask"] = png(one.mask) if one.mask else ""
    return content


def shown_slices(result: Result) -> Sequence[KeptSlice]:
    """Return the slices that could be read."""
    return [one for one in result.slices if one.pixels]


def _grid(kept: KeptSlice) -> PixelGrid:
    width, height = struct.unpack(">II", kept.pixels[16:24])  # of the PNG's head
    low, step = kept.values
    return PixelGrid(width, height, low, step, kept.spacing_mm, kept.modality)


def slice_pixels(kept: KeptSlice) -> bytes:
    """Return the pixels of a slice as the viewer unpacks them: 16 bits each, zlib."""
    return zlib.compress(decode_pixels(kept.pixels).astype("<u2").tobytes(), 1)


def _answer(request: Request) -> Response:
    """Answer one request of a browser."""
    shared, named = load_shared(), request.path_params
    owner = shared.worklists.owner_of(named["token"])
    examples = {one.key: one for one in shared.examples}
    result = examples.get(named["key"]) or (
        shared.worklists.find(owner, named["key"]) if owner else None
    )
    if owner is None or result is None or not shown_slices(result):
        return GONE
    if "slice" not in named:
        return JSONResponse(view_of(result, with_truth=is_reviewed(owner, result)), headers=HEADERS)
    slices = shown_slices(result)
    if named["slice"] >= len(slices):
        return GONE
    pixels = slice_pixels(slices[named["slice"]])
    return Response(pixels, media_type="application/octet-stream", headers=HEADERS)


async def _endpoint(request: Request) -> Response:
    return await run_in_threadpool(_answer, request)


ROUTES = [
    Route(f"/{PATH}/{{token}}/{{key}}", _endpoint),
    Route(f"/{PATH}/{{token}}/{{key}}/{{slice:int}}", _endpoint),
]
