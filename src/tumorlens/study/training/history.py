"""What a run found in each epoch, as a table beside it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tumorlens.files import replacing_table

HISTORY_FILE = "history.csv"
Row = Mapping[str, float]


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one row per epoch, whole or not at all."""
    with replacing_table(path) as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        for row in history:
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote; no file is no epoch."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
