"""In which numbers a network is trained: those that the processor is fast in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras

AUTO, FULL, HALF = "auto", "float32", "bfloat16"
_CPU_FACTS = Path("/proc/cpuinfo")


@contextmanager
def precision(wanted: str) -> Iterator[str]:
    """Build layers inside in `wanted` precision; yields the policy that was taken.

    "bfloat16" multiplies in 16 bits and keeps weights in 32 (Micikevicius et al., 2018).
    "auto" takes it where the processor has tiles for it (AMX), as it is slower elsewhere.
    """
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
