"""Waiting for what another thread or process brings about, without a guess how long it takes."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0  # on a machine with much else to do


def wait_until(holds: Callable[[], object], what: str = "it to hold") -> None:
    """Return once it holds; fail where it does not in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)
