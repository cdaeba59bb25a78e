"""What is to be predicted: the rows of an index, or the scans found under a folder.

An index is a Parquet or CSV file with a column `path`. Three more columns are optional: `id` names
a row, `slices` says how many a file holds, and `series` which files belong together; with the last
two a file is not opened to plan it. Paths are relative to the folder of the index.
"""

import csv
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from tumorlens.batch.storage import (
    Folder,
    file_system,
    is_remote,
    joined,
    local_path,
    named_errors,
    parent_of,
)
from tumorlens.errors import BatchError, MissingExtraError
from tumorlens.files import rows_of
from tumorlens.images.readers import (
    find_files,
    is_system_file,
    kinds_in_folder,
)

Cells = Mapping[str, Any]  # of a row, by column
TABLES = (".csv", ".parquet")
COLUMNS = ("path", "id", "slices", "series")
MAX_NAMED = 3  # of rows in an error
TRIED = 100  # files of an index that are looked for before all of them are planned
AT_ONCE = 2**16  # rows of a Parquet file
_ADD_ID = "Leave one of them out, or give each row a name of its own in a column `id`."


class IndexRow(NamedTuple):
    """A file to be predicted."""

    number: int  # by which people know the row
    path: str  # absolute, or a URL
    id: str  # what its answers are named by; without a column `id` the path
    slices: int | None = None  # None: not known
    series: str = ""  # "": not known


@dataclass(frozen=True)
class Index:
    """Files in the order in which they were given.

    The rows of a table are read again whenever they are asked for, and never all held.
    """

    count: int
    rows: Callable[[], Iterator[IndexRow]]
    passed_over: Mapping[str, int] = field(default_factory=dict)  # of a folder, by kind
    missing: int = 0  # of `tried` files of an index, how many are not there
    tried: int = 0


