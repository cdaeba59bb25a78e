"""Worklists: what a reader has dropped in and works through, by name, and whether it is kept.

All tabs of a browser see the same ones. They stay in memory for an hour after the last tab that
read in them was closed; on disk, across restarts, lies only what its reader chose to keep.
"""

import json
import os
import secrets
import shutil
import threading
import time
import weakref
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tumorlens.errors import TumorlensError
from tumorlens.files import replacing
from tumorlens.predictions.document import from_document, to_document
from tumorlens.services.dashboard.results import (
    KeptSlice,
    Result,
    packed_array,
    unpacked_array,
)
from tumorlens.services.store.series import read_series_prediction

MAX_RESULTS = 200  # in one worklist
MAX_BYTES = 384 * 2**20  # of one worklist, compressed as it is kept
MAX_TOTAL_BYTES = 2 * 2**30  # of all in memory; those let go first are forgotten first
MAX_LOOSE = 20  # worklists of one reader that are not kept
IDLE_S = 3600.0  # after which a worklist that no tab has open is forgotten
HEAD = "worklist.json"
_PLAIN = ("values", "modality", "spacing_mm", "orientation")
_BLOBS = ("pixels", "prepared", "mask")
_ARRAYS = ("evidence", "matrix")


@dataclass(frozen=True)
class Worklist:
    """Results under a name, with the ids of their answers in the store."""

    id: str
    name: str
    results: tuple[Result, ...] = ()
    stored_ids: Mapping[str, str] = field(default_factory=dict)  # by digest
    is_kept: bool = False  # on disk too
    used_at: float = 0.0  # seconds since 1970

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(result.size for result in self.results)


class Lease:
    """Held by a tab: while one lives, its worklist is not forgotten."""


