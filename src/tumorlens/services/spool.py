"""What the node has received and not yet dealt with: folders on disk, which survive a kill.

    incoming/   files that are not whole yet; nobody was promised anything
    series/     a folder a series that still grows
    work/       series that are complete: answered, then sent
    dead/       series that could not be answered or sent; a person has to look
    done/       series that were answered and sent, while a node keeps them

Every name is a hash. What is acknowledged lies in `series/`, synced to disk; a folder moves from
one stage to the next by one rename.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tumorlens.errors import StoreFullError
from tumorlens.json_records import JsonObject

# Why an instance is not kept, in answers to C-STORE (PS3.4 B.2.3) and to STOW-RS (PS3.18 I.2.2).
NO_ROOM, MISMATCH, NOT_UNDERSTOOD, UNSUPPORTED = 0xA700, 0xA900, 0xC000, 0x0122
STAGES = ("incoming", "series", "work", "dead", "done")
STATE = "state.json"
SLICES, OBJECTS = "slices", "objects"  # folders of a series: what came, what goes back
MEASURE_S = 5.0  # between two counts of what is held
RACES = 5  # with the node, over one folder
UNFINISHED_S = 600.0  # after which nobody works any more on what is not whole
DOUBLING = 2.0  # of the wait from try to try


@dataclass(frozen=True)
class State:
    """How far a complete series is."""

    caller: str  # the title of who sent it
    is_answered: bool = False
    pending: tuple[str, ...] = ()  # destinations that lack something, by name: no password
    series: tuple[str, ...] = ()  # that were answered, as the store names them
    attempts: int = 0  # that failed since the last one that did not
    not_before: float = 0.0  # seconds since 1970
    reason: str = ""  # of the last failure


class Spool:
    """The folders of a node; safe to use from several threads, and by a service beside the node."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self.root, self._max_bytes = root, max_bytes
        self._lock = threading.Lock()
        for stage in STAGES:
            (root / stage).mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):  # it is another user's, who has seen to it
            root.chmod(0o700)  # slices and results name patients
        self._used, self._measured_at = _size(root), time.monotonic()

    def add(self, data: bytes, *, caller: str, series: str, instance: str) -> None:
        """Keep one file, so that it is there after a power cut; raises StoreFullError.

        An instance that comes twice is kept once.
        """
        self._measure()
        if self._used + len(data) > self._max_bytes:
            fact = f"holds {self._used:,} of {self._max_bytes:,} bytes"
            raise StoreFullError(self.root, fact, "Raise --quota, or see why series wait.")
        partial = self.root / "incoming" / secrets.token_hex(16)
        try:
            _write_synced(partial, data)
            with self._lock:
                self._used += len(data)
                self._place(partial, caller=caller, series=series, name=f"{hashed(instance)}.dcm")
        finally:
            partial.unlink(missing_ok=True)

    @property
    def used(self) -> int:
        """Bytes that are held, as last counted."""
        return self._used

    def discard_unfinished(self) -> None:
        """Remove what a process that was killed left half made: nobody was promised anything.

        A service beside the node may be making such files now: only old ones are removed.
        """
        made = (self.root / "series").glob(".*")  # folders that never got their name
        for left in (*(self.root / "incoming").iterdir(), *made):
            if time.time() - _changed_at(left) < UNFINISHED_S:
                continue
            if left.is_dir():  # of a series that was done
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def _measure(self) -> None:
        """Count what is held now and then: another process may add and remove, too."""
        if time.monotonic() - self._measured_at > MEASURE_S:
            self._used, self._measured_at = _size(self.root), time.monotonic()

    def _place(self, partial: Path, *, caller: str, series: str, name: str) -> None:
        """Move a file into the folder of its series, which the node may take away meanwhile."""
        for _ in range(RACES):
            folder = self._folder_of(caller, series)
            try:
                partial.replace(folder / SLICES / name)
                _sync_folder(folder / SLICES)
            except FileNotFoundError:
                if folder.exists():
                    raise
            else:
                return
        raise OSError(errno.EBUSY, "the series is taken away again and again", str(self.root))

    def _folder_of(self, caller: str, series: str) -> Path:
        """Return the folder in which a series grows; made whole before it gets its name."""
        folder = self.root / "series" / hashed(f"{caller}\0{series}")
        if not folder.exists():
            made = self.root / "series" / f".{secrets.token_hex(8)}"
            (made / SLICES).mkdir(parents=True)
            write_state(made, State(caller))
            try:
                made.rename(folder)
            except OSError:  # another process was faster
                shutil.rmtree(made)
                if not folder.exists():
                    raise
            _sync_folder(folder.parent)
        return folder

    def complete(self, *, quiet_s: float) -> list[Path]:
        """Move series to which nothing was added for so long to `work`; return their folders."""
        moved = []
        with self._lock:
            for folder in sorted((self.root / "series").iterdir()):
                if folder.name.startswith("."):
                    continue
                age = time.time() - (folder / SLICES).stat().st_mtime
                if age >= quiet_s and any((folder / SLICES).iterdir()):
                    target = self.root / "work" / f"{folder.name}-{secrets.token_hex(4)}"
                    folder.rename(target)
                    moved.append(target)
            if moved:
                _sync_folder(self.root / "work")
        return moved

    def due(self, *, answered: bool) -> list[Path]:
        """Return complete series to answer now, or to send; those that wait longest first."""
        ready: list[tuple[float, Path]] = []
        for folder in (self.root / "work").iterdir():
            try:
                state = read_state(folder)
            except FileNotFoundError:  # a process that outlived its node wrote into what was done
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if state.is_answered == answered and state.not_before <= time.time():
                ready.append((state.not_before, folder))
        return [folder for _, folder in sorted(ready)]

    def postpone(self, folder: Path, reason: str, *, first_s: float, max_attempts: int) -> bool:
        """Note a failure: the series is tried again later, or after `max_attempts` goes to `dead`.

        Return whether it is dead now.
        """
        state = read_state(folder)
        attempts = state.attempts + 1
        wait = first_s * DOUBLING ** (attempts - 1)
        later = replace(state, attempts=attempts, not_before=time.time() + wait, reason=reason)
        write_state(folder, later)
        if attempts < max_attempts:
            return False
        folder.rename(self.root / "dead" / folder.name)
        _sync_folder(self.root / "dead")
        return True

    def delay(self, folder: Path, seconds: float) -> None:
        """Let a series wait, through no fault of its own."""
        write_state(folder, replace(read_state(folder), not_before=time.time() + seconds))

    def finish(self, folder: Path, *, keep_s: float) -> None:
        """Keep a series that is answered and sent for so long, or forget it at once."""
        if keep_s <= 0:
            self._remove(folder)
            return
        os.utime(folder)  # since when it is done
        folder.rename(self.root / "done" / folder.name)

    def expire_done(self, *, keep_s: float) -> None:
        """Forget series that were kept for so long."""
        for folder in (self.root / "done").iterdir():
            if time.time() - folder.stat().st_mtime >= keep_s:
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        size = _size(folder)
        gone = folder.rename(self.root / "incoming" / folder.name)  # whole for others, or gone
        shutil.rmtree(gone, ignore_errors=True)  # what stays is unfinished, and goes later
        with self._lock:
            self._used = max(0, self._used - size)

    def retry_dead(self) -> int:
        """Put dead series back to work; returns how many."""
        folders = list((self.root / "dead").iterdir())
        for folder in folders:
            write_state(folder, replace(read_state(folder), attempts=0, not_before=0.0))
            folder.rename(self.root / "work" / folder.name)
        return len(folders)


