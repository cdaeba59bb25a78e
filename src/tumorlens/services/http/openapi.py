"""What OpenAPI says of every route: problems, keys, uploads."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel

from tumorlens.services.http.problems import MEDIA_TYPE
from tumorlens.services.http.schemas import Problem

TAGS = [
    {"name": "predict", "description": "Scans in, answers out."},
    {"name": "history", "description": "Answers that were given, and what readers say of them."},
    {"name": "model", "description": "What answers here, and how it does."},
    {"name": "v2", "description": "The Open Inference Protocol, for KServe and Triton clients."},
]
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header")
# The door has checked the key before any of this runs: here it is only described.
KEYS = [Depends(_bearer), Depends(_header)]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    for status in ("4XX", "5XX")
}
PredictionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The id of an answer.")]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The id of a batch.")]
ReportFormat = Annotated[Literal["html", "pdf"], Query(description="The kind of file.")]


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Give the schema of a model with the ones it refers to inside; none may contain itself."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return whole(parts[value["$ref"].rpartition("/")[2]])
        return {key: whole(item) for key, item in value.items()}

    return whole(schema)


def upload(most: int) -> dict[str, Any]:
    """Describe a form of files."""
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": file, "minItems": 1, "maxItems": most}},
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema}}
    description = f"One slice a file, {most:,} files at most."
    return {"requestBody": {"required": True, "description": description, "content": content}}


def file_response(description: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a file."""
    schema = {"type": "string", "format": "binary"}
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {200: {"description": description, "content": content}}
