"""A public set by its name: downloaded or taken from a mirror, verified, unpacked, arranged.

The folder appears under its name only when it is whole. `fetch.json` in it says what was fetched,
with the sha256 of every archive. A copy of that note stays beside a download in the cache: where a
publisher states no checksum, the one found at the first download is what later ones must have.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from urllib.parse import quote, urlsplit

import pooch

from tumorlens.errors import ArchiveError, CasesError, DownloadError
from tumorlens.images.archive import built_aside
from tumorlens.json_records import JsonObject, write_json
from tumorlens.progress import Steps, silent_steps
from tumorlens.study.data.datasets.arrange import Arranged, arrange
from tumorlens.study.data.datasets.download import download
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.registry import DATASETS, Archive, DatasetRow

NOTE = "fetch.json"
SCHEMA = 1


@dataclass(frozen=True)
class Fetched:
    """A set on disk, and how it got there."""

    folder: Path
    arranged: Arranged
    first_seen: Mapping[str, str]  # archive -> sha256, where nothing vouched for it before
    is_new: bool  # False: it was there already, whole


def find_row(name: str) -> DatasetRow:
    """Return the row of a set; raises DownloadError with the known names."""
    row = DATASETS.get(name.lower())
    if row is None:
        raise DownloadError(name, "is not a known data set", f"Known are {', '.join(DATASETS)}.")
    return row


def fetch(
    row: DatasetRow,
    to: Path,
    *,
    cache: Path,
    mirror: str | None = None,
    sha256: str | None = None,
    steps: Steps = silent_steps,
    today: date | None = None,
) -> Fetched:
    """Put a public set into the folder `to`, ready for `read_cases`.

    `mirror` is a folder with the archives, an archive, or an http(s) address they stand under;
    `sha256` pins the one archive of a set. A folder that is whole already is left as it is, and
    nothing is asked of the network. Raises DownloadError and ArchiveError.
    """
    row = _pinned(row, sha256)
    if (to / NOTE).is_file():
        return _already(row, to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        fix = "Name a new folder with --to."
        raise DownloadError(to, "exists, and is not a data set fetched before", fix)
    store = cache / "downloads" / row.name
    row = _vouched(row, store)
    day = today.isoformat() if today else None
    paths = [_obtain(row, archive, store, mirror=mirror, steps=steps) for archive in row.archives]
    with built_aside(to) as partial:
        with steps("unpacking") as report, _distrusting(row, paths, store):
            arranged = arrange(row, paths, partial, progress=report)
            _check_readable(partial, arranged)
        note = _note(row, paths, arranged, origin={"mirror": mirror, "fetched": day})
        write_json(note, partial / NOTE)
    if any(path.parent == store for path in paths):  # what lay in a mirror says nothing of a source
        write_json(note, store / NOTE)
    unseen = {archive.name for archive in row.archives if not archive.checksum}
    first = {one["name"]: one["sha256"] for one in note["archives"] if one["name"] in unseen}
    return Fetched(to, arranged, first, is_new=True)


def _pinned(row: DatasetRow, sha256: str | None) -> DatasetRow:
    """Let the user's sha256 stand above every other."""
    if sha256 is None:
        return row
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DownloadError(sha256, "is not a sha256", "Give its 64 hexadecimal digits.")
    if len(row.archives) != 1:
        fact = f"has {len(row.archives)} archives, and one sha256 was given"
        raise DownloadError(row.name, fact, "Leave --sha256 out: their checksums are published.")
    return _with_checksums(row, {row.archives[0].name: f"sha256:{sha256.lower()}"})


def _vouched(row: DatasetRow, store: Path) -> DatasetRow:
    """Hold archives without a published checksum against what an earlier fetch has found."""
    seen = _sha256s(_read(store / NOTE))
    known = {a.name: a.checksum or seen.get(a.name) for a in row.archives}
    return _with_checksums(row, known)


def _with_checksums(row: DatasetRow, checksums: Mapping[str, str | None]) -> DatasetRow:
    archives = tuple(replace(a, checksum=checksums.get(a.name, a.checksum)) for a in row.archives)
    return replace(row, archives=archives)


