"""A process that is stopped while it writes."""

from pathlib import Path

import pytest


def stop_before_rename(monkeypatch: pytest.MonkeyPatch, *, done: int) -> None:
    """Raise KeyboardInterrupt before a file takes its place, once `done` of them have."""
    calls, rename = [], Path.replace

    def stopping(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) > done:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", stopping)
