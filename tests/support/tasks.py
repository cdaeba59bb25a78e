"""Tasks for workers: functions of a module, which other processes can import."""

import os
import signal
from pathlib import Path

from tumorlens.progress import Progress


def double(number: int, progress: Progress) -> tuple[int, int]:
    """Return twice the number, and the process that did it."""
    progress(1, 1)
    return 2 * number, os.getpid()


def refuse(number: int, progress: Progress) -> int:
    """Raise for odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def be_killed_once(mark: Path, progress: Progress) -> str:
    """Be killed the first time, as by a system without memory."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def be_killed(_task: int, progress: Progress) -> None:
    """Be killed every time."""
    os.kill(os.getpid(), signal.SIGKILL)
