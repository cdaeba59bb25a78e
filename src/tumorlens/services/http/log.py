"""The log: one JSON object a line on standard error, with nothing of an upload in it."""

import json
import sys
from datetime import UTC, datetime
from typing import Any


def log(event: str, **facts: Any) -> None:
    """Write one line."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"at": at, "event": event, **facts}, default=str)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
