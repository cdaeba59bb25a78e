"""What a run found in each epoch, as a table beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tumorlens.files import read_table, write_table

HISTORY_FILE = "history.csv"
Row = Mapping[str, float]


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one row per epoch, whole or not at all."""
    rows = ({key: f"{value:.6g}" for key, value in row.items()} for row in history)
    write_table(path, list(history[0]), rows)


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote; no file is no epoch."""
    if not path.exists():
        return []
    return [{key: float(value) for key, value in row.items()} for row in read_table(path)]
