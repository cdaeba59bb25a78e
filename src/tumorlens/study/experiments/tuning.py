"""Searching a recipe's space with Hyperband (Li et al., 2018), on validation alone.

Many recipes begin, and those that are behind at a rung are stopped early. Everything the
search knows is in one journal file, written after every epoch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from tumorlens.errors import TrainingError
from tumorlens.files import write_file
from tumorlens.progress import Progress, TrainingCallback, silent
from tumorlens.records import Case
from tumorlens.study.experiments.runner import (
    SILENT,
    Executor,
    Job,
    Listeners,
    in_this_process,
    run_jobs,
)
from tumorlens.study.experiments.trials import (
    COMPLETE,
    FAILED,
    PRUNED,
    Trial,
    Values,
    decoded,
    distribution_of,
    draw_trials,
    own_values,
    recipe_with,
    values_digest,
    write_trials,
)
from tumorlens.study.recipes import Recipe, Space, write_recipe
from tumorlens.study.training import run as training
from tumorlens.study.training.data.training_set import Subset
from tumorlens.study.training.learner import check_network
from tumorlens.study.training.preconditions import LEARNED_PARTS, check_preconditions
from tumorlens.study.training.run_folder import (
    HISTORY_FILE,
    STATE_FILE,
    open_or_resume,
    read_history,
)

PLAN_FILE, JOURNAL_FILE, RECIPE_FILE = "tune.json", "trials.journal", "recipe.json"
TABLE_FILE, PLOT_FILE = "trials.csv", "trials.png"
STUDY = "tune"
REDUCTION = 3  # of the trials at a rung, one in so many goes on
STARTUP = 8  # trials at random before the sampler learns from them
MAX_WITHOUT_ONE = 3  # trials that may end without one being completed
MIN_FOR_IMPORTANCE = 4  # completed trials
STATES = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    recipe: Recipe
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The completed trial with the least validation loss."""
        completed = (trial for trial in self.trials if trial.state == COMPLETE)
        return min(completed, key=lambda trial: (trial.val_loss, trial.number))


def tune(
    cases: Sequence[Case],
    job: training.Job,
    space: Space,
    *,
    trials: int,
    listeners: Listeners = SILENT,
    executor: Executor = in_this_process,
    on_start: Callable[[int, Values], None] = lambda _number, _values: None,
    on_end: Callable[[Trial, Path], None] = lambda _trial, _folder: None,
) -> Tuned:
    """Try recipes from `space` around `job.recipe` until `trials` have ended; keep the best.

    Trial 0 has the recipe's own values, where the space contains them. Reads train and val,
    never test. Writes trials.csv, trials.png and recipe.json into `job.out`, and goes on there
    after a kill, in the epoch that was not finished. `on_end` hears of each trial that ended,
    and its folder.

    Raises TrainingError where the folder holds another search, or no trial could be completed.
    """
    learned = [case for case in cases if case.split in LEARNED_PARTS]
    check_network(job.recipe)
    check_preconditions(learned, job.recipe, out=job.out, cache=job.cache, parts=LEARNED_PARTS)
    values = own_values(job.recipe, space)
    described = {"recipe": job.recipe.to_json(), "split": job.split.fingerprint,
                 "space": {name: row.to_json() for name, row in space.items()}}  # fmt: skip
    open_or_resume(job.out / PLAN_FILE, described)
    study = _open(job)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(values))
    _queue_broken_off(study)
    plan = _plan_trials(
        study, cases, job, space, trials=trials, listeners=listeners, on_start=on_start
    )
    for done in run_jobs(plan, executor, listeners=listeners):
        ended = {trial.number: trial for trial in _report(study, job).trials}
        on_end(ended[done.settings["trial"].number], done.folder)
    return _report(study, job)


def _plan_trials(
    study: optuna.Study,
    cases: Sequence[Case],
    job: training.Job,
    space: Space,
    *,
    trials: int,
    listeners: Listeners,
    on_start: Callable[[int, Values], None],
) -> Iterator[Job]:
    """Draw a trial after what came of those before, until enough have ended or are under way."""
    if len(_ended(study)) >= trials:
        return
    subsets = _Subsets(tuple(cases), job, [_prepared(cases, job, listeners.preparing)])
    drawn = {name: distribution_of(row) for name, row in space.items()}
    while len(_ended(study)) + len(_under_way(study)) < trials:
        trial = study.ask(drawn)
        on_start(trial.number, decoded(trial.params))
        yield Job(job.out / "trials" / _folder_name(study, trial), "ended", _do_trial,
                  {"study": study, "trial": trial, "job": job, "subsets": subsets})  # fmt: skip


def _folder_name(study: optuna.Study, trial: optuna.Trial) -> str:
    """Return a name by values, so that what a kill broke off is found again.

    Workers may try the same values at the same time: two runs never write into one folder.
    """
    others = [other.params for other in _under_way(study) if other.number != trial.number]
    name = values_digest(trial.params)
    return f"{name}-{trial.number}" if trial.params in others else name


