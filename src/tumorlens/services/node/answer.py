"""A series is answered in a process of its own, within limits of memory and time.

What arrived is decoded there: a file that takes its decoder over, or fills its memory, ends that
process and neither the receiver nor the series of others. What crosses the pipe is JSON.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorlens.errors import ServiceError, TumorlensError
from tumorlens.images.listing import list_series
from tumorlens.images.series import Series
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.predictions.series_rows import iter_predict_series
from tumorlens.records import Prediction
from tumorlens.reports.dicom.objects import ObjectOptions, result_objects, write_objects
from tumorlens.services.spool import OBJECTS, SLICES, hashed
from tumorlens.services.store import NewPrediction, Store, open_store, save_predictions
from tumorlens.settings import ReadLimits, Settings
from tumorlens.worker_process import ONE_THREAD, limit_memory, receive, send

SOURCE = "dicom"


@dataclass(frozen=True)
class SeriesFacts:
    """What a route asks of a series that was answered."""

    modality: str
    description: str
    slices: int  # that were predicted


def answer_series(
    folder: Path,
    predictor: Predictor,
    store: Store,
    *,
    caller: str,
    limits: ReadLimits = ReadLimits(),
) -> list[SeriesFacts]:
    """Predict what lies in a folder, keep the answers in the store, and make the objects.

    The same slices give the same ids: a series that is answered again, after a kill, adds nothing.
    """
    files = sorted((folder / SLICES).iterdir())
    listing = list_series(files, limits=limits)
    answers = list(iter_predict_series(predictor, files, listing, heatmaps=True))
    hashes = {path: _hash_file(path) for path in {p.path for p in answers}}
    bundle, options = predictor.bundle, ObjectOptions(limits=limits)
    save_predictions(store, [_new(p, hashes[p.path], bundle, caller=caller) for p in answers])
    for series in listing.series:
        own = [p for p in answers if p.series == series.name]
        made = result_objects(series, own, bundle=bundle, options=options)
        write_objects(made, folder / OBJECTS)
    return [_facts(series, answers) for series in listing.series]


def _hash_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _new(prediction: Prediction, digest: str, bundle: Bundle, *, caller: str) -> NewPrediction:
    identity = f"{caller}\0{digest}\0{prediction.frame}\0{bundle.sha256}"
    series = prediction.series and f"series-{hashed(prediction.series)[:12]}"
    return NewPrediction(
        prediction=replace(prediction, path=f"scan-{digest[:12]}.dcm", series=series),
        input_sha256=digest,
        bundle_sha256=bundle.sha256,
        owner=f"{SOURCE}:{caller}",
        source=SOURCE,
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
    )


def _facts(series: Series, answers: Sequence[Prediction]) -> SeriesFacts:
    count = sum(p.series == series.name and not p.error for p in answers)
    return SeriesFacts(series.modality or "", series.slices[0].sequence, count)


class AnswerProcess:
    """The process; started again whenever it has ended."""

    def __init__(self, settings: Settings, *, memory: int, seconds: float) -> None:
        self._settings, self._memory, self._seconds = settings, memory, seconds
        self._child: subprocess.Popen[bytes] | None = None

    def answer(self, folder: Path, *, caller: str) -> list[SeriesFacts]:
        """Answer a series; raises ServiceError where that fails, with why."""
        child = self._running()
        timer = threading.Timer(self._seconds, child.kill)
        timer.start()
        try:
            send(child.stdin, {"folder": str(folder), "caller": caller}, b"")
            head, _ = receive(child.stdout)
        except (OSError, EOFError, ValueError) as e:
            child.kill()
            fact = f"ended its process (status {child.wait()}): out of memory, or out of time"
            raise ServiceError("a series", fact, "Look at its files.") from e
        finally:
            timer.cancel()
        if "failure" in head:
            raise ServiceError("a series", f"cannot be answered: {head['failure']}", "See the log.")
        return [SeriesFacts(**row) for row in head["series"]]

    def close(self) -> None:
        """End it, also in the middle of a series: it is answered at the next start."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "tumorlens.services.node.answer"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD,
                start_new_session=True,
            )  # fmt: skip
            # Not as words of the command, which all users see: a store's URL may hold a password.
            head = {"settings": dataclasses.asdict(self._settings), "memory": self._memory}
            with suppress(OSError):  # it has ended already: asking it gives the error
                send(self._child.stdin, head, b"")
        return self._child


def main() -> None:
    """Be such a process: answer series by series until the other side closes."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    head, _ = receive(sys.stdin.buffer)
    settings = Settings(**head["settings"])
    predictor = load_predictor(settings=settings)
    store = open_store(settings.store, audit_key=settings.audit_key)
    limit_memory(head["memory"])
    with suppress(EOFError):
        while True:
            head, _ = receive(sys.stdin.buffer)
            send(pipe, _answered(head, predictor, store, settings.read_limits), b"")


def _answered(
    head: dict[str, Any], predictor: Predictor, store: Store, limits: ReadLimits
) -> dict[str, Any]:
    folder, caller = Path(head["folder"]), str(head["caller"])
    try:
        found = answer_series(folder, predictor, store, caller=caller, limits=limits)
    except MemoryError:
        return {"failure": "needs more memory than a series may take"}
    except TumorlensError as error:
        return {"failure": f"{error.fact}. {error.fix}"}  # no path, which is a hash
    except Exception as error:  # noqa: BLE001 (the edge of this process)
        return {"failure": f"{type(error).__name__}"}
    return {"series": [dataclasses.asdict(facts) for facts in found]}


if __name__ == "__main__":
    main()
