"""What answers here, how it does, whether it lives, and the page about the API."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from tumorlens import __version__
from tumorlens.models.bundle import CARD
from tumorlens.predictions.document import NOTICE
from tumorlens.services.http.documents import json_response
from tumorlens.services.http.problems import KINDS, Refusal
from tumorlens.services.http.schemas import KEYS, Health, ModelDocument
from tumorlens.services.http.service import caller_of, service_of

router = APIRouter(tags=["model"])


@router.get("/v1/model", responses={200: {"model": ModelDocument}}, dependencies=KEYS)
def model(request: Request) -> Response:
    """Describe the bundle: hash, threshold and how it was chosen, limits, model card."""
    caller_of(request, "predict", "read")
    service = service_of(request)
    bundle = service.predictor.bundle
    band = bundle.uncertainty_band
    card = bundle.folder / CARD
    document = {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "graph_sha256": bundle.graph_sha256,
        "atoms": list(bundle.atoms),
        "input": bundle.spec.to_json(),
        "threshold": bundle.threshold,
        "threshold_choice": bundle.operating_point.to_json(),
        "abstention": {"low": band.low, "high": band.high, "error": band.error},
        "temperature": bundle.temperature,
        "self_test": service.self_test,
        "card": card.read_text(encoding="utf-8") if card.is_file() else "",
        "notice": NOTICE,
    }
    return json_response(document)


@router.get("/healthz", responses={200: {"model": Health}})
def healthz() -> dict[str, str]:
    """Liveness: the process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: {"model": Health}})
def readyz(request: Request) -> dict[str, str]:
    """Readiness: the bundle passed its self-test, and the store takes writes."""
    check_ready(request)
    return {"status": "ok"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Metrics.", "content": {"text/plain": {}}}},
    dependencies=KEYS,
)
def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    caller_of(request, "read")
    data = generate_latest(REGISTRY) + generate_latest(service_of(request).metrics.registry)
    return Response(data, media_type=CONTENT_TYPE_LATEST)


def check_ready(request: Request) -> None:
    """Raise Refusal where a request would fail."""
    service = service_of(request)
    if not service.is_open:
        raise Refusal("not-ready", "It is being stopped.", retry_after=5)
    if not service.store_check.is_writable():
        raise Refusal("not-ready", "The store takes no writes.", retry_after=5)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Show every route and every problem; no script, nothing from elsewhere."""
    loader = PackageLoader("tumorlens.services.http")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("docs.html").render(
        notice=NOTICE, version=__version__, api=request.app.openapi(), kinds=KINDS
    )
    return HTMLResponse(page)
