"""Runs what is missing of a plan, shard by shard, on any executor.

The part of a shard is its checkpoint: a kill costs at most the shards under way, and a rerun does
only what has no part. Errors of single scans are rows. What concerns all scans alike, such as a
store that refuses or a full disk, stops the run: what is done stays.
"""

import os
import socket
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from tumorlens.batch.index import as_text, load_arrow
from tumorlens.batch.parts import (
    PartRecord,
    SeriesRow,
    done_shards,
    part_row,
    part_schema,
    read_record,
    write_part,
)
from tumorlens.batch.plan import (
    BUNDLE,
    BUNDLE_FILES,
    PARTS,
    Plan,
    Planned,
    load_plan,
    read_shard,
)
from tumorlens.batch.staging import StagedFiles, staged_ahead
from tumorlens.batch.storage import Folder, is_remote, local_path
from tumorlens.errors import BatchError, ExecutorError, SettingsError
from tumorlens.executors import Executor, Outcome, Watch, unwatched
from tumorlens.images.listing import list_series
from tumorlens.losses import reason_of
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor, check_self_test
from tumorlens.predictions.series_answer import SeriesAnswers, series_table
from tumorlens.predictions.series_rows import iter_predict_series
from tumorlens.progress import Progress
from tumorlens.records import Prediction
from tumorlens.settings import Settings

CHUNK = 512  # scans whose files are staged together, at least
_CHANGED = "it changed since the plan. Plan it again, or name its `slices` in an index."


@dataclass(frozen=True)
class PredictShard:
    """The work of one task, the number of a shard: answer its scans and write its part."""

    job: str
    digest: str  # of its plan

    def __call__(self, number: int, progress: Progress) -> PartRecord:
        """Do one shard; returns the record that its part holds."""
        worker = _worker(self.job, self.digest)
        plan, job = worker.plan, Folder(self.job)
        started, cpu_started = time.perf_counter(), time.process_time()
        shard = plan.shards[number]
        scans = read_shard(job, plan, number)
        schema, arrow = part_schema(plan.options), load_arrow()
        decisions: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        batches, series = [], list[SeriesRow]()
        for rows, of_series in _answers(worker, scans, progress):
            series += of_series
            decisions.update(answer.decision for _, answer in rows if not answer.error)
            failures.update(reason_of(answer.error) for _, answer in rows if answer.error)
            found = [part_row(scan, answer, plan.options) for scan, answer in rows]
            batches.append(arrow.RecordBatch.from_pylist(found, schema))
        record = PartRecord(
            shard.id, shard.scans, plan.bundle, round(time.perf_counter() - started, 3),
            round(time.process_time() - cpu_started, 3),
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            f"{socket.gethostname()}:{os.getpid()}", decisions, failures,
            sum("series" in row for row in series),
        )  # fmt: skip
        write_part(job, shard, batches, record, series)
        return record


def missing_shards(
    job: Folder, plan: Plan, *, part: tuple[int, int] = (1, 1), failed_again: bool = False
) -> list[int]:
    """Return the numbers of the shards that are still to do, of one part of n, from 1.

    With `failed_again` also those with scans that have an error. Raises SettingsError for a part
    that is none.
    """
    number, of = part
    if not 1 <= number <= of:
        raise SettingsError("--shard", f"{number}/{of} is no part", "Give 1/n to n/n.")
    mine = range(number - 1, len(plan.shards), of)
    done = done_shards(job, plan.shards)
    return [
        n
        for n in mine
        if plan.shards[n].id not in done
        or (failed_again and read_record(job, plan.shards[n]).failed)
    ]


def remove_leftovers(job: Folder, plan: Plan) -> None:
    """Remove the files that killed workers left half written, once every part is there."""
    if is_remote(job.url) or len(done_shards(job, plan.shards)) < len(plan.shards):
        return
    for name in job.names(PARTS):
        if name.endswith(".partial"):
            job.remove(f"{PARTS}/{name}")


