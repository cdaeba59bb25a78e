"""Work in a process of its own, because only there a peak of memory is its own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError

STATUS = Path("/proc/self/status")


def in_own_process(
    function: Callable[..., Any], *arguments: Any, subject: str | Path
) -> tuple[Any, int | None]:
    """Call a function in a fresh process; give its result and its peak memory in bytes.

    The peak is None where the system does not tell. Function, arguments and result have to be
    picklable. Raises TrainingError, about `subject`, where the process is killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measured, function, arguments).result()
        except BrokenProcessPool as e:
            fact = "was ended from outside, most often for want of memory"
            fix = "Free memory or take a smaller batch, and repeat the command."
            raise TrainingError(subject, fact, fix) from e


def _measured(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, int | None]:  # fmt: skip
    result = function(*arguments)
    return result, peak_memory()


def peak_memory() -> int | None:
    """Give the most memory this process has held, in bytes; None where it cannot be known."""
    # Linux counts the parent into `ru_maxrss` of a fresh process, but not into this line.
    if STATUS.exists():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
