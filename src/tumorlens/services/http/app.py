"""The application: routes behind the middleware, problems for every error, one service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from tumorlens import __version__
from tumorlens.predictions.document import NOTICE
from tumorlens.services.http import (
    problems,
    routes_history,
    routes_model,
    routes_predict,
    routes_v2,
)
from tumorlens.services.http.middleware import Middleware
from tumorlens.services.http.schemas import KEYS, PROBLEMS, TAGS
from tumorlens.services.http.service import start_service, stop_service
from tumorlens.services.http.telemetry import Metrics
from tumorlens.settings import Settings

WITH_KEYS = (routes_predict, routes_history)


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