def series_folders(root: Path) -> list[tuple[str, Path]]:
    """Return every series that is on disk with its stage, those that came last first."""
    found = [
        (stage, folder)
        for stage in ("series", "work", "dead", "done")
        if (root / stage).is_dir()
        for folder in (root / stage).iterdir()
        if not folder.name.startswith(".")
    ]
    return sorted(found, key=lambda one: _changed_at(one[1]), reverse=True)


def _changed_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # it moved on meanwhile
        return 0.0


def dead_series(root: Path) -> list[tuple[Path, State]]:
    """Return the series that wait for a person, with why."""
    folder = root / "dead"
    return (
        [(path, read_state(path)) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    )


def _size(folder: Path) -> int:
    """Return how many bytes a folder holds, of which others may take away parts meanwhile."""
    total = 0
    for above, _, files in os.walk(folder):  # passes over a folder that is gone; `rglob` raises
        for name in files:
            with suppress(FileNotFoundError):
                total += Path(above, name).stat().st_size
    return total


def hashed(text: str) -> str:
    """Return a name of a fixed form that says nothing of what it stands for."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:40]


def read_state(folder: Path) -> State:
    """Return how far a series is."""
    stored: JsonObject = json.loads((folder / STATE).read_text(encoding="utf-8"))
    lists = {name: tuple(stored.get(name, ())) for name in ("pending", "series")}
    return State(**{**stored, **lists})


def write_state(folder: Path, state: State) -> None:
    """Keep how far a series is, whole or as it was."""
    partial = folder / f".{secrets.token_hex(8)}"
    _write_synced(partial, json.dumps(asdict(state)).encode())
    partial.replace(folder / STATE)
    _sync_folder(folder)


def _write_synced(path: Path, data: bytes) -> None:
    """Write a new file that only its owner reads: it holds patients' names, or passwords."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders, and keeps their entries by itself
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
