"""What is measured of every file once, besides its fingerprint, and which files stand out."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx.utils import Extractor

from tumorlens.images.frames import split_frame_path
from tumorlens.images.readers import (
    attempt,
    read_bytes,
    read_scan,
    read_scan_bytes,
    reader_of_bytes,
    reader_of_name,
)
from tumorlens.inputs.prepare import InputSpec, find_head, prepare_scan
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine, read_graph, start_session
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.progress import Progress, silent
from tumorlens.records import Scan, Unusable
from tumorlens.study.audit.facts import PIXEL_FACTS, FileFacts, pixel_facts, read_file_facts
from tumorlens.study.audit.text import Box, find_text

BATCH = 64
COLUMNS = np.dtype([(name, np.float32) for name in (*PIXEL_FACTS, "bytes")])
_NOTHING = (np.nan,) * len(COLUMNS.names or ())
RARE = 0.05  # of a data set: a mode or format that more files share is no outlier
FENCE = 3.0  # interquartile ranges beyond the quartiles (Tukey's far out)
MIN_FACTOR = 1.5  # nearer sizes and shapes are no outliers, however alike the others are


@dataclass(frozen=True)
class Survey:
    """Of n files; numbers are NaN where a file could not be used."""

    facts: tuple[FileFacts | None, ...]
    stored: NDArray[np.void]  # [n] COLUMNS of the image as stored, `bytes` of its file
    prepared: NDArray[np.void]  # [n] the same of the prepared image, `bytes` as PNG
    text: tuple[tuple[Box, ...], ...]  # rows of likely text
    distance: NDArray[np.float32]  # [n] to the training scans of a network, cosine
    embedding: NDArray[np.float32]  # [n, D] of that network, NaN where it saw nothing
    errors: tuple[str, ...]  # why a file could not be used, "" where it could
    notes: tuple[tuple[str, ...], ...]  # what was tolerated

    def stored_columns(self) -> dict[str, NDArray]:
        """Return what the stored files tell without a look at the brain, by name, [n] each."""
        columns: dict[str, NDArray] = {name: self.stored[name] for name in COLUMNS.names or ()}
        for name, missing in (("width", np.nan), ("height", np.nan), ("mode", ""), ("format", "")):
            columns[name] = np.array([getattr(f, name) if f else missing for f in self.facts])
        return columns


@dataclass(frozen=True)
class _File:
    """One row."""

    facts: FileFacts | None = None
    notes: tuple[str, ...] = ()
    stored: tuple[float, ...] = _NOTHING
    prepared: tuple[float, ...] = _NOTHING
    text: tuple[Box, ...] = ()
    distance: float = np.nan
    embedding: NDArray[np.float32] | None = None
    error: str = ""


def survey_files(
    paths: Sequence[Path],
    spec: InputSpec,
    *,
    with_text: bool = True,
    network: Bundle | None = None,
    image_ids: NDArray[np.int64] | None = None,
    progress: Progress = silent,
) -> Survey:
    """Measure every file, prepared by `spec`; text is looked for `with_text` only.

    A `network` embeds one file of each of the `image_ids`, [n]; its copies are taken as alike.
    """
    ids = np.arange(len(paths)) if image_ids is None else image_ids
    _, first, numbers = np.unique(ids, return_index=True, return_inverse=True)
    representatives, embedder = set(first.tolist()), Embedder(network) if network else None

    def work(batch: Sequence[int]) -> list[_File]:
        made = [_measure(paths[i], spec, with_text) for i in batch]
        if embedder:
            seen = {k: pixels for k, i in enumerate(batch)
                    if i in representatives and (pixels := made[k][1]) is not None}  # fmt: skip
            for k, distance, embedding in _distances(seen, embedder):
                made[k] = (replace(made[k][0], distance=distance, embedding=embedding), None)
        return [file for file, _ in made]

    files: list[_File] = []
    for batch in _in_order(work, len(paths)):
        files += batch
        progress(len(files), len(paths))
    return Survey(
        facts=tuple(file.facts for file in files),
        stored=np.array([file.stored for file in files], COLUMNS),
        prepared=np.array([file.prepared for file in files], COLUMNS),
        text=tuple(file.text for file in files),
        distance=np.array([file.distance for file in files], np.float32)[first][numbers],
        embedding=_stacked([file.embedding for file in files])[first][numbers],
        errors=tuple(file.error for file in files),
        notes=tuple(file.notes for file in files),
    )


def _in_order(work: Callable[[Sequence[int]], list[_File]], n: int) -> Iterator[list[_File]]:
    """Work on batches in threads, a few ahead, and yield them in order."""
    workers = os.cpu_count() or 1
    ahead: list[Future[list[_File]]] = []
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, n, BATCH):
            ahead.append(pool.submit(work, range(start, min(start + BATCH, n))))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        while ahead:
            yield ahead.pop(0).result()


def _measure(
    path: Path, spec: InputSpec, with_text: bool
) -> tuple[_File, NDArray[np.uint8] | None]:
    """Measure a file as far as it can be read; the prepared image is for the network."""
    is_slice = split_frame_path(path)[1] is not None  # the header of its file tells nothing of it
    data = b"" if is_slice else attempt(read_bytes, path)
    if isinstance(data, Unusable):
        return _File(error=data.error.fact), None
    file = _File(read_file_facts(data))
    scan = (
        attempt(read_scan, path) if is_slice else attempt(read_scan_bytes, data, source=str(path))
    )
    if isinstance(scan, Unusable):
        return replace(file, error=scan.error.fact), None
    facts = file.facts or _facts_of_slice(scan, path, data)
    file = replace(file, facts=facts, notes=scan.notes, stored=_numbers(scan.pixels, len(data)))
    head = attempt(find_head, scan)
    if isinstance(head, Unusable):
        return replace(file, error=head.error.fact), None
    file = replace(file, text=tuple(find_text(scan.pixels, head)) if with_text else ())
    made = prepare_scan(scan, spec, head=head)
    if isinstance(made, Unusable):
        return replace(file, error=made.error.fact), None
    length = len(cv2.imencode(".png", made.pixels)[1])
    return replace(file, prepared=_numbers(made.pixels, length)), made.pixels


def _facts_of_slice(scan: Scan, path: Path, data: bytes) -> FileFacts:
    """Return the facts of a slice of a volume; of one among several, its bytes are not known: 0."""
    height, width = scan.pixels.shape
    reader = reader_of_bytes(data) or reader_of_name(split_frame_path(path)[0])
    return FileFacts(width, height, "", reader.name if reader else "", len(data), ())


def _numbers(pixels: NDArray, length: int) -> tuple[float, ...]:
    return (*pixel_facts(pixels).tolist(), float(length))


class Embedder:
    """The part of a bundle's graph that embeds images, run by itself: nothing is decided here.

    Where the embedding comes from a network of its own, this is a small part of the work.
    """

    def __init__(self, bundle: Bundle) -> None:
        Engine(bundle)  # tells what is wrong with a graph
        graph = onnx.load_from_string(read_graph(bundle))
        names = [tensor.name for tensor in graph.graph.input]
        part = Extractor(graph).extract_model(names, ["embedding"])
        self._session, self._input = start_session(part.SerializeToString()), names[0]
        self.reference = bundle.ood_reference

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings of prepared images, uint8 [n, side, side]: [n, D]."""
        (embedding,) = self._session.run(["embedding"], {self._input: pixels[..., None]})
        return np.asarray(embedding)