def slurm_part(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return which part of how many a task of a Slurm array is to do.

    Raises SettingsError outside of an array, and in one with gaps, where the share is not known.
    """
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    texts = [environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in names]
    number, low, high, step, count = (int(t) if t.isdecimal() else -1 for t in texts)
    step = max(step, 1)
    if min(number, low, high, count) < 0:
        fact, fix = "is not that of a Slurm array", "Submit it with sbatch --array=1-N."
        raise SettingsError("the environment", fact, fix)
    if (high - low) // step + 1 != count:
        fact = "is of an array with gaps: which share this task has is not known"
        raise SettingsError("the environment", fact, "Name its share by --shard i/n.")
    return (number - low) // step + 1, count


def run_shards(
    job: Folder, shards: Sequence[int], executor: Executor, *, watch: Watch = unwatched
) -> Iterator[PartRecord]:
    """Do shards, and yield the record of each that is done.

    Raises the first error that concerns all scans alike, after what was under way, and BatchError
    at the end for shards that could not be done.
    """
    stopped: list[BaseException] = []
    given_up: list[ExecutorError] = []

    def remaining() -> Iterator[int]:
        for number in shards:
            if stopped:
                return
            yield number

    outcome: Outcome[int, PartRecord]
    work = PredictShard(job.url, load_plan(job).digest)
    for outcome in executor.map(work, remaining(), watch=watch):
        if isinstance(outcome.error, ExecutorError):
            given_up.append(outcome.error)
        elif outcome.error is not None:
            stopped.append(outcome.error)
        elif outcome.result is not None:
            yield outcome.result
    if stopped:
        raise stopped[0]
    if given_up:
        fact = f"has {len(given_up)} shards that could not be done: {given_up[0]}"
        raise BatchError(job.url, fact, "Run it again for what is missing.")


@dataclass(frozen=True)
class _Worker:
    plan: Plan
    predictor: Predictor


@lru_cache(maxsize=1)
def _worker(job: str, digest: str) -> _Worker:
    """Load what a process needs for every shard of a job, once."""
    import cv2

    cv2.setNumThreads(1)  # a worker is a core
    plan = load_plan(Folder(job))
    if plan.digest != digest:
        raise BatchError(job, "holds another plan than when it was started", "Run it again.")
    limits = plan.options.limits
    settings = Settings(
        workers=1, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels,
        max_volume_bytes=limits.max_volume_bytes, max_volume_pixels=limits.max_volume_pixels,
        volume=limits.volume,
    )  # fmt: skip
    with _bundle_folder(Folder(job)) as folder:
        bundle = load_bundle(folder)
        if bundle.sha256 != plan.bundle_sha256:
            fact = f"is {bundle.version}, the plan was made with {plan.bundle}"
            raise BatchError(folder, fact, "Plan again into another folder.")
        predictor = Predictor(bundle, settings, embeddings=plan.options.embeddings)
    check_self_test(predictor)
    return _Worker(plan, predictor)


@contextmanager
def _bundle_folder(job: Folder) -> Iterator[Path]:
    """Yield where the bundle of a job lies; from a store it is fetched, until it is loaded."""
    if not is_remote(job.url):
        yield local_path(job.path(BUNDLE))
        return
    with tempfile.TemporaryDirectory(prefix="tumorlens-bundle-") as name:
        for file in BUNDLE_FILES:
            Path(name, file).write_bytes(job.read(f"{BUNDLE}/{file}"))
        yield Path(name)


def _answers(
    worker: _Worker, scans: Sequence[Planned], progress: Progress
) -> Iterator[tuple[list[tuple[Planned, Prediction]], list[SeriesRow]]]:
    """Yield each chunk of scans with their answers, in order, and those for its series."""
    done = 0
    for chunk, staged in staged_ahead(_chunks(scans), lambda rows: [row.file for row in rows]):
        predictions = _ChunkPredictions(worker, staged)
        found: dict[str, list[Prediction]] = defaultdict(list)
        for number, answer in enumerate(predictions, start=done + 1):
            found[answer.path].append(answer)
            progress(min(number, len(scans)), len(scans))
        done += len(chunk)
        yield list(_matched(chunk, found, staged)), predictions.series_rows()


def _chunks(scans: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Yield units together until they are a chunk."""
    chunk: list[Planned] = []
    for _, unit in groupby(scans, lambda scan: scan.unit):
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
        chunk += unit
    if chunk:
        yield chunk


class _ChunkPredictions:
    """Files predicted as `predict` does, and their series, under the names that were given."""

    def __init__(self, worker: _Worker, staged: StagedFiles) -> None:
        self._worker, self._staged = worker, staged
        options = worker.plan.options
        self._listing = list_series(staged.files, limits=options.limits)
        self._series = SeriesAnswers(
            self._listing.series, worker.predictor.bundle, all_series=options.all_series
        )

    def __iter__(self) -> Iterator[Prediction]:
        options = self._worker.plan.options
        answers = iter_predict_series(
            self._worker.predictor, self._staged.files, self._listing,
            all_series=options.all_series, heatmaps=options.heatmaps,
        )  # fmt: skip
        return map(self._staged.renamed, self._series.listen(answers))

    def series_rows(self) -> list[SeriesRow]:
        """Return the rows of series.csv, once all files are predicted."""
        rows = series_table(self._listing, self._series.found, name_of=self._staged.name_of)
        return [
            {key: as_text(v) if isinstance(v, str) else v for key, v in row.items()} for row in rows
        ]


def _matched(
    chunk: Sequence[Planned], found: Mapping[str, Sequence[Prediction]], staged: StagedFiles
) -> Iterator[tuple[Planned, Prediction]]:
    """Yield every planned scan with its one answer, which is an error where there is none."""
    frames: dict[str, set[int | None]] = defaultdict(set)
    for scan in chunk:
        frames[scan.path].add(scan.frame)
    for scan in chunk:
        answers = found.get(scan.path, ())
        by_frame = {answer.frame: answer for answer in answers}
        refused = staged.unusable.get(scan.file)
        if len(answers) == 1 and (answers[0].error or len(frames[scan.path]) == 1):
            answer = replace(answers[0], frame=scan.frame)
        elif len(answers) == len(frames[scan.path]) and scan.frame in by_frame:
            answer = by_frame[scan.frame]
        elif refused is not None:
            answer = _error(scan, f"{refused.fact}. {refused.fix}")
        else:
            planned = len(frames[scan.path])
            answer = _error(scan, f"holds {len(answers)} slices, {planned} planned: {_CHANGED}")
        yield scan, answer


def _error(scan: Planned, reason: str) -> Prediction:
    return Prediction(scan.path, frame=scan.frame, error=reason)
