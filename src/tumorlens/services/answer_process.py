"""A series is answered in a process of its own, within limits of memory and time.

What arrived is decoded there, by a process that knows neither store nor destinations: a file that
takes its decoder over, or fills its memory, ends that process and neither the receiver nor the
series of others. What crosses the pipe is JSON and pixels; here it is checked before it is kept.
"""

import dataclasses
import hashlib
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tumorlens.errors import ServiceError, TumorlensError
from tumorlens.images.listing import list_series
from tumorlens.images.series import anonymous_series_name
from tumorlens.predictions.document import from_document, to_document
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.predictions.series_answer import SeriesPrediction, answer_of
from tumorlens.predictions.series_rows import iter_predict_series
from tumorlens.records import Heatmap, Prediction
from tumorlens.services.decoder import plain_environment
from tumorlens.services.spool import OBJECTS, SLICES
from tumorlens.services.store import (
    NewPrediction,
    NewSeries,
    Store,
    read_series_prediction,
    save_series,
)
from tumorlens.services.store.history import anonymous_name
from tumorlens.settings import ReadLimits, Settings
from tumorlens.worker_process import (
    ChildEndedError,
    ChildProcess,
    Head,
    Message,
    limit_memory,
    receive,
    send,
)

SOURCE = "dicom"
_NONSENSE = (LookupError, TypeError, ValueError, AttributeError, TumorlensError)


@dataclass(frozen=True)
class AnsweredSeries:
    """The answer for a series, with what a route asks of it."""

    answer: SeriesPrediction
    modality: str  # that its header says
    description: str
    reason: str = ""  # why it gets no objects; empty: it gets some


@dataclass(frozen=True)
class Answers:
    """What came out of a folder; paths are names inside its folder of slices."""

    series: tuple[AnsweredSeries, ...]
    predictions: tuple[Prediction, ...]
    bundle_sha256: str


def answer_folder(
    folder: Path, predictor: Predictor, *, limits: ReadLimits = ReadLimits()
) -> Answers:
    """Predict the slices that lie in a folder, and write the objects of each series beside them."""
    # Not at the top: the process that receives never needs them.
    from tumorlens.reports.dicom.objects import (
        ObjectOptions,
        result_objects,
        why_no_objects,
        write_objects,
    )

    files = sorted((folder / SLICES).iterdir())
    listing = list_series(files, limits=limits)
    predictions = list(iter_predict_series(predictor, files, listing, heatmaps=True))
    bundle, options, found = predictor.bundle, ObjectOptions(limits=limits), []
    for series in listing.series:
        own = [p for p in predictions if p.series == series.name]
        answer = answer_of(series, own, bundle)
        made = result_objects(series, own, bundle=bundle, answer=answer, options=options)
        write_objects(made, folder / OBJECTS)
        answer = replace(answer, series=anonymous_series_name(series.name))
        sequence, reason = series.slices[0].sequence, why_no_objects(series, options)
        found.append(AnsweredSeries(answer, series.modality or "", sequence, reason))
    named = (
        replace(p, path=Path(p.path).name, series=p.series and anonymous_series_name(p.series))
        for p in predictions
    )
    return Answers(tuple(found), tuple(named), bundle.sha256)


def save_answers(
    store: Store,
    answers: Answers,
    digests: Mapping[str, str],
    *,
    owner: str,
    source: str = SOURCE,
    keep: bool = False,
) -> None:
    """Keep answers in the store; the same slices of the same owner give the same ids.

    `digests` are the SHA-256 of the files, by name. So a series that is answered again, after a
    kill, adds nothing.
    """
    slices = [
        NewPrediction(
            prediction=replace(p, path=anonymous_name(digests[p.path], p.path)),
            input_sha256=digests[p.path],
            bundle_sha256=answers.bundle_sha256,
            owner=owner,
            source=source,
            keep=keep,
            id=slice_id(digests[p.path], p.frame, owner=owner, source=source,
                        bundle_sha256=answers.bundle_sha256),
        )
        for p in answers.predictions
    ]  # fmt: skip
    series = [
        NewSeries(
            one.answer, owner, source, answers.bundle_sha256, description=one.description,
            id=_id_of(owner, *sorted(new.id for new in slices
                                     if new.prediction.series == one.answer.series)),
        )
        for one in answers.series
    ]  # fmt: skip
    save_series(store, series, slices)


