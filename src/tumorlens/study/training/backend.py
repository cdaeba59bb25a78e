"""Loading Keras without the lines its backend writes past Python's logging."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def load_backend() -> None:
    """Import Keras and its backend; they take many seconds, and stay loaded."""
    with _native_stderr_silenced():
        import keras

        keras.backend.backend()


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Send file descriptor 2 nowhere for a moment; exceptions still come through."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