class Worklists:
    """The worklists of all readers; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._held: dict[str, dict[str, Worklist]] = {}  # by owner, by id
        self._leases: dict[str, weakref.WeakSet[Lease]] = {}
        self._tokens: dict[str, str] = {}  # owner by token
        self._places: dict[str, str] = {}  # key of the result that was shown last, by worklist

    def of(self, owner: str) -> list[Worklist]:
        """Return the worklists of a reader, the last used first; at least an empty one."""
        with self._lock:
            found = sorted(self._of(owner).values(), key=lambda one: -one.used_at)
            return found or [self.add(owner, "")]

    def get(self, owner: str, id: str) -> Worklist | None:
        """Return one; None where it is not there (any more)."""
        with self._lock:
            return self._of(owner).get(id)

    def add(self, owner: str, name: str) -> Worklist:
        """Make a new one, the last used; of too many that are not kept the oldest goes."""
        with self._lock:
            held = self._of(owner)
            loose = [one for one in held.values() if not one.is_kept]
            if len(loose) >= MAX_LOOSE:
                self.remove(owner, min(loose, key=lambda one: one.used_at).id)
            made = Worklist(secrets.token_hex(8), name, used_at=time.time())
            held[made.id] = made
            return made

    def use(self, owner: str, id: str, lease: Lease) -> None:
        """Note that a tab has one open."""
        with self._lock:
            self._leases.setdefault(id, weakref.WeakSet()).add(lease)
            if (found := self.get(owner, id)) is not None:
                self._of(owner)[id] = replace(found, used_at=time.time())
                with suppress(OSError):
                    os.utime(self._path(owner, id) / HEAD)

    def place_in(self, id: str) -> str:
        """Return the key of the result that was shown last in a worklist; "" where none was."""
        return self._places.get(id, "")

    def set_place(self, id: str, key: str) -> None:
        """Note which result is shown in a worklist."""
        self._places[id] = key

    def add_results(
        self, owner: str, id: str, added: Sequence[Result], stored_ids: Mapping[str, str]
    ) -> int:
        """Put results behind those that are there; return how many found no room.

        One that is there already keeps its place and takes the new answer. A worklist that another
        tab removed meanwhile is there again, with what is added.
        """
        with self._lock:
            found = self._of(owner).get(id) or Worklist(id, "", used_at=time.time())
            results, lost = joined(found.results, added)
            taken = {result.digest for result in results}
            ids = {d: i for d, i in {**found.stored_ids, **stored_ids}.items() if d in taken}
            changed = replace(found, results=results, stored_ids=ids)
            self._put(owner, changed, [r for r in added if r.digest in taken])
            self._make_room()
            return lost

    def change(
        self, owner: str, id: str, *, name: str | None = None, kept: bool | None = None
    ) -> None:
        """Rename one, or choose whether it lies on disk; one that is gone stays gone."""
        with self._lock:
            found = self._of(owner).get(id)
            if found is None:
                return
            kept = found.is_kept if kept is None else kept
            changed = replace(found, name=found.name if name is None else name, is_kept=kept)
            if found.is_kept and not kept:
                shutil.rmtree(self._path(owner, id), ignore_errors=True)
            self._put(owner, changed, changed.results if kept and not found.is_kept else ())

    def remove(self, owner: str, id: str) -> None:
        """Forget one, on disk too."""
        with self._lock:
            if self._of(owner).pop(id, None) is not None:
                shutil.rmtree(self._path(owner, id), ignore_errors=True)

    def forget_idle(self) -> int:
        """Forget what no tab has had open for an hour; what is kept stays on disk."""
        with self._lock:
            old = time.time() - IDLE_S
            idle = [(owner, one) for owner, one in self._everything() if one.used_at < old]
            return sum(self._let_go(owner, one) for owner, one in idle)

    def forget_unused(self, days: int) -> int:
        """Remove kept worklists that were not opened for so many days; return their number.

        One that is damaged, and is in no list for that, goes too: it holds scans.
        """
        with self._lock:
            heads = [*self._folder.glob(f"*/*/{HEAD}")]
            old = [head for head in heads if time.time() - head.stat().st_mtime > 86_400 * days]
            for folder in (head.parent for head in old):
                self._held.get(folder.parent.name, {}).pop(folder.name, None)
                shutil.rmtree(folder, ignore_errors=True)
            return len(old)

    # --- what browsers fetch ----------------------------------------------------------------

    def token(self, owner: str) -> str:
        """Return what a browser names to fetch the images of its reader; it cannot be guessed."""
        with self._lock:
            known = (token for token, named in self._tokens.items() if named == owner)
            token = next(known, None) or secrets.token_urlsafe(32)
            self._tokens[token] = owner
            return token

    def owner_of(self, token: str) -> str | None:
        """Return whose token it is."""
        return self._tokens.get(token)

    def find(self, owner: str, key: str) -> Result | None:
        """Return a result of any worklist of a reader by its key."""
        with self._lock:
            results = (r for one in self._of(owner).values() for r in one.results)
            return next((result for result in results if result.key == key), None)

    # --- memory and disk ----------------------------------------------------------------------

    def _of(self, owner: str) -> dict[str, Worklist]:
        if owner not in self._held:
            kept = {one.id: one for one in _read_all(self._folder / owner)}
            self._held[owner] = kept
        return self._held[owner]

    def _put(self, owner: str, worklist: Worklist, new: Sequence[Result]) -> None:
        self._of(owner)[worklist.id] = worklist
        if worklist.is_kept:
            _write(self._path(owner, worklist.id), worklist, new)

    def _path(self, owner: str, id: str) -> Path:
        return self._folder / owner / id

    def _everything(self) -> list[tuple[str, Worklist]]:
        rows = [(owner, one) for owner, held in self._held.items() for one in held.values()]
        return sorted(rows, key=lambda row: row[1].used_at)

    def _let_go(self, owner: str, worklist: Worklist) -> bool:
        """Forget one that no tab has open; one that is kept, only when no other is left."""
        held = self._held.get(owner, {})
        if self._leases.get(worklist.id) or (worklist.is_kept and self._is_open(owner)):
            return False
        if held.pop(worklist.id, None) is None:
            return False
        self._leases.pop(worklist.id, None)
        self._places.pop(worklist.id, None)
        if all(one.is_kept for one in held.values()) and not self._is_open(owner):
            self._held.pop(owner)  # what is kept is read again when it is asked for
        return True

    def _is_open(self, owner: str) -> bool:
        return any(self._leases.get(id) for id in self._held.get(owner, {}))

    def _make_room(self) -> None:
        """Forget those that no tab has open, the longest unused first, until all have room."""
        for owner, one in self._everything():
            if sum(other.size for _, other in self._everything()) <= MAX_TOTAL_BYTES:
                return
            self._let_go(owner, one)


def joined(results: Sequence[Result], added: Sequence[Result]) -> tuple[tuple[Result, ...], int]:
    """Return results with new ones behind the old, and how many found no room."""
    held = {result.digest: result for result in results}
    size, lost = sum(result.size for result in results), 0
    for result in added:
        is_there = result.digest in held
        if is_there or (len(held) < MAX_RESULTS and size + result.size <= MAX_BYTES):
            size += 0 if is_there else result.size
            held[result.digest] = result
        else:
            lost += 1
    return tuple(held.values()), lost


# --- the folder of one that is kept: a head, and a file a result ------------------------------


def _write(folder: Path, worklist: Worklist, new: Sequence[Result]) -> None:
    """Write the head and new results; only its owner may look into the folder."""
    for one in (folder.parent.parent, folder.parent, folder):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
    for result in new:
        with replacing(folder / f"{result.key}.zip") as partial:
            _write_result(partial, result)
    head = {
        "schema": 1,
        "name": worklist.name,
        "stored_ids": dict(worklist.stored_ids),
        "results": [result.key for result in worklist.results],
    }
    with replacing(folder / HEAD) as partial:
        partial.chmod(0o600)
        partial.write_text(json.dumps(head), encoding="utf-8")


def _read_all(folder: Path) -> Iterator[Worklist]:
    """Yield the worklists of a reader that are kept; what is damaged of them is passed over."""
    for path in sorted(folder.glob(f"*/{HEAD}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            head = json.loads(path.read_text(encoding="utf-8"))
            found = [_read_result(path.parent / f"{key}.zip") for key in head["results"]]
            yield Worklist(
                path.parent.name, str(head["name"]), tuple(r for r in found if r is not None),
                dict(head["stored_ids"]), is_kept=True, used_at=path.stat().st_mtime,
            )  # fmt: skip


def _write_result(path: Path, result: Result) -> None:
    path.chmod(0o600)
    with zipfile.ZipFile(path, "w") as file:
        slices = []
        for number, one in enumerate(result.slices):
            plain = {name: getattr(one, name) for name in _PLAIN}
            slices.append(plain | {"prediction": to_document(one.prediction)})
            for name in _BLOBS:
                file.writestr(f"{number}/{name}", getattr(one, name))
            for name in _ARRAYS:
                file.writestr(f"{number}/{name}", packed_array(getattr(one, name)))
        head = {
            "name": result.name, "digest": result.digest, "truth": result.truth,
            "prediction": to_document(result.prediction),
            "answer": asdict(result.answer) if result.answer else None, "slices": slices,
        }  # fmt: skip
        file.writestr("result.json", json.dumps(head))


def _read_result(path: Path) -> Result | None:
    """Read a result back; None where its file is damaged or gone."""
    try:
        with zipfile.ZipFile(path) as file:
            head = json.loads(file.read("result.json"))
            slices = [_read_slice(file, n, one) for n, one in enumerate(head["slices"])]
        answer = read_series_prediction(head["answer"]) if head["answer"] else None
        prediction = from_document(head["prediction"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, TumorlensError):
        return None
    return Result(
        head["name"], head["digest"], prediction, tuple(slices), answer, truth=head["truth"]
    )


def _read_slice(file: zipfile.ZipFile, number: int, plain: Mapping[str, Any]) -> KeptSlice:
    def pair(name: str) -> Any:
        return None if plain[name] is None else tuple(plain[name])

    blobs: dict[str, Any] = {name: file.read(f"{number}/{name}") for name in _BLOBS}
    arrays: dict[str, Any] = {
        name: unpacked_array(file.read(f"{number}/{name}")) for name in _ARRAYS
    }
    return KeptSlice(
        from_document(plain["prediction"]),
        values=pair("values"),
        modality=plain["modality"],
        spacing_mm=pair("spacing_mm"),
        orientation=pair("orientation"),
        **blobs,
        **arrays,
    )
