"""The shapes of requests and answers, and what OpenAPI has of every route.

Tests hold the shapes against what is sent.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tumorlens.services.http.problems import MEDIA_TYPE

JsonObject = dict[str, Any]
Responses = dict[int | str, JsonObject]
Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


def _no_number(value: object) -> object:
    """Refuse seconds since 1970, which pydantic would take for a time."""
    if isinstance(value, str) and value.lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("a time is written as ISO 8601")
    return value


def _in_utc(at: datetime) -> datetime:
    """Return a time in UTC; it is UTC where no zone is given."""
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC, a time lies in the years 1 to 9999") from None


NO_NUL = r"^[^\x00]*$"  # PostgreSQL keeps no such text
Reason = Annotated[
    str,
    Field(max_length=2000, pattern=r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$", description="Why."),
]
Instant = Annotated[
    datetime, BeforeValidator(_no_number), AfterValidator(_in_utc), Field(description="ISO 8601.")
]
Decision = Literal["tumor", "no tumor", "uncertain", "out of scope"]


class _Strict(BaseModel):
    """What takes no other fields than its own."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem after RFC 9457."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    error: str
    request_id: str


class PredictionDocument(BaseModel):
    """A Prediction; probabilities are calibrated."""

    schema_version: Literal[1]
    notice: str
    path: str
    modality: Literal["ct", "mri", ""]
    modality_probability: Probability | None
    tumor_probability: Probability | None
    decision: Literal["tumor", "no tumor", "uncertain", "out of scope", ""]
    type: Literal["glioma", "meningioma", "pituitary", "undetermined", ""]
    type_probabilities: dict[str, Probability]
    threshold: Probability | None
    bundle: str
    notes: list[str]
    error: str
    atoms: dict[str, Probability]


class Links(BaseModel):
    """Where more of an answer is."""

    self: str
    heatmap: str
    report: str
    review: str


class Attached(BaseModel):
    """A file inside the answer."""

    media_type: str
    base64: str


class Result(BaseModel):
    """One scan's answer; without an id it could not be used, and is not stored."""

    index: Annotated[int, Field(ge=0)]
    name: str
    id: Id | None
    input_sha256: Sha256
    prediction: PredictionDocument
    timings_ms: dict[str, float]
    heatmap: Attached | None = None
    report: Attached | None = None
    links: Links | None


class Predicted(BaseModel):
    """What POST /v1/predict gives."""

    request_id: str
    results: list[Result]


class ReviewDocument(BaseModel):
    """A stored review."""

    id: Id
    prediction_id: Id
    reader: str
    created_at: str
    verdict: Literal["agree", "correct"]
    decision: Decision
    type: str
    reason: str


class Agreement(_Strict):
    """The reader agrees."""

    verdict: Literal["agree"]
    reason: Annotated[str, Field(max_length=2000, pattern=NO_NUL)] = ""


class TumorCorrection(_Strict):
    """The reader sees a tumor, or may see one."""

    verdict: Literal["correct"]
    decision: Literal["tumor", "uncertain"]
    type: Literal["glioma", "meningioma", "pituitary", "undetermined"] | None = None
    reason: Reason


class OtherCorrection(_Strict):
    """The reader sees none, or no scan that could show one."""

    verdict: Literal["correct"]
    decision: Literal["no tumor", "out of scope"]
    reason: Reason


ReviewRequest = Agreement | TumorCorrection | OtherCorrection


class HistoryQuery(_Strict):
    """Which answers are meant."""

    decision: Decision | None = None
    modality: Literal["ct", "mri"] | None = None
    bundle: Annotated[
        str | None, Field(max_length=200, pattern=NO_NUL, description="As in an answer.")
    ] = None
    source: Literal["http", "v2", "batch", "dashboard"] | None = None
    input_sha256: Sha256 | None = None
    since: Annotated[Instant | None, Field(description="UTC where no zone is given.")] = None
    until: Annotated[Instant | None, Field(description="Exclusive.")] = None
    limit: Annotated[int, Field(ge=1, le=500, description="Answers on a page.")] = 100
    before: Annotated[
        int | None, Field(ge=1, le=2**31 - 1, description="From the link to the next page.")
    ] = None
    format: Annotated[Literal["json", "csv"], Field(description="csv gives all pages at once.")] = (
        "json"
    )