@dataclass(frozen=True)
class _Subsets:
    """What is trained and validated on: a worker prepares it anew, from the cache."""

    cases: tuple[Case, ...]
    job: training.Job
    kept: list[tuple[Subset, Subset]]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the pixels here: they are many, and stand in the cache."""
        return {**vars(self), "kept": []}

    def pair(self) -> tuple[Subset, Subset]:
        """Return train and val."""
        return self.kept[0] if self.kept else _prepared(self.cases, self.job, silent)


def _prepared(
    cases: Sequence[Case], job: training.Job, progress: Progress
) -> tuple[Subset, Subset]:
    subsets = training.prepare_subsets(cases, job, progress=progress)
    return subsets["train"], subsets["val"].without_copies()


def _open(job: training.Job) -> optuna.Study:
    """Open the journal; its trials are what a kill leaves behind."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = job.out / JOURNAL_FILE
    _cut_half_line(journal)
    # The lock by opening a file works where links do not, as on Windows and some mounts.
    lock = JournalFileOpenLock(str(journal))
    longest = max(1, job.recipe.epochs)
    pruner = optuna.pruners.HyperbandPruner(
        min_resource=max(1, longest // REDUCTION**2),
        max_resource=longest,
        reduction_factor=REDUCTION,
    )
    try:
        storage = JournalStorage(JournalFileBackend(str(journal), lock))
        study = optuna.create_study(
            storage=storage, study_name=STUDY, pruner=pruner, direction="minimize",
            load_if_exists=True,
        )  # fmt: skip
    except (ValueError, KeyError) as e:
        raise TrainingError(journal, f"is damaged ({e})", "Search in another folder.") from e
    # Another seed after each kill: the same one would draw what was tried already.
    seed = job.recipe.seed + len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
    return study


def _cut_half_line(journal: Path) -> None:
    """Drop the line that a kill cut short: with the next one behind it, it could not be read."""
    if journal.exists() and not (text := journal.read_bytes()).endswith(b"\n"):
        write_file(journal, text[: text.rfind(b"\n") + 1])


def _queue_broken_off(study: optuna.Study) -> None:
    """Queue what a kill broke off: with the same values it goes on in its own folder."""
    for trial in _under_way(study):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _under_way(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


@dataclass
class _Reporter:
    """Reports each epoch to the search, and breaks off a trial that is behind."""

    trial: optuna.Trial
    callback: TrainingCallback
    epochs: int  # of the recipe: at its last one there is nothing left to stop

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hand on."""
        self.callback.on_batch_end(epoch, done, total, loss)

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Hand on, report, and stop the trial where it is behind."""
        self.callback.on_epoch_end(row, is_best)
        self.report(row)
        if row["epoch"] < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned

    def report(self, row: Mapping[str, float]) -> None:
        """Write the validation loss of an epoch into the journal."""
        self.trial.report(row["val_loss"], int(row["epoch"]))


def _do_trial(
    folder: Path,
    listeners: Listeners,
    *,
    study: optuna.Study,
    trial: optuna.Trial,
    job: training.Job,
    subsets: "_Subsets",
) -> None:
    """Train one trial to its end, or to where it is behind, and tell the search."""
    if study.get_trials(deepcopy=False)[trial.number].state.is_finished():
        return  # by a worker that was killed in its last moment
    recipe = recipe_with(job.recipe, decoded(trial.params))
    folder.mkdir(parents=True, exist_ok=True)
    reporter = _Reporter(trial, listeners.callback, recipe.epochs)
    if (folder / STATE_FILE).exists():
        for row in read_history(folder / HISTORY_FILE):
            reporter.report(row)
    state, error = TrialState.COMPLETE, ""
    try:
        keras.backend.clear_session()
        training.fit_subsets(
            replace(job, recipe=recipe, out=folder), *subsets.pair(), callback=reporter
        )
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except TrainingError as e:
        state, error = TrialState.FAIL, e.fact
    history = read_history(folder / HISTORY_FILE)
    for name, value in (("seconds", sum(row["seconds"] for row in history)), ("error", error),
                        ("epochs", len(history)), ("ended", True)):  # fmt: skip
        trial.set_user_attr(name, value)
    best = min((row["val_loss"] for row in history), default=np.nan)
    study.tell(trial, best if state is TrialState.COMPLETE else None, state=state)
    (folder / STATE_FILE).unlink(missing_ok=True)  # many times the size of the network


def _ended(study: optuna.Study) -> list[Trial]:
    """Return the trials that came to an end; one that a kill broke off has none."""
    return [
        Trial(
            number=trial.number,
            state=STATES[trial.state],
            val_loss=min(trial.intermediate_values.values(), default=float("nan")),
            epochs=trial.user_attrs["epochs"],
            seconds=trial.user_attrs["seconds"],
            values=decoded(trial.params),
            error=trial.user_attrs["error"],
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in STATES and trial.user_attrs.get("ended")
    ]


def _report(study: optuna.Study, job: training.Job) -> Tuned:
    """Write the table, the plot and the best recipe so far.

    Raises TrainingError where three trials and more have ended and none was completed.
    """
    found = Tuned(job.recipe, tuple(_ended(study)))
    count = len(found.trials)
    write_trials(found.trials, job.out / TABLE_FILE)
    draw_trials(
        found.trials, _importance(study, found.trials), job.out / PLOT_FILE,
        title=f"{job.recipe.name}: {count} trials, chosen on validation",
    )  # fmt: skip
    if not any(trial.state == COMPLETE for trial in found.trials):
        if count < MAX_WITHOUT_ONE:
            return found
        fact = f"completed none of {count} trials ({found.trials[-1].error or 'all stopped'})"
        raise TrainingError(job.out, fact, "Mend that, or give another space.")
    summary = f"{job.recipe.summary}; tuned: trial {found.best.number} of {count}"
    recipe = replace(
        recipe_with(job.recipe, found.best.values), name=f"{job.recipe.name}-best", summary=summary
    )
    write_recipe(recipe, job.out / RECIPE_FILE)
    return replace(found, recipe=recipe)


def _importance(study: optuna.Study, trials: Sequence[Trial]) -> dict[str, float]:
    """Return each field's share of the variation (fANOVA, Hutter et al., 2014), largest first."""
    losses = {trial.val_loss for trial in trials if trial.state == COMPLETE}
    if len(losses) < MIN_FOR_IMPORTANCE:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
