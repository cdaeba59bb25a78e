"""What is measured of every file once, besides its fingerprint."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan_bytes
from tumorlens.inputs.prepare import find_head, prepare
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.abstention import neighbor_distance
from tumorlens.study.audit.facts import PIXEL_FACTS, FileFacts, pixel_facts, read_file_facts
from tumorlens.study.audit.text import Box, find_text

BATCH = 64
COLUMNS = np.dtype([(name, np.float32) for name in (*PIXEL_FACTS, "bytes")])


@dataclass(frozen=True)
class Survey:
    """Of n files; numbers are NaN where a file could not be used."""

    facts: tuple[FileFacts | None, ...]
    stored: NDArray[np.void]  # [n] COLUMNS of the picture as stored, `bytes` of its file
    prepared: NDArray[np.void]  # [n] the same of the prepared picture, `bytes` as PNG
    text: tuple[tuple[Box, ...], ...]
    distance: NDArray[np.float32]  # [n] to the training scans of the bundle, cosine
    errors: tuple[str, ...]  # why a file could not be used, "" where it could
    notes: tuple[tuple[str, ...], ...]  # what was tolerated

    def stored_columns(self) -> dict[str, NDArray]:
        """Give what the stored files tell without a look at the brain, by name, [n] each."""
        columns: dict[str, NDArray] = {name: self.stored[name] for name in COLUMNS.names or ()}
        for name in ("width", "height"):
            columns[name] = np.array([getattr(f, name) if f else np.nan for f in self.facts])
        for name in ("mode", "format"):
            columns[name] = np.array([getattr(f, name) if f else "" for f in self.facts])
        return columns


def _of_pictures(
    distances: Sequence[float], pictures: NDArray[np.int64], first: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Give every file what was measured of the first of its picture."""
    whole = np.array(distances, np.float32)
    numbers = np.unique(pictures, return_inverse=True)[1]
    return whole[first][numbers]


@dataclass
class _File:
    """One row, filled step by step."""

    facts: FileFacts | None = None
    stored: NDArray[np.float32] | None = None
    prepared: NDArray[np.uint8] | None = None
    text: tuple[Box, ...] = ()
    distance: float = np.nan
    error: str = ""
    notes: tuple[str, ...] = ()


def survey_files(
    paths: Sequence[Path],
    bundle: Bundle,
    *,
    pictures: NDArray[np.int64],
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Measure every file; the bundle prepares them and says how unusual each picture is to it.

    `pictures`, [n], numbers the copies: the network, the slowest part, sees one file of each.
    """
    n, engine = len(paths), Engine(bundle)
    first = np.unique(pictures, return_index=True)[1]
    asked = np.zeros(n, bool)
    asked[first] = True
    stored, prepared = (np.full(n, np.nan, COLUMNS) for _ in range(2))
    files: list[_File] = []

    def work(batch: Sequence[int]) -> list[_File]:
        made = [_survey_file(paths[i], bundle) for i in batch]
        _measure_distance([f for i, f in zip(batch, made, strict=True) if asked[i]], bundle, engine)
        return made

    for batch in _in_order(work, range(n)):
        for file in batch:
            row = len(files)
            if file.stored is not None and file.facts is not None:
                stored[row] = (*file.stored.tolist(), file.facts.bytes)
            if file.prepared is not None:
                length = len(cv2.imencode(".png", file.prepared)[1])
                prepared[row] = (*pixel_facts(file.prepared).tolist(), length)
                file.prepared = None
            files.append(file)
        if progress:
            progress(len(files), n)
    return Survey(
        facts=tuple(file.facts for file in files),
        stored=stored,
        prepared=prepared,
        text=tuple(file.text for file in files),
        distance=_of_pictures([file.distance for file in files], pictures, first),
        errors=tuple(file.error for file in files),
        notes=tuple(file.notes for file in files),
    )


def _in_order(
    work: Callable[[Sequence[int]], list[_File]], numbers: Iterable[int]
) -> Iterator[list[_File]]:
    """Work on batches in threads, a few ahead, and give them in order."""
    workers = os.cpu_count() or 1
    ahead: list[Future[list[_File]]] = []
    remaining = iter(numbers)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(remaining, BATCH)):
            ahead.append(pool.submit(work, batch))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        while ahead:
            yield ahead.pop(0).result()


def _measure_distance(files: Sequence[_File], bundle: Bundle, engine: Engine) -> None:
    """Ask the network of a batch, in place."""
    seen = [(file, file.prepared) for file in files if file.prepared is not None]
    if not seen:
        return
    raw = engine.run(np.stack([pixels for _, pixels in seen]))
    distances = neighbor_distance(raw.embedding, bundle.scope)
    for (file, _), distance in zip(seen, distances.tolist(), strict=True):
        file.distance = distance


def _survey_file(path: Path, bundle: Bundle) -> _File:
    file = _File()
    try:
        data = path.read_bytes()
        file.facts = read_file_facts(data)
        scan = read_scan_bytes(data, source=str(path))
        file.notes = scan.notes
        file.stored = pixel_facts(scan.pixels)
        head = find_head(scan)
        file.text = tuple(find_text(scan.pixels, head))
        file.prepared = prepare(scan, bundle.spec, head=head).pixels
    except ImageError as error:
        file.error = error.fact
    except OSError as error:
        file.error = f"cannot be opened ({error.strerror})"
    return file
