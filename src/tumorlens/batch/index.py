"""What is to be predicted: the rows of an index, or the scans found under a folder.

An index is a Parquet or CSV file with a column `path`. Three more columns are optional: `id` names
a row, `slices` says how many a file holds, and `series` which files belong together; with the last
two a file is not opened to plan it. Paths are relative to the folder of the index.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

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
from tumorlens.files import numbered_rows
from tumorlens.images.readers import (
    find_files,
    is_system_file,
    kinds_in_folder,
)
from tumorlens.losses import counted

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = (".csv", ".parquet")
COLUMNS = ("path", "id", "slices", "series")
MAX_NAMED = 3  # of rows in an error
TRIED = 100  # files of an index that are looked for before all of them are planned
_ADD_ID = "Leave one of them out, or give each row a name of its own in a column `id`."


@dataclass(frozen=True)
class Index:
    """Files in the order in which they were given: absolute paths or URLs."""

    paths: "pa.Array"  # bytes, as a file system has them
    ids: "pa.Array | None" = None  # text, each once; None: the path names a row
    slices: "pa.Array | None" = None  # whole numbers, null where not known
    series: "pa.Array | None" = None  # text, "" where not known
    passed_over: Mapping[str, int] = field(default_factory=dict)  # of a folder, by kind
    missing: int = 0  # of `tried` files of an index, how many are not there
    tried: int = 0

    def describe(self) -> str:
        """Return in words what was passed over, "" for nothing."""
        return ", ".join(counted(count, kind) for kind, count in self.passed_over.items())


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
    if not len(found.paths):
        raise BatchError(given, "holds no scans", "Name an index, or a folder with some.")
    return found


def _walk(given: str) -> Index:
    if is_remote(given):
        return _walk_remote(given)
    path = local_path(given)
    if not path.exists():
        raise BatchError(given, "is not there", "Name an index, a folder or a URL.")
    found = find_files([path])
    return Index(_encoded(map(str, found.scans)), passed_over=found.passed_over)


def _walk_remote(url: str) -> Index:
    """List the objects under a URL by the rules for folders."""
    with named_errors(url):
        system, inside = file_system(url)
        names = sorted(system.find(inside))
        kept, passed = _scans_of(names, inside)
        urls = [system.unstrip_protocol(name) for name in kept]
    return Index(_encoded(urls), passed_over=passed)


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


def _read_table(given: str) -> Index:
    columns, numbers = _columns(given)
    paths = columns["path"]
    empty = [number for number, path in zip(numbers, paths, strict=False) if not path]
    if empty:
        raise BatchError(given, f"names no path in {_rows(empty)}", "Fill the column, or drop it.")
    folder = parent_of(given)
    paths = [path if is_remote(path) else _beside(folder, path) for path in paths]
    _check_doubled(given, columns.get("id") or paths, numbers, is_id="id" in columns)
    missing, tried = _count_missing(paths)
    if tried and missing == tried:
        fact = f"names files that are not there: {tried} tried, first {paths[0]}"
        raise BatchError(given, fact, f"Paths are relative to {folder}.")
    return Index(
        _encoded(paths),
        ids=_text(columns["id"]) if "id" in columns else None,
        slices=_slices(given, columns["slices"], numbers) if "slices" in columns else None,
        series=_text(columns["series"]) if "series" in columns else None,
        missing=missing,
        tried=tried,
    )


def _columns(given: str) -> tuple[dict[str, list[Any]], Sequence[int]]:
    """Return the columns of an index, and the numbers by which people know its rows."""
    if given.lower().endswith(".parquet"):
        columns = _parquet_columns(given)
        numbers: Sequence[int] = range(1, len(next(iter(columns.values()), ())) + 1)
    else:
        numbers, columns = _csv_columns(given)
    if "path" not in columns:
        fact = f"has no column `path`, only {', '.join(columns) or 'none that is known'}"
        raise BatchError(given, fact, f"Name its columns {', '.join(COLUMNS)}; path must be there.")
    return columns, numbers


def _parquet_columns(given: str) -> dict[str, list[Any]]:
    arrow = load_arrow()
    try:
        with Folder(parent_of(given)).opened(PurePosixPath(given).name) as file:
            table = arrow.parquet.ParquetFile(file)
            held = [name for name in COLUMNS if name in table.schema_arrow.names]
            return {name: column.to_pylist() for name, column in
                    zip(held, table.read(held).columns, strict=True)}  # fmt: skip
    except arrow.ArrowInvalid as e:
        raise BatchError(given, f"is no Parquet file ({e})", "Write it again.") from e


def _csv_columns(given: str) -> tuple[Sequence[int], dict[str, list[Any]]]:
    import csv
    import tempfile

    try:
        if not is_remote(given):
            with named_errors(given):
                rows = numbered_rows(local_path(given), errors="surrogateescape")
        else:
            with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
                copy = Path(folder, "index.csv")
                copy.write_bytes(Folder(parent_of(given)).read(PurePosixPath(given).name))
                rows = numbered_rows(copy, errors="surrogateescape")
    except (csv.Error, UnicodeError) as e:
        raise BatchError(given, f"is no table ({e})", "Save it as CSV in UTF-8.") from e
    held = [name for name in COLUMNS if rows and name in rows[0][1]]
    return [n for n, _ in rows], {name: [row[name] for _, row in rows] for name in held}


def _beside(folder: str, path: str) -> str:
    if is_remote(folder):
        return path if path.startswith("/") else joined(folder, path)
    return os.path.abspath(os.path.join(folder, path.removeprefix("file://")))


def _check_doubled(given: str, names: list[str], numbers: Sequence[int], *, is_id: bool) -> None:
    if len(set(names)) == len(names):
        return
    counts = Counter(names)
    name = counts.most_common(1)[0][0]
    rows = [number for number, held in zip(numbers, names, strict=True) if held == name]
    lost = len(names) - len(counts)
    more = f", and {lost - len(rows) + 1:,} more rows" if lost > len(rows) - 1 else ""
    fact = f"holds {name or 'an empty id'} in {_rows(rows)}{more}: no row may stand twice"
    raise BatchError(given, fact, "Give each row another id." if is_id else _ADD_ID)


def _rows(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:MAX_NAMED]))
    more = len(numbers) - MAX_NAMED
    return (
        f"row{'s' if len(numbers) > 1 else ''} {named}{f' and {more:,} more' if more > 0 else ''}"
    )


def _count_missing(paths: Sequence[str]) -> tuple[int, int]:
    """Look for some files, evenly spread; returns how many are not there, of how many."""
    from concurrent.futures import ThreadPoolExecutor

    tried = [paths[len(paths) * n // TRIED] for n in range(TRIED)] if len(paths) > TRIED else paths
    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(_is_missing, tried)), len(tried)


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


def _slices(given: str, values: Iterable[Any], numbers: Sequence[int]) -> "pa.Array":
    arrow, found = load_arrow(), []
    for number, value in zip(numbers, values, strict=True):
        text = "" if value is None else str(value).strip()
        if text and not (text.isdecimal() and int(text) > 0):
            fact = f"holds {text!r} in the column `slices`, row {number}"
            raise BatchError(given, fact, "Give a whole number of at least 1, or nothing.")
        found.append(int(text) if text else None)
    return arrow.array(found, arrow.int32())


def _encoded(paths: Iterable[str]) -> "pa.Array":
    arrow = load_arrow()
    return arrow.array(map(os.fsencode, paths), arrow.large_binary())


def _text(values: Iterable[Any]) -> "pa.Array":
    arrow = load_arrow()
    return arrow.array(["" if v is None else as_text(str(v)) for v in values], arrow.large_string())


def as_text(name: str) -> str:
    r"""Return a name as a table of text can hold it.

    >>> as_text("a\udcff.png")
    'a\\xff.png'
    """
    return os.fsencode(name).decode(errors="backslashreplace")