class StoredDocument(BaseModel):
    """An answer out of the store."""

    id: Id
    created_at: str
    reader: str
    source: str
    job: Id | None
    input_sha256: Sha256
    bundle_sha256: Sha256
    timings_ms: dict[str, float]
    prediction: PredictionDocument
    reviews: list[ReviewDocument]
    links: Links


class Page(BaseModel):
    """A page of the history, newest first."""

    predictions: list[StoredDocument]
    next: Annotated[str | None, Field(description="The address of the next page.")]


class JobDocument(BaseModel):
    """A batch and how far it is."""

    id: Id
    created_at: str
    state: Literal["running", "done", "canceled"]
    total: int
    answered: int
    failed: int
    links: dict[str, str]


class JobResult(BaseModel):
    """The answers of a batch, in the order of its files."""

    job: JobDocument
    results: list["JobItem"]


class JobItem(BaseModel):
    """One scan of a batch."""

    index: int
    id: Id
    input_sha256: Sha256
    prediction: PredictionDocument
    links: Links


class ModelDocument(BaseModel):
    """What answers here."""

    name: str
    version: str
    sha256: Sha256
    graph_sha256: Sha256
    atoms: list[str]
    input: JsonObject
    threshold: Probability
    threshold_choice: JsonObject
    abstention: dict[str, float]
    temperature: float
    self_test: str
    card: str
    notice: str


class Health(BaseModel):
    """Whether it lives, or is ready."""

    status: Literal["ok"]


class TensorData(BaseModel):
    """An input tensor of the Open Inference Protocol."""

    name: Literal["image"]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    parameters: JsonObject = {}
    data: Annotated[
        list[Any] | None, Field(description="Image files in base64; absent where sent as bytes.")
    ] = None


class RequestedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: JsonObject = {}


class InferRequest(BaseModel):
    """An inference request of the Open Inference Protocol v2."""

    id: Annotated[str, Field(max_length=200)] | None = None
    parameters: JsonObject = {}
    inputs: Annotated[list[TensorData], Field(min_length=1, max_length=1)]
    outputs: list[RequestedOutput] | None = None


TAGS = [
    {"name": "predict", "description": "Scans in, answers out."},
    {"name": "history", "description": "Answers that were given, and what readers say of them."},
    {"name": "model", "description": "What answers here, and how it does."},
    {"name": "v2", "description": "The Open Inference Protocol, for KServe and Triton clients."},
]
_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header")
# The middleware has checked the key before any of this runs: here it is only described.
KEYS = [Depends(_bearer), Depends(_header)]

PROBLEMS: Responses = {
    status: {
        "description": "A problem (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
    for status in ("4XX", "5XX")
}
PredictionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The id of an answer.")]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The id of a batch.")]
ReportFormat = Annotated[Literal["html", "pdf"], Query(description="The kind of file.")]


def inlined(model: type[BaseModel]) -> JsonObject:
    """Return the schema of a model with the ones it refers to inside; none may contain itself."""
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


def describe_upload(max_files: int) -> JsonObject:
    """Describe a form of files."""
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "array", "items": file, "minItems": 1, "maxItems": max_files}
        },
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema}}
    description = f"One slice a file, {max_files:,} files at most."
    return {"requestBody": {"required": True, "description": description, "content": content}}


def describe_file(description: str, *media_types: str) -> Responses:
    """Describe an answer that is a file."""
    schema = {"type": "string", "format": "binary"}
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {200: {"description": description, "content": content}}
