"""/docs: the API on one page, made from its own OpenAPI; no script, nothing from elsewhere."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from tumorlens import __version__
from tumorlens.predictions.document import NOTICE
from tumorlens.services.http.problems import KINDS

router = APIRouter()


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Show every route and every problem."""
    environment = Environment(
        loader=PackageLoader("tumorlens.services.http"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    described = request.app.openapi()
    page = environment.get_template("docs.html").render(
        notice=NOTICE, version=__version__, groups=_groups(described), kinds=KINDS
    )
    return HTMLResponse(page)


def _groups(described: dict[str, Any]) -> list[dict[str, Any]]:
    routes = [
        {"method": method.upper(), "path": path, **_route(operation)}
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    return [
        {**tag, "routes": [route for route in routes if route["tag"] == tag["name"]]}
        for tag in described["tags"]
    ]


def _route(operation: dict[str, Any]) -> dict[str, Any]:
    answers = {
        status: answer
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    }
    status, answer = next(iter(answers.items()))
    return {
        "tag": operation["tags"][0],
        "text": operation.get("description", ""),
        "parameters": [_parameter(found) for found in operation.get("parameters", [])],
        "takes": list(operation.get("requestBody", {}).get("content", {})),
        "gives": f"{status} {', '.join(answer.get('content', {}))}",
    }


def _parameter(found: dict[str, Any]) -> dict[str, str]:
    schema = found["schema"]
    kinds = [row for row in schema.get("anyOf", [schema]) if row.get("type") != "null"]
    values = ", ".join(str(value) for row in kinds for value in row.get("enum", []))
    default = schema.get("default")
    return {
        "name": found["name"],
        "where": found["in"],
        "values": values or " or ".join(row.get("type", "") for row in kinds),
        "default": "" if default is None else str(default).lower(),
        "text": found.get("description", schema.get("description", "")),
    }
