"""The node: it receives series, answers them, and sends the results where the routes say."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tumorlens.errors import ServiceError, StoreError, TumorlensError
from tumorlens.services.answer_process import (
    SOURCE,
    AnswerProcess,
    Answers,
    hash_slices,
    save_answers,
)
from tumorlens.services.node.metrics import Log, NodeMetrics
from tumorlens.services.node.receiver import ReceiverOptions, start_receiver
from tumorlens.services.node.routes import Route, destinations
from tumorlens.services.node.send import Destination, parse_destination, send_objects
from tumorlens.services.spool import OBJECTS, Spool, read_state, write_state
from tumorlens.services.store import Store
from tumorlens.services.store.audit_log import RESULTS_SENT, SERIES_DEAD, Event, record
from tumorlens.services.store.upkeep import HourlyUpkeep
from tumorlens.services.telemetry import log as write_log
from tumorlens.settings import Settings

JOIN_S = 5.0  # that the end waits for an object that is being sent
POLL_S = 0.5  # between looks for series that are complete or due


@dataclass(frozen=True)
class NodeOptions:
    """How a node deals with what it received."""

    quiet_s: float = 30.0  # without a new slice, after which a series is complete
    retry_s: float = 30.0  # before the second try; each later one waits twice as long
    send_s: float = 30.0  # that a destination may take to answer
    max_attempts: int = 10  # about eight hours with the wait above
    keep_s: float = 0.0  # that a series stays on disk after its results were sent
    quota: int = 50 * 2**30  # bytes of the spool
    memory: int = 6 * 2**30  # bytes of the process that answers
    series_s: float = 600.0  # that the answer to one series may take


class Node:
    """A running node."""

    def __init__(
        self,
        spool: Spool,
        store: Store,
        settings: Settings,
        *,
        routes: Sequence[Route] = (),
        receiver: ReceiverOptions,
        options: NodeOptions,
        log: Log = write_log,
    ) -> None:
        self._spool, self._store, self._routes, self._options = spool, store, routes, options
        self._keep, self._title = settings.keep_images, receiver.title
        self.metrics = NodeMetrics()
        self.metrics.watch_spool(spool.root, lambda: spool.used)
        self._log = self.metrics.counted(log)
        self._upkeep = HourlyUpkeep(store, settings, log)
        self._answers = AnswerProcess(settings, memory=options.memory, seconds=options.series_s)
        self._is_stopping = threading.Event()
        self._server = start_receiver(spool, receiver, self._log, metrics=self.metrics)

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self._server.server_address[1])

    def run(self) -> None:
        """Work until `stop` is called; a receiver that is slow or gone holds up no answer."""
        sender = threading.Thread(target=self._repeat, args=[self._send_due], daemon=True)
        sender.start()
        self._repeat(self._answer_due)
        sender.join(JOIN_S)

    def stop(self) -> None:
        """Take nothing more; what is on disk is worked on at the next start."""
        self._is_stopping.set()
        self._server.shutdown()
        self._answers.close()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._is_stopping.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 (the edge: this thread must live)
                self._log("waits", error=type(error).__name__, reason=str(error))
            self._is_stopping.wait(POLL_S)

    def _answer_due(self) -> None:
        self._upkeep.run_if_due()
        for folder in self._spool.complete(quiet_s=self._options.quiet_s):
            self._log("complete", series=folder.name)
        for folder in self._spool.due(answered=False):
            self._attempt(self._answer, folder)

    def _send_due(self) -> None:
        self._spool.discard_unfinished()
        self._spool.expire_done(keep_s=self._options.keep_s)
        for folder in self._spool.due(answered=True):
            if self._attempt(self._send, folder):
                self._spool.finish(folder, keep_s=self._options.keep_s)
                self._log("done", series=folder.name)

    def _attempt(self, step: Callable[[Path], None], folder: Path) -> bool:
        """Take a series one step further; one that fails is tried again later."""
        if self._is_stopping.is_set():
            return False
        try:
            step(folder)
        except (OSError, StoreError) as error:  # of this machine or its store: no attempt is lost
            self._log("waits", series=folder.name, reason=str(error))
            with suppress(OSError):  # the disk may be full
                self._spool.delay(folder, self._options.retry_s)
            return False
        except Exception as error:  # noqa: BLE001 (the edge: one series holds up no other)
            if self._is_stopping.is_set():
                return False  # it was ended by us
            reason = type(error).__name__
            if isinstance(error, TumorlensError):
                reason = f"{error.subject}: {error.fact}"
            self._log("failed", series=folder.name, reason=reason)
            self._postpone(folder, reason)
            return False
        return True

    def _postpone(self, folder: Path, reason: str) -> None:
        """Try a series again later; the audit trail tells of one that is given up."""
        first_s, max_attempts = self._options.retry_s, self._options.max_attempts
        if self._spool.postpone(folder, reason, first_s=first_s, max_attempts=max_attempts):
            self._log("dead", series=folder.name)
            record(self._store, Event("node", SERIES_DEAD, folder.name, {"reason": reason}))

    def _answer(self, folder: Path) -> None:
        state, started = read_state(folder), time.perf_counter()
        answers = self._answers.answer(folder)
        save_answers(
            self._store, answers, hash_slices(folder), owner=f"{SOURCE}:{state.caller}",
            keep=self._keep,
        )  # fmt: skip
        done = replace(
            state,
            is_answered=True,
            attempts=0,
            pending=self._destinations(answers, state.caller),
            series=tuple(one.answer.series for one in answers.series),
        )
        write_state(folder, done)
        self.metrics.count_answer(answers.predictions, time.perf_counter() - started)
        count = sum(not p.error for p in answers.predictions)
        left = {"without_objects": reasons} if (reasons := _reasons(answers)) else {}
        self._log("answered", series=folder.name, slices=count, **left)

    def _destinations(self, answers: Answers, caller: str) -> tuple[str, ...]:
        """Return the names of all destinations of some series, without passwords."""
        found = (
            str(to)
            for one in answers.series
            if not one.reason  # else there is nothing to send
            for to in destinations(
                self._routes, caller=caller, modality=one.modality, description=one.description
            )
        )
        return tuple(dict.fromkeys(found))

    def _send(self, folder: Path) -> None:
        """Send the objects to each destination that has not got them; raises the first failure."""
        objects = sorted((folder / OBJECTS).glob("*.dcm"))
        failure: TumorlensError | None = None
        for name in read_state(folder).pending if objects else ():
            try:
                self._send_to(self._destination(name), objects)
            except TumorlensError as error:
                failure = failure or error
                continue
            state = read_state(folder)
            details = {"to": name, "objects": len(objects), "series": state.series}
            record(self._store, Event("node", RESULTS_SENT, folder.name, details))
            rest = tuple(other for other in state.pending if other != name)
            write_state(folder, replace(state, pending=rest))
        if failure is not None:
            raise failure

    def _destination(self, name: str) -> Destination:
        """Return a destination of the routes by its name; raises ServiceError for another.

        Older nodes wrote addresses with their passwords: these are names, too.
        """
        plain = str(parse_destination(name))
        for to in (to for route in self._routes for to in route.to):
            if str(to) == plain:
                return to
        fix = "Put it back into the routes, or remove the series."
        raise ServiceError(plain, "is in no route any more", fix)

    def _send_to(self, to: Destination, objects: Sequence[Path]) -> None:
        called = replace(to, calling_title=self._title, timeout_s=self._options.send_s)
        sent = send_objects(objects, called)
        lost = [item for item in sent if not item.is_stored]
        if lost:
            fact = f"did not store {len(lost)} of {len(sent)} objects: {lost[0].reason}"
            raise ServiceError(str(to), fact, "See the receiver's log.")


def _reasons(answers: Answers) -> list[str]:
    return [one.reason for one in answers.series if one.reason]
