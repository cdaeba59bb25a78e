"""One frozen Settings: defaults < environment < flags."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tumorlens.errors import SettingsError

ENVIRONMENT_PREFIX = "TUMORLENS_"
_MIN = {
    "workers": 0,
    "batch": 1,
    "max_bytes": 1,
    "max_pixels": 1,
    "max_volume_bytes": 1,
    "max_volume_pixels": 1,
    "volume": -1,
    "retention_days": 0,
    "queue": 1,
    "requests_per_minute": 1,
    "max_request_bytes": 1,
    "max_files": 1,
    "receive_seconds": 1,
    "max_request_pixels": 1,
    "decode_seconds": 1,
    "max_jobs": 1,
    "spool_mib": 1,
}
_YES_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class ReadLimits:
    """What is read of a file, and what it may have at most before it is refused."""

    max_bytes: int = 64 * 2**20  # of one file
    max_pixels: int = 40_000_000  # of one image, checked before decoding
    max_volume_bytes: int = 512 * 2**20  # of one file that holds a volume, unpacked
    max_volume_pixels: int = 128_000_000  # of all slices of a file
    volume: int = -1  # which of a file with several, from 0; below: none was chosen


@dataclass(frozen=True)
class Settings:
    """Limits and places; each can be set as TUMORLENS_<NAME>, and most by a flag."""

    bundle: str = ""  # a folder; empty: the shipped one
    cache: str = ""  # prepared images; empty: the user's cache folder
    workers: int = 0  # prediction threads; 0: one per core
    batch: int = 32  # scans per network call
    max_bytes: int = ReadLimits.max_bytes
    max_pixels: int = ReadLimits.max_pixels
    max_volume_bytes: int = ReadLimits.max_volume_bytes
    max_volume_pixels: int = ReadLimits.max_volume_pixels
    volume: int = ReadLimits.volume
    # Of services:
    store: str = ""  # a file or postgresql:// URL; empty: a file in the user's data folder
    audit_key: str = ""  # signs the audit trail: 64 hex digits, or a file that holds them
    audit_heads: str = ""  # a file, best elsewhere, to which the end of the trail is added hourly
    keep_images: bool = False  # the prepared image with each answer; the scan never
    keep_names: bool = False  # names of uploaded files, which may name patients
    retention_days: int = 0  # after which answers are removed; 0: never
    queue: int = 64  # requests that may wait for a worker; more are sent away
    requests_per_minute: int = 6000  # of one key
    max_request_bytes: int = 32 * 2**20  # of one request, with all its files
    max_files: int = 1000  # of one request
    max_request_pixels: int = 512_000_000  # of all images of one request together
    max_jobs: int = 8  # unfinished batches of one key
    decode_seconds: int = 5  # of processor time for one file of the largest size
    receive_seconds: int = 30  # in which a request has to arrive whole
    spool: str = ""  # folder of a DICOM node, into which STOW-RS stores; empty: it is not taken
    spool_mib: int = 50 * 1024  # that it may hold
    # Of the dashboard:
    studies: str = ""  # folders whose records are shown, joined as in PATH
    worklists: str = ""  # folder of worklists that readers keep; empty: in the user's data folder
    bench_data: str = ""  # labeled folders on which the bench may be started, the same

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the name of the setting."""
        for name, minimum in _MIN.items():
            if getattr(self, name) < minimum:
                fix = f"Give a whole number of at least {minimum}."
                raise SettingsError(name, f"{getattr(self, name)} is below {minimum}", fix)

    @property
    def read_limits(self) -> ReadLimits:
        """What files may have at most."""
        return ReadLimits(
            self.max_bytes,
            self.max_pixels,
            self.max_volume_bytes,
            self.max_volume_pixels,
            self.volume,
        )

    @property
    def cache_folder(self) -> Path:
        """Where prepared images are kept."""
        if self.cache:
            return Path(self.cache)
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "tumorlens"

    @property
    def worklist_folder(self) -> Path:
        """Where worklists lie that readers chose to keep."""
        home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(self.worklists) if self.worklists else Path(home) / "tumorlens" / "worklists"

    @property
    def study_folders(self) -> tuple[Path, ...]:
        """Where the dashboard looks for what the bench wrote."""
        return tuple(Path(part) for part in self.studies.split(os.pathsep) if part)

    @property
    def bench_folders(self) -> tuple[Path, ...]:
        """On what the dashboard may start the bench."""
        return tuple(Path(part) for part in self.bench_data.split(os.pathsep) if part)

    @property
    def worker_count(self) -> int:
        """Threads to use, after 0 has been read as "one per core"."""
        return self.workers or os.cpu_count() or 1


def load_settings(environment: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Read settings from the environment, then let flags that are not None win.

    Raises SettingsError for a value that is not a number where one is needed.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, Any] = {}
    for field in fields(Settings):
        text = environment.get(ENVIRONMENT_PREFIX + field.name.upper())
        if text:
            found[field.name] = _parsed(ENVIRONMENT_PREFIX + field.name.upper(), text, field.type)
    found |= {name: value for name, value in flags.items() if value is not None}
    return replace(Settings(), **found)


def _parsed(name: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in _YES_NO:
            raise SettingsError(name, f"{text!r} is neither yes nor no", "Set yes or no.")
        return _YES_NO[text.lower()]
    try:
        return int(text)
    except ValueError:
        raise SettingsError(name, f"{text!r} is not a whole number", "Set a number.") from None
