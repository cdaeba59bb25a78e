"""The application, and uvicorn around it with limits that stand before any request is whole.

Routes stand behind the middleware, errors are problems, one service answers.
"""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import cv2
import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from tumorlens import __version__
from tumorlens.errors import SettingsError
from tumorlens.predictions.document import NOTICE
from tumorlens.services.decoder import return_memory
from tumorlens.services.http import (
    problems,
    routes_history,
    routes_model,
    routes_predict,
    routes_series,
    routes_v2,
)
from tumorlens.services.http.authenticator import is_loopback
from tumorlens.services.http.middleware import MAX_ADDRESS_BYTES, MAX_HEADER_BYTES, Middleware
from tumorlens.services.http.problems import MEDIA_TYPE, problem
from tumorlens.services.http.schemas import KEYS, PROBLEMS, TAGS
from tumorlens.services.http.service import start_service, stop_service
from tumorlens.services.store.database import open_store
from tumorlens.services.store.keys import has_valid_key
from tumorlens.services.telemetry import Metrics, log_library
from tumorlens.settings import Settings

IDLE_SECONDS = 15
MAX_CONNECTIONS = 512
DRAIN_SECONDS = 20  # for requests; what is called off then, and the store, have some more
SWITCH_SECONDS = 0.002  # threads take turns: half the latency of Python's own 0.005
WITH_KEYS = (routes_predict, routes_history, routes_series)


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 that waits only so long for headers and for readers; uvicorn would for ever."""

    def __init__(self, *given: Any, seconds: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self._seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Take bytes; whole headers stop the clock, others do not."""
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._stop_clock()

    def on_response_complete(self) -> None:
        """Wait for the next request, under the same clock."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._start_clock()

    def pause_writing(self) -> None:
        """Wait for a reader whose answer is ready, under the same clock."""
        super().pause_writing()
        self._start_clock()

    def resume_writing(self) -> None:
        """Go on: it reads."""
        super().resume_writing()
        self._stop_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP as everything else that cannot be read."""
        body = json.dumps(problem("bad-request", "It is not HTTP/1.1.", request_id="none"))
        headers = [("content-type", MEDIA_TYPE), ("connection", "close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body.encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(self._seconds, self._too_slow)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class SettledServer(uvicorn.Server):
    """A server that has its collector pass over what was loaded at its start."""

    async def startup(self, *given: Any, **named: Any) -> None:
        """Start, then spare every later collection the walk over it, 30 ms of standstill each."""
        await super().startup(*given, **named)
        gc.collect()
        gc.freeze()


def _check_keys(settings: Settings, host: str, *, needs_keys: bool) -> None:
    fix = "Create a key (tumorlens keys create NAME), or listen on 127.0.0.1."
    if not needs_keys:
        raise SettingsError(host, "is reached by others, and keys are off", fix)
    store = open_store(settings.store)
    try:
        if not has_valid_key(store):
            raise SettingsError(host, f"is reached by others, and {store.name} has no key", fix)
    finally:
        store.close()


def serve(settings: Settings, *, host: str, port: int, needs_keys: bool) -> None:
    """Serve until SIGTERM or Ctrl+C, then finish what was taken on.

    Raises SettingsError for an address beyond this machine without keys.
    """
    if not is_loopback(host):
        _check_keys(settings, host, needs_keys=needs_keys)
    return_memory()
    cv2.setNumThreads(1)  # requests are what runs side by side
    sys.setswitchinterval(SWITCH_SECONDS)
    log_library("uvicorn")
    config = uvicorn.Config(
        create_app(settings, needs_keys=needs_keys),
        host=host,
        port=port,
        http=partial(GuardedProtocol, seconds=settings.receive_seconds),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES + MAX_ADDRESS_BYTES,
        proxy_headers=False,
    )
    SettledServer(config).run()


def create_app(settings: Settings, *, needs_keys: bool) -> FastAPI:
    """Make the application; nothing is loaded before it starts."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = start_service(settings, metrics, needs_keys=needs_keys)
        yield
        stop_service(app.state.service)

    app = FastAPI(
        title="Tumorlens",
        summary="Brain tumors on CT and MRI slices: probability, type, heatmap.",
        description=NOTICE,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its page would load a script from elsewhere
        redoc_url=None,
        openapi_tags=TAGS,
        responses=PROBLEMS,
        redirect_slashes=False,
    )
    problems.install(app)
    for module in WITH_KEYS:
        app.include_router(module.router, dependencies=KEYS)
    if settings.spool:
        from tumorlens.services.http import routes_dicomweb  # it needs the extra [dicom]

        app.include_router(routes_dicomweb.router, dependencies=KEYS)
    for module in (routes_model, routes_v2):
        app.include_router(module.router)
    app.add_middleware(
        Middleware,
        authenticator=lambda: app.state.service.authenticator,
        metrics=metrics,
        max_bytes=settings.max_request_bytes,
        receive_seconds=settings.receive_seconds,
    )
    return app