def load_arrow() -> Any:
    """Import pyarrow; raises MissingExtraError where it is not installed.

    Files are read with `use_threads=False`: threads of pyarrow that read through a Python file now
    and then abort a process that has done its work (apache/arrow issue 34314).
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ModuleNotFoundError as e:
        fix = 'Install it: pip install "tumorlens[scale]".'
        raise MissingExtraError("pyarrow", "is not installed", fix) from e
    return pyarrow


def read_index(given: str) -> Index:
    """Read an index, or look for scans under a folder, a bucket or in one file.

    Raises BatchError where there is nothing, where a row names no path, or where two rows are one.
    """
    suffix = PurePosixPath(given).suffix.lower()
    found = _read_table(given) if suffix in TABLES else _walk(given)
    if not found.count:
        raise BatchError(given, "holds no scans", "Name an index, or a folder with some.")
    return found


def _walk(given: str) -> Index:
    if is_remote(given):
        return _walk_remote(given)
    path = local_path(given)
    if not path.exists():
        raise BatchError(given, "is not there", "Name an index, a folder or a URL.")
    found = find_files([path])
    return _listed(list(map(str, found.scans)), found.passed_over)


def _walk_remote(url: str) -> Index:
    """List the objects under a URL by the rules for folders."""
    with named_errors(url):
        system, inside = file_system(url)
        names = sorted(system.find(inside))
        kept, passed = _scans_of(names, inside)
        urls = [system.unstrip_protocol(name) for name in kept]
    return _listed(urls, passed)


def _listed(paths: Sequence[str], passed_over: Mapping[str, int]) -> Index:
    def rows() -> Iterator[IndexRow]:
        return (IndexRow(n, path, as_text(path)) for n, path in enumerate(paths, start=1))

    return Index(len(paths), rows, passed_over)


def _scans_of(names: Sequence[str], top: str) -> tuple[list[str], dict[str, int]]:
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, file = name.rpartition("/")
        folders[folder].append(file)
    kept: list[str] = []
    passed: Counter[str] = Counter()
    for folder, files in folders.items():
        above = PurePosixPath(folder.removeprefix(top)).parts
        if any(part != "/" and (is_system_file(part) or part.startswith(".")) for part in above):
            continue
        kinds = kinds_in_folder(files)
        passed.update(kind for kind in kinds.values() if kind)
        kept += [f"{folder}/{file}" for file in files if kinds.get(file) == "" and file]
    return kept, dict(sorted(passed.items()))


@dataclass(frozen=True)
class _Table:
    """An index as it is stored: of each row the number by which people know it, and its cells."""

    columns: Sequence[str]  # those of COLUMNS that it has
    count: int
    rows: Callable[[], Iterator[tuple[int, Cells]]]


def _read_table(given: str) -> Index:
    read = _open_parquet if given.lower().endswith(".parquet") else _open_csv
    table = read(given)
    if "path" not in table.columns:
        fact = f"has no column `path`, only {', '.join(table.columns) or 'none that is known'}"
        raise BatchError(given, fact, f"Name its columns {', '.join(COLUMNS)}; path must be there.")
    rows = partial(_rows_of, table, given)
    has_ids = "id" in table.columns
    tried = _check_rows(given, rows, table.count, has_ids=has_ids)
    missing = _count_missing(tried)
    if tried and missing == len(tried):
        fact = f"names files that are not there: {missing} tried, first {tried[0]}"
        raise BatchError(given, fact, f"Paths are relative to {parent_of(given)}.")
    return Index(table.count, rows, missing=missing, tried=len(tried))


def _rows_of(table: _Table, given: str) -> Iterator[IndexRow]:
    folder = parent_of(given)
    for number, cells in table.rows():
        named = cells["path"] or ""
        path = named if not named or is_remote(named) else _beside(folder, named)
        yield IndexRow(
            number,
            path,
            _text(cells["id"]) if "id" in cells else as_text(path),
            _slices(given, cells.get("slices"), number),
            _text(cells.get("series")),
        )


def _open_parquet(given: str) -> _Table:
    arrow = load_arrow()
    folder, name = Folder(parent_of(given)), PurePosixPath(given).name
    try:
        with folder.opened(name) as file:
            table = arrow.parquet.ParquetFile(file)
            held = [name for name in COLUMNS if name in table.schema_arrow.names]
            count = table.metadata.num_rows
    except arrow.ArrowInvalid as e:
        raise BatchError(given, f"is no Parquet file ({e})", "Write it again.") from e

    def rows() -> Iterator[tuple[int, Cells]]:
        with folder.opened(name) as file:
            parts = arrow.parquet.ParquetFile(file).iter_batches(
                AT_ONCE, columns=held, use_threads=False
            )
            yield from enumerate((cells for part in parts for cells in part.to_pylist()), start=1)

    return _Table(held, count, rows)


def _open_csv(given: str) -> _Table:
    folder, name = Folder(parent_of(given)), PurePosixPath(given).name

    def rows() -> Iterator[tuple[int, Cells]]:
        try:
            with folder.opened(name, in_order=True) as file:
                yield from rows_of(file, errors="surrogateescape")
        except (csv.Error, UnicodeError) as e:
            raise BatchError(given, f"is no table ({e})", "Save it as CSV in UTF-8.") from e

    read = rows()
    _, first = next(read, (0, {}))
    count = bool(first) + sum(1 for _ in read)
    return _Table([name for name in COLUMNS if name in first], count, rows)


def _beside(folder: str, path: str) -> str:
    if is_remote(folder):
        return path if path.startswith("/") else joined(folder, path)
    return os.path.abspath(os.path.join(folder, path.removeprefix("file://")))


def _check_rows(
    given: str, rows: Callable[[], Iterator[IndexRow]], count: int, *, has_ids: bool
) -> list[str]:
    """Refuse rows without a path, and rows that are one; returns some paths, evenly spread."""
    wanted = {count * n // TRIED for n in range(TRIED)}
    empty: list[int] = []
    tried: list[str] = []
    hashes = array("q")  # of 10,000,000 rows 80 MB
    for at, row in enumerate(rows()):
        if not row.path:
            empty.append(row.number)
        if at in wanted:
            tried.append(row.path)
        hashes.append(hash(row.id if has_ids else row.path))
    if empty:
        raise BatchError(given, f"names no path in {_rows(empty)}", "Fill the column, or drop it.")
    ordered = np.sort(np.asarray(hashes))
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(doubled):
        _check_doubled(given, rows, set(doubled.tolist()), has_ids=has_ids)
    return tried


def _check_doubled(
    given: str, rows: Callable[[], Iterator[IndexRow]], hashes: set[int], *, has_ids: bool
) -> None:
    """Look whether rows of one hash have one name."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows():
        name = row.id if has_ids else row.path
        if hash(name) in hashes:
            numbers[name].append(row.number)
    name, found = max(numbers.items(), key=lambda row: len(row[1]))
    if len(found) == 1:
        return
    others = sum(map(len, numbers.values())) - len(numbers) - len(found) + 1
    more = f", and {others:,} more rows" if others else ""
    fact = f"holds {name or 'an empty id'} in {_rows(found)}{more}: no row may stand twice"
    raise BatchError(given, fact, "Give each row another id." if has_ids else _ADD_ID)


def _rows(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:MAX_NAMED]))
    more = len(numbers) - MAX_NAMED
    return (
        f"row{'s' if len(numbers) > 1 else ''} {named}{f' and {more:,} more' if more > 0 else ''}"
    )


def _count_missing(paths: Sequence[str]) -> int:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(_is_missing, paths))


def _is_missing(path: str) -> bool:
    if not is_remote(path):
        return not os.path.lexists(path)
    with named_errors(path):
        system, inside = file_system(path)
        try:
            system.info(inside)
        except FileNotFoundError:
            return True
    return False


def _slices(given: str, value: Any, number: int) -> int | None:
    text = _text(value).strip()
    if text and not (text.isdecimal() and int(text) > 0):
        fact = f"holds {text!r} in the column `slices`, row {number}"
        raise BatchError(given, fact, "Give a whole number of at least 1, or nothing.")
    return int(text) if text else None


def _text(value: Any) -> str:
    return "" if value is None else as_text(str(value))


def as_text(name: str) -> str:
    r"""Return a name as a table of text can hold it.

    >>> as_text("a\udcff.png")
    'a\\xff.png'
    """
    return os.fsencode(name).decode(errors="backslashreplace")
