"""Files that are whole or not there at all, and tables that no spreadsheet runs as formulas."""

import csv
import io
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

Row = Mapping[str, object] | Sequence[object]
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NEUTRALIZED = re.compile(r"'+[=+\-@\t\r]")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of `path` when the block ends well.

    A process that is killed in between leaves the old file, or none, and never half of one. Each
    call writes to a new file of its own: two runs do not mix, and no planted link is followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # File systems take names of 255 bytes.
    partial = path.with_name(f"{path.name[:50]}.{secrets.token_hex(8)}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole, a text as UTF-8, or leave what stood there."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a CSV file whole, or leave what stood there; `read_table` reads it again.

    A row is a mapping, in which missing columns are empty, or a sequence in the order of
    `columns`. A text that a spreadsheet would run as a formula gets an apostrophe in front
    (OWASP, CSV injection); names that are not UTF-8 go in as they are.
    """
    with (
        replacing(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(_cells(columns, row) for row in rows)


def table_text(columns: Sequence[str], rows: Iterable[Row], *, head: bool = True) -> str:
    """Return the same table as text; without its `head`, what follows in a longer one."""
    text = io.StringIO()
    writer = csv.writer(text)
    if head:
        writer.writerow(columns)
    writer.writerows(_cells(columns, row) for row in rows)
    return text.getvalue()


def read_table(path: Path, *, errors: str = "surrogateescape") -> list[dict[str, str]]:
    """Read a table with a head, each cell as `write_table` was given it; cells that lack are "".

    Raises OSError or csv.Error where there is no such table, and with `errors="strict"` also
    UnicodeDecodeError where it is not UTF-8.
    """
    with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
        return [
            {name: _given(cell or "") for name, cell in row.items() if name}
            for row in csv.DictReader(file)
        ]


def _cells(columns: Sequence[str], row: Row) -> list[object]:
    values = [row.get(name, "") for name in columns] if isinstance(row, Mapping) else row
    return [_neutral(value) if isinstance(value, str) else value for value in values]


def _neutral(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _given(cell: str) -> str:
    return cell[1:] if _NEUTRALIZED.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