def slice_id(digest: str, frame: int | None, *, owner: str, source: str, bundle_sha256: str) -> str:
    """Return the id of the stored answer for a slice; `digest` is the SHA-256 of its file."""
    asker = owner.removeprefix("dicom:") if source == SOURCE else f"{source}\0{owner}"
    return _id_of(asker, digest, frame, bundle_sha256)


def _id_of(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def hash_slices(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a series, by name."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (folder / SLICES).iterdir()
    }


class AnswerProcess:
    """The process; started at the first series, and again whenever it has ended."""

    def __init__(self, settings: Settings, *, memory: int, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        known = replace(settings, store="", audit_key="", audit_heads="")
        greeting = {"settings": dataclasses.asdict(known), "memory": memory}
        self._child = ChildProcess(
            __name__, environment=plain_environment(), greeting=greeting, is_quiet=False
        )

    def answer(self, folder: Path) -> Answers:
        """Answer the series of a folder; raises ServiceError where that fails, with why."""
        try:
            with self._lock:
                head, data = self._child.ask({"folder": str(folder)}, seconds=self._seconds)
        except ChildEndedError as e:
            fact = f"ended its process (status {e.status}): out of memory, or out of time"
            raise ServiceError("a series", fact, "Look at its files.") from e
        if "failure" in head:
            raise ServiceError("a series", f"cannot be answered: {head['failure']}", "See the log.")
        try:
            return _read(head, data)
        except _NONSENSE as e:
            raise ServiceError(
                "a series", "was answered with nonsense", "Look at its files."
            ) from e

    def close(self) -> None:
        """End it, also in the middle of a series: it is answered at the next start."""
        self._child.close()


def _written(answers: Answers) -> Message:
    """Return answers as JSON, and their evidence and prepared images behind each other."""
    rows, blocks = [], []
    for prediction in answers.predictions:
        row: Head = {"prediction": to_document(prediction)}
        if heatmap := prediction.heatmap:
            blocks += [np.asarray(heatmap.evidence, "<f4").tobytes(), heatmap.prepared.tobytes()]
            row["shapes"] = [heatmap.evidence.shape, heatmap.prepared.shape]
        rows.append(row)
    series = [{**vars(one), "answer": one.answer.to_document()} for one in answers.series]
    return {"bundle": answers.bundle_sha256, "series": series, "slices": rows}, b"".join(blocks)


def _read(head: Head, data: bytes) -> Answers:
    """Read what `_written` wrote; raises one of _NONSENSE for anything else."""
    predictions, at = [], 0
    for row in head["slices"]:
        prediction, heatmap = from_document(row["prediction"]), None
        if "shapes" in row:
            (height, width), (rows, columns) = (tuple(map(int, shape)) for shape in row["shapes"])
            evidence = np.frombuffer(data, "<f4", height * width, at).reshape(height, width)
            at += evidence.nbytes
            prepared = np.frombuffer(data, np.uint8, rows * columns, at).reshape(rows, columns)
            at += prepared.nbytes
            if not np.isfinite(evidence).all():
                raise ValueError("evidence is not finite")
            heatmap = Heatmap(evidence.astype(np.float32), prepared)
        predictions.append(replace(prediction, heatmap=heatmap))
    texts = ("modality", "description", "reason")
    series = [
        AnsweredSeries(read_series_prediction(row["answer"]), *(str(row[name]) for name in texts))
        for row in head["series"]
    ]
    return Answers(tuple(series), tuple(predictions), str(head["bundle"]))


def main() -> None:
    """Be such a process: answer series by series until the other side closes."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    head, _ = receive(sys.stdin.buffer)
    settings = Settings(**head["settings"])
    predictor = load_predictor(settings=settings)
    limit_memory(head["memory"])
    with suppress(EOFError):
        while True:
            head, _ = receive(sys.stdin.buffer)
            send(pipe, *_answered(Path(head["folder"]), predictor, settings.read_limits))


def _answered(folder: Path, predictor: Predictor, limits: ReadLimits) -> Message:
    try:
        return _written(answer_folder(folder, predictor, limits=limits))
    except MemoryError:
        return {"failure": "needs more memory than a series may take"}, b""
    except TumorlensError as error:
        return {"failure": f"{error.fact}. {error.fix}"}, b""  # no path, which is a hash
    except Exception as error:  # noqa: BLE001 (the edge of this process)
        return {"failure": f"{type(error).__name__}"}, b""


if __name__ == "__main__":
    main()