def _obtain(
    row: DatasetRow, archive: Archive, store: Path, *, mirror: str | None, steps: Steps
) -> Path:
    """Return the path of a verified archive, in the cache or in a mirror on this machine."""
    if mirror is None or urlsplit(mirror).scheme in ("http", "https"):
        url = archive.url if mirror is None else _address(row, archive, mirror)
        with steps(f"downloading {archive.name} (MiB)") as report:
            return download(
                url,
                store / archive.name,
                checksum=archive.checksum,
                progress=lambda done, total: report(done >> 20, total >> 20),
            )
    path = Path(mirror)
    path = path / archive.name if path.is_dir() or len(row.archives) > 1 else path
    if not path.is_file():
        fix = f"Name a folder that holds {', '.join(a.name for a in row.archives)}."
        raise DownloadError(path, "does not exist", fix)
    if not pooch.hashes.hash_matches(str(path), archive.checksum):
        fix = "It is damaged, or another version. If you know that it is right, pin it: --sha256."
        raise DownloadError(path, f"has not the checksum {archive.checksum}", fix)
    return path


def _address(row: DatasetRow, archive: Archive, mirror: str) -> str:
    if len(row.archives) == 1 and mirror.lower().endswith(".zip"):
        return mirror
    return f"{mirror.rstrip('/')}/{quote(archive.name)}"


@contextmanager
def _distrusting(row: DatasetRow, paths: Sequence[Path], store: Path) -> Iterator[None]:
    """Forget a download that nothing vouched for if it turns out to be no archive of the set."""
    try:
        yield
    except ArchiveError:
        for archive, path in zip(row.archives, paths, strict=True):
            if archive.checksum is None and path.parent == store:
                path.unlink(missing_ok=True)
        raise


def _check_readable(folder: Path, arranged: Arranged) -> None:
    """Make sure that the index finds every case, before the folder gets its name."""
    try:
        found = len(read_cases(folder))
    except CasesError as error:
        fact = f"cannot be read as cases: {error.fact}"
        raise ArchiveError(folder, fact, error.fix) from error
    if found != sum(arranged.cases.values()):
        raise ArchiveError(folder, f"has {found} cases of {dict(arranged.cases)}", "Report this.")


def _already(row: DatasetRow, to: Path) -> Fetched:
    note = _read(to / NOTE)
    if note.get("name") != row.name:
        fact = f"holds the data set {note.get('name')!r}, not {row.name}"
        raise DownloadError(to, fact, "Name a new folder with --to.")
    again = "Move it away and fetch again; what was downloaded is kept."
    for archive in row.archives:
        found = _sha256s(note).get(archive.name)
        if (archive.checksum or "").startswith("sha256:") and archive.checksum != found:
            fact = f"was made from {archive.name} with {found}, not {archive.checksum}"
            raise DownloadError(to, fact, again)
    try:
        read_cases(to)
    except CasesError as error:
        raise DownloadError(to, f"is no longer whole: {error.fact}", again) from error
    arranged = Arranged(note["cases"], note["left_out"], tuple(note["missing"]))
    return Fetched(to, arranged, {}, is_new=False)


def _note(
    row: DatasetRow, paths: Sequence[Path], arranged: Arranged, *, origin: JsonObject
) -> JsonObject:
    return {
        "schema": SCHEMA,
        "name": row.name,
        "title": row.title,
        "url": row.url,
        "license": row.license,
        "citation": row.citation,
        **origin,
        "archives": [
            {
                "name": archive.name,
                "url": archive.url,
                "sha256": pooch.file_hash(str(path)),
                "bytes": path.stat().st_size,
                "expected": archive.checksum,
            }
            for archive, path in zip(row.archives, paths, strict=True)
        ],
        "cases": dict(arranged.cases),
        "left_out": dict(arranged.left_out),
        "missing": list(arranged.missing),
    }


def _sha256s(note: JsonObject) -> dict[str, str]:
    return {one["name"]: f"sha256:{one['sha256']}" for one in note.get("archives", ())}


def _read(path: Path) -> JsonObject:
    """Read a note, or {} where there is none; raises DownloadError for one that was altered."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _altered(path) from error
    needed = {"name", "archives", "cases", "left_out", "missing"}
    if not isinstance(note, dict) or not needed <= set(note):
        raise _altered(path)
    return note


def _altered(path: Path) -> DownloadError:
    return DownloadError(path, "is not a note of a fetch", "Move it away and fetch again.")
