"""Folders and files on a disk or an object store: a path, or a URL that fsspec knows.

Credentials are what the environment holds (AWS_PROFILE, a role of the machine and so on); nothing
of them is written. What a store refuses becomes a StorageError, which names the store and the fix.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tumorlens.errors import MissingExtraError, StorageError
from tumorlens.files import open_file, replacing, write_file

_PACKAGES = {"s3": "tumorlens[scale]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs",
             "abfs": "adlfs"}  # what to install for a URL  # fmt: skip
# Whose errors are no OSError; each driver of fsspec brings its own.
_DRIVERS = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "fsspec", "requests")
_CREDENTIALS = "Check the credentials in your environment, and what they may read and write."
_AGAIN = "Run it again once the store answers: what is done stays."
_SPACE = "Free space and run it again: what is done stays."


def is_remote(path: str | Path) -> bool:
    """Tell whether a path is the URL of an object store."""
    return "://" in str(path) and not str(path).startswith("file://")


def local_path(path: str | Path) -> Path:
    """Return the path that file://PATH or a plain path names, from the root."""
    return Path(os.path.abspath(str(path).removeprefix("file://")))


def joined(folder: str, name: str) -> str:
    """Return the path of a file in a folder, of either kind."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder, name))


def parent_of(path: str) -> str:
    """Return the folder that holds a file, of either kind."""
    return path.rpartition("/")[0] if is_remote(path) else str(local_path(path).parent)


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, one for all threads of a process, and the path in it.

    Raises MissingExtraError where the package for it is not installed.
    """
    protocol = url.partition("://")[0]
    package = _PACKAGES.get(protocol, "tumorlens[scale]")
    try:
        import fsspec

        kind = fsspec.get_filesystem_class(protocol)
        options = kind._get_kwargs_from_urls(url)  # such as the account of an abfs:// URL
        system = open_system(protocol, os.getpid(), tuple(sorted(options.items())))
        return system, kind._strip_protocol(url)
    except ImportError as e:
        fact = f"needs {getattr(e, 'name', None) or protocol}, which is not installed"
        raise MissingExtraError(url, fact, f'Install it: pip install "{package}".') from e
    except ValueError as e:
        fix = "Name a path, or a URL such as s3://BUCKET/FOLDER."
        raise StorageError(url, f"cannot be used ({e})", fix) from e


@lru_cache
def open_system(protocol: str, _process: int, options: tuple[tuple[str, Any], ...]) -> Any:
    """Open a file system once a process: fsspec itself opens one for each thread."""
    import fsspec

    return fsspec.filesystem(protocol, **dict(options))


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Name the path, the fact and the fix in whatever a disk or store raises."""
    try:
        yield
    except Exception as e:
        if not isinstance(e, OSError) and type(e).__module__.split(".")[0] not in _DRIVERS:
            raise
        raise _storage_error(path, e) from e


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error says that a disk or a quota is full, or that a file may not grow."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def concerns_one_file(error: StorageError) -> bool:
    """Tell whether a store answered about one file: it is not there, or may not be read.

    A full disk, and a store that cannot be reached or is too slow, concern all files alike.
    """
    cause = error.__cause__
    is_answer = isinstance(cause, OSError) and not isinstance(cause, TimeoutError | ConnectionError)
    return is_answer and not is_full(cause)


def _storage_error(path: str, error: Exception) -> StorageError:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    reason = text.splitlines()[0][:200]
    if isinstance(error, FileNotFoundError):
        return StorageError(path, f"is not there ({reason})", "Check the name of it.")
    if isinstance(error, PermissionError) or "redential" in f"{type(error).__name__} {reason}":
        return StorageError(path, f"refuses access ({reason})", _CREDENTIALS)
    if is_full(error):
        return StorageError(path, f"has no space left ({reason})", _SPACE)
    return StorageError(path, f"cannot be read or written ({reason})", _AGAIN)


@dataclass(frozen=True)
class Folder:
    """A folder on a disk or an object store, whose files are whole or not there."""

    url: str

    def __post_init__(self) -> None:
        """Make a local path absolute: workers may run in other folders."""
        if not is_remote(self.url):
            object.__setattr__(self, "url", str(local_path(self.url)))

    def path(self, name: str) -> str:
        """Return the path of a file in it."""
        return joined(self.url, name)

    def read(self, name: str) -> bytes:
        """Return a file; raises StorageError where it is not there or cannot be read."""
        path = self.path(name)
        with named_errors(path):
            if not is_remote(path):
                return local_path(path).read_bytes()
            system, inside = file_system(path)
            return system.cat_file(inside)

    def write(self, name: str, data: bytes) -> None:
        """Write a file by another name and rename it; on an object store by one PUT."""
        path = self.path(name)
        with named_errors(path):
            if is_remote(path):
                system, inside = file_system(path)
                system.pipe_file(inside, data)
            else:
                write_file(local_path(path), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that is not there yet; returns whether it was not."""
        path = self.path(name)
        with named_errors(path):
            if not is_remote(path):
                is_new = not local_path(path).exists()
                if is_new:
                    write_file(local_path(path), data)
                return is_new
            system, inside = file_system(path)
            try:
                system.pipe_file(inside, data, mode="create")
            except FileExistsError:
                return False
            return True

    def upload(self, name: str, file: Path) -> None:
        """Copy a local file into it, whole or not at all."""
        path = self.path(name)
        with named_errors(path):
            if is_remote(path):
                system, inside = file_system(path)
                system.put_file(str(file), inside)
            else:
                with replacing(local_path(path)) as partial:
                    shutil.copyfile(file, partial)

    @contextmanager
    def opened(self, name: str, *, in_order: bool = False) -> Iterator[Any]:
        """Open a file to read parts of it, or all of it `in_order`."""
        path = self.path(name)
        with named_errors(path):
            if is_remote(path):
                system, inside = file_system(path)
                # Readers of Parquet know where they read; what lies between is not fetched.
                cache = "readahead" if in_order else "none"
                with system.open(inside, "rb", cache_type=cache) as file:
                    yield file
            else:
                with open_file(local_path(path)) as file:
                    yield file

    def remove(self, name: str) -> None:
        """Remove a file of a local folder, if it is still there."""
        with named_errors(self.path(name)):
            local_path(self.path(name)).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """List the names of the files in a folder of it, sorted; none where it is not there."""
        path = self.path(folder)
        with named_errors(path):
            if not is_remote(path):
                found = local_path(path)
                return sorted(os.listdir(found)) if found.is_dir() else []
            system, inside = file_system(path)
            system.invalidate_cache(inside)
            try:
                listed = system.ls(inside, detail=False)
            except FileNotFoundError:
                return []
            return sorted(PurePosixPath(name).name for name in listed)
