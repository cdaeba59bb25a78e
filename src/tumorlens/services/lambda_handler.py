"""One scan a call on AWS Lambda: the same Predictor, the same document.

Set the function's handler to `tumorlens.services.lambda_handler.handler`. The body of the request
is an image file (Function URL or API Gateway, payload 1.0 or 2.0; binary bodies arrive in base64).
Nothing is stored. The predictor is loaded at the first call and lives as long as its container.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tumorlens.errors import ImageTooLargeError
from tumorlens.predictions.document import to_json
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.records import Unusable
from tumorlens.settings import load_settings

Reply = dict[str, object]
PROBLEM = "application/problem+json"


def handler(event: Mapping[str, Any], context: object = None) -> Reply:
    """Answer one call; an unusable body is a problem (RFC 9457), never an exception."""
    try:
        data = _body(event)
        predictor = _predictor()
        name = f"scan-{hashlib.sha256(data).hexdigest()[:12]}"
        ready = predictor.prepare_bytes(data, source=name)
    except (binascii.Error, ValueError):
        return _problem(400, "The body cannot be read", "Send an image file as the body.")
    if isinstance(ready, Unusable):
        status = 413 if isinstance(ready.error, ImageTooLargeError) else 422
        return _problem(status, "The scan cannot be used", ready.reason)
    return _reply(200, to_json(predictor.predict_prepared([ready])[0]), "application/json")


@cache
def _predictor() -> Predictor:
    return load_predictor(settings=load_settings(workers=1))


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not isinstance(body, str):
        raise ValueError("a body is text, or base64")
    if event.get("isBase64Encoded"):
        return base64.b64decode(body, validate=True)
    return body.encode("latin-1")


def _problem(status: int, title: str, detail: str) -> Reply:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return _reply(status, json.dumps(document), PROBLEM)


def _reply(status: int, body: str, media_type: str) -> Reply:
    headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