def _distances(
    images: Mapping[int, NDArray[np.uint8]], embedder: Embedder
) -> list[tuple[int, float, NDArray[np.float32]]]:
    if not images:
        return []
    embedding = embedder.run(np.stack(list(images.values())))
    found = neighbor_distance(embedding, embedder.reference)
    return list(zip(images, found.tolist(), embedding, strict=True))


def _stacked(rows: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32]:
    """Return rows as one array, [n, D], NaN where there is none; D is 0 without any."""
    width = next((len(row) for row in rows if row is not None), 0)
    missing = np.full(width, np.nan, np.float32)
    filled = [missing if row is None else row for row in rows]
    return np.array(filled, np.float32).reshape(len(rows), width)


@dataclass(frozen=True)
class HeaderOutlier:
    """A file, by position, whose header differs from most of its data set."""

    position: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class OodFile:
    """A file, by position, that the training scans of a network do not look like."""

    position: int
    distance: float  # cosine, 0 to 2


def header_outliers(
    facts: Sequence[FileFacts | None], datasets: Sequence[str] | None = None
) -> list[HeaderOutlier]:
    """List files of a rare mode, format, size or shape in their data set, in their order.

    Without `datasets` all files are one set. Files without facts are left out.
    """
    members: dict[str, list[tuple[int, FileFacts]]] = defaultdict(list)
    for i, fact in enumerate(facts):
        if fact is not None:
            members[datasets[i] if datasets else ""].append((i, fact))
    reasons: dict[int, list[str]] = defaultdict(list)
    for rows in members.values():
        headers = [fact for _, fact in rows]
        for at, reason in (*_rare(headers), *_far(headers)):
            reasons[rows[at][0]].append(reason)
    return [HeaderOutlier(i, tuple(reasons[i])) for i in sorted(reasons)]


def _rare(facts: Sequence[FileFacts]) -> Iterator[tuple[int, str]]:
    for name in ("mode", "format"):
        values = [getattr(fact, name) for fact in facts]
        counts = Counter(values)
        usual, count = counts.most_common(1)[0]
        for at, value in enumerate(values):
            if counts[value] <= RARE * len(facts):
                yield at, f"{name} {value}, where {100 * count / len(facts):.0f} % are {usual}"


def _far(facts: Sequence[FileFacts]) -> Iterator[tuple[int, str]]:
    width = np.array([fact.width for fact in facts], float)
    height = np.array([fact.height for fact in facts], float)
    usual = f"{np.median(width):.0f} x {np.median(height):.0f}"
    for name, values in (("size", np.sqrt(width * height)), ("shape", width / height)):
        for at in np.flatnonzero(_beyond(np.log(values))).tolist():
            yield at, f"{name} {width[at]:.0f} x {height[at]:.0f}, far from the usual {usual}"


def _beyond(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = FENCE * (high - low)
    far = (values < low - reach) | (values > high + reach)
    return far & (np.abs(values - middle) > np.log(MIN_FACTOR))


def ood_files(distances: ArrayLike, *, limit: float) -> list[OodFile]:
    """List the files beyond a network's limit, the farthest first.

    `distances`, [n], are to the k-th nearest training scan; NaN (unreadable) is left out.
    """
    far = np.asarray(distances, np.float64)
    beyond = np.flatnonzero(far > limit)  # NaN compares false
    order = beyond[np.argsort(-far[beyond], kind="stable")]
    return [OodFile(i, float(far[i])) for i in map(int, order)]
