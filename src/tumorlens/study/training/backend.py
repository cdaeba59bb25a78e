"""How Keras runs: loaded without a noise, in the numbers that the processor is fast in."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGERS = ("absl", "tensorflow", "tf2onnx")
AUTO, FULL, HALF = "auto", "float32", "bfloat16"
_CPU_FACTS = Path("/proc/cpuinfo")


def load_backend() -> None:
    """Import Keras and its backend; they take many seconds, and stay loaded.

    What they log that is no error never reaches the user, here or in a process started later.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
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


@contextmanager
def precision(wanted: str) -> Iterator[str]:
    """Build layers inside in `wanted` precision; yields the policy that was taken.

    "bfloat16" multiplies in 16 bits and keeps weights in 32 (Micikevicius et al., 2018).
    "auto" takes it where the processor has tiles for it (AMX), as it is slower elsewhere.
    """
    import keras

    fast = wanted == HALF or (wanted == AUTO and _has_tiles())
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if fast else FULL)
    try:
        yield keras.config.dtype_policy().name
    finally:
        keras.config.set_dtype_policy(before)


def _has_tiles() -> bool:
    try:
        return "amx_bf16" in _CPU_FACTS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
