"""Files that are whole or not there at all, and tables that no spreadsheet runs as formulas."""

import csv
import errno
import io
import os
import re
import secrets
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

Row = Mapping[str, object] | Sequence[object]
MAX_HEAD = 2**16  # bytes of the line that names the columns
DELIMITERS = ",;\t"  # spreadsheets write the last two where the comma is a decimal sign
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NEUTRALIZED = re.compile(r"'+[=+\-@\t\r]")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the place of `path` when the block ends well.

    A process that is killed in between leaves the old file, or none, and never half of one. Each
    call writes to a new file of its own: two runs do not mix, and no planted link is followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{short_name(path.name)}.{secrets.token_hex(8)}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def short_name(name: str, *, max_bytes: int = 200) -> str:
    """Cut a name to `max_bytes`, between characters: file systems take 255 for a whole one."""
    while len(os.fsencode(name)) > max_bytes:
        name = name[: max(1, len(name) * max_bytes // len(os.fsencode(name)) - 1)]
    return name


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole, a text as UTF-8, or leave what stood there.

    Of a name that is not UTF-8, "?" stands for what cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(
            content.encode(errors="replace") if isinstance(content, str) else content
        )


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

    Raises as `numbered_rows`.
    """
    return [row for _, row in numbered_rows(path, errors=errors)]


def numbered_rows(path: Path, *, errors: str = "strict") -> list[tuple[int, dict[str, str]]]:
    """Read a table as people keep it, whole; raises OSError, and what `rows_of` raises."""
    with open_file(path) as file:
        return list(rows_of(file, errors=errors))


def rows_of(file: BinaryIO, *, errors: str = "strict") -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table as people keep it, each with the number that a spreadsheet shows.

    UTF-8 or UTF-16; commas, semicolons or tabs; blanks around the names of columns and blank
    lines are passed over. Raises csv.Error where there is no such table, and with
    `errors="strict"` also UnicodeDecodeError where it is no text.
    """
    rows = _rows(file, errors)
    _, columns = next(rows, (0, []))
    names = [name.strip() for name in columns]
    for number, row in rows:
        yield number, {name: _given(cell) for name, cell in _paired(names, row) if name}


def read_columns(path: Path) -> list[str]:
    """Return the names of a table's columns as they stand there; raises as `numbered_rows`."""
    with open_file(path) as file:
        return next(_rows(io.BytesIO(file.readline(MAX_HEAD)), "strict"), (0, []))[1]


def _rows(file: BinaryIO, errors: str) -> Iterator[tuple[int, list[str]]]:
    is_wide = file.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE)
    file.seek(0)
    text = io.TextIOWrapper(file, "utf-16" if is_wide else "utf-8-sig", errors, newline="")
    head = next((line for line in text if line.strip()), "").lstrip()
    text.seek(0)
    reader = csv.reader(text, delimiter=max(DELIMITERS, key=head.count))
    return ((number, row) for number, row in enumerate(reader, start=1) if row)


def _paired(names: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(names, (*row, *[""] * len(names)), strict=False)


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; raises OSError for any other, and never waits for one."""
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes; a pipe or a device, which might never end, is not."""
    _check_regular(path, os.stat(path).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:  # what it is may have changed since
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


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
