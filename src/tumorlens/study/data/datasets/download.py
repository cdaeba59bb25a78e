"""One file over HTTP, into a cache: resumed where it broke off, verified before it counts.

pooch keeps the cache and checks the checksum. It starts a broken download anew, so the transfer
itself is a downloader of our own: what has arrived stays in `<name>.part`, beside a note of where
it is from, and the next try, or the next run, asks for the rest only.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pooch
import requests

from tumorlens import __version__
from tumorlens.errors import DownloadError
from tumorlens.progress import Progress, silent

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
TIMEOUT = (20, 60)  # seconds to connect, and between two pieces
PIECE = 2**16  # bytes; what of one has arrived when a connection breaks is lost
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_OTHERWISE = "Check the network, or get the archive elsewhere and name its folder with --from DIR."


@dataclass(frozen=True)
class _Note:
    """What a half file is the beginning of."""

    url: str
    validator: str  # of the server: an ETag or a date; "" where it gave none
    total: int  # bytes; 0 where it did not say


class _BrokenError(Exception):
    """A transfer that may go on if it is asked for again."""


def download(
    url: str,
    out: Path,
    *,
    checksum: str | None = None,
    progress: Progress = silent,
    waits: Sequence[float] = WAITS,
    sleep: Callable[[float], object] = time.sleep,
) -> Path:
    """Download a file unless it is there already with this checksum; return `out`.

    `checksum` is "md5:<hex>" or "sha256:<hex>"; without one, a file that is there is taken.
    `progress` is told bytes done and bytes in all. Raises DownloadError; a file with another
    checksum is deleted.
    """
    pooch.get_logger().setLevel("WARNING")
    transfer = partial(_transfer, part=out.with_name(out.name + ".part"), progress=progress,
                       waits=waits, sleep=sleep)  # fmt: skip
    try:
        pooch.retrieve(url, checksum, fname=out.name, path=out.parent, downloader=transfer)
    except requests.RequestException as error:
        raise DownloadError(url, f"cannot be downloaded ({error})", _OTHERWISE) from error
    except ValueError as error:
        found = re.search(r"but got (\w+)", str(error))
        fact = f"has the checksum {found[1] if found else '?'} instead of {checksum}"
        fix = ("Its publisher has changed it, or it was altered on the way. If you know that it is "
               "right, pin it with --sha256.")  # fmt: skip
        raise DownloadError(url, fact, fix) from error
    return out


def _transfer(
    url: str,
    output_file: str,
    _pooch: Any,
    *,
    part: Path,
    progress: Progress,
    waits: Sequence[float],
    sleep: Callable[[float], object],
) -> None:
    """Fill `part`, over as many tries as it takes, and move it to where pooch wants it."""
    farthest = tries = 0
    while True:
        try:
            _get_rest(url, part, progress)
            break
        except (_BrokenError, requests.ConnectionError, requests.Timeout,
                requests.exceptions.ChunkedEncodingError) as error:  # fmt: skip
            arrived = _size(part)
            if arrived > farthest:
                farthest, tries = arrived, 0
            if tries == len(waits):
                what = f"broke off after {arrived:,} bytes" if arrived else "cannot be downloaded"
                fact = f"{what} ({_reason(error)})"
                raise DownloadError(url, fact, _OTHERWISE) from error
            sleep(waits[tries])
            tries += 1
    _note(part).unlink(missing_ok=True)
    part.replace(output_file)


def _get_rest(url: str, part: Path, progress: Progress) -> None:
    known = _read_note(part, url)
    done = _size(part) if known else 0
    with requests.get(url, headers=_headers(known, done), stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _range(answer)[1] == done > 0:
                return
            part.unlink(missing_ok=True)
            raise _BrokenError("the rest was refused")
        _check_status(url, answer)
        start, total = _range(answer)
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            length = answer.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else 0
        elif start != done or (known and known.total not in (0, total)):
            part.unlink(missing_ok=True)
            raise _BrokenError("another part was sent than was asked for")
        _check_space(part, total - start)
        if not start:  # before the note, which would vouch for what it is not about
            part.unlink(missing_ok=True)
        _write_note(part, url, answer.headers, total)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                progress(file.tell(), max(total, file.tell()))
        if _size(part) < total:
            raise _BrokenError("the connection was closed early")


def _headers(known: _Note | None, done: int) -> dict[str, str]:
    headers = {"User-Agent": f"tumorlens/{__version__}", "Accept-Encoding": "identity"}
    if known and done:
        headers["Range"] = f"bytes={done}-"
        if known.validator:
            headers["If-Range"] = known.validator
    return headers


def _check_status(url: str, answer: requests.Response) -> None:
    if answer.status_code in _RETRIED:
        raise _BrokenError(f"the server answered {answer.status_code} {answer.reason}")
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        fact = f"cannot be downloaded (the server answered {answer.status_code} {answer.reason})"
        raise DownloadError(url, fact, _OTHERWISE)
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(url, "answers with a web page instead of the file", _OTHERWISE)


def _range(answer: requests.Response) -> tuple[int, int]:
    """Return the first byte sent and the size of the whole file, 0 where it is not said."""
    found = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if not found:
        return 0, 0
    return int(found[1] or 0), int(found[2]) if found[2] != "*" else 0


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        fact = f"has {free / 2**20:,.0f} MiB free, and {needed / 2**20:,.0f} MiB are needed"
        raise DownloadError(part.parent, fact, "Free some, or set TUMORLENS_CACHE to another disk.")


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, url: str) -> _Note | None:
    """Return what `part` is the beginning of; None if it may be of something else."""
    try:
        note = _Note(**json.loads(_note(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return note if note.url == url else None


def _write_note(part: Path, url: str, headers: Mapping[str, str], total: int) -> None:
    tag = headers.get("ETag", "")
    # A weak tag says that two files are alike, not that their bytes are (RFC 9110, 13.1.5).
    validator = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    note = _Note(url, validator, total)
    _note(part).write_text(json.dumps(asdict(note)), encoding="utf-8")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _reason(error: BaseException) -> str:
    # requests wraps what happened in what it was doing; the innermost says it shortest.
    inner = error.__cause__ or error.__context__
    return _reason(inner) if inner else str(error) or type(error).__name__
