"""The log: one JSON object a line on standard error, with nothing of an upload in it."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


def log(event: str, **facts: Any) -> None:
    """Write one line."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"at": at, "event": event, **facts}, default=str)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _Lines(logging.Handler):
    """Writes what a library logs in the same form; of an exception, only its type."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        kind = record.exc_info[0] if record.exc_info else None
        named = {} if kind is None else {"error": kind.__name__}
        log("server", level=record.levelname.lower(), text=record.getMessage().strip(), **named)


def log_library(name: str) -> None:
    """Bring the warnings of a library into this log."""
    logger = logging.getLogger(name)
    logger.handlers = [_Lines()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
