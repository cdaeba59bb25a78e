"""Searching a recipe's space with Hyperband (Li et al., 2018), on validation alone.

Many recipes begin, and those that are behind at a rung are stopped early. Everything the
search knows is in one journal file, written after every epoch.
"""

from collections.abc import Callable, Mapping, Sequence
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
from tumorlens.files import replacing
from tumorlens.progress import Progress, TrainingCallback
from tumorlens.records import Case
from tumorlens.study.experiments.tuning_report import (
    COMPLETE,
    FAILED,
    PRUNED,
    Trial,
    draw_trials,
    write_trials,
)
from tumorlens.study.experiments.tuning_values import (
    decoded,
    distribution_of,
    own_values,
    recipe_with,
    values_digest,
)
from tumorlens.study.recipes import Recipe, Space, write_recipe
from tumorlens.study.training.data.training_set import Subset
from tumorlens.study.training.loop import fit, predict_logits
from tumorlens.study.training.run import Job, prepare_subsets
from tumorlens.study.training.run_folder import (
    HISTORY_FILE,
    STATE_FILE,
    open_or_resume,
    read_history,
)
from tumorlens.study.training.transfer.initialize import prepare_network
from tumorlens.study.training.validation_metrics import validation_metrics

PLAN_FILE, JOURNAL_FILE, RECIPE_FILE = "tune.json", "trials.journal", "recipe.json"
TABLE_FILE, PICTURE_FILE = "trials.csv", "trials.png"
STUDY = "tune"
REDUCTION = 3  # of the trials at a rung, one in so many goes on
STARTUP = 8  # trials at random before the sampler learns from them
HOPE = 3  # trials that may end without one being completed
LEAST_FOR_IMPORTANCE = 4  # completed trials
STATES = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    recipe: Recipe
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The completed trial with the least validation loss."""
        return _best(self.trials)


def _best(trials: Sequence[Trial]) -> Trial:
    return min((t for t in trials if t.state == COMPLETE), key=lambda t: (t.val_loss, t.number))


@dataclass
class _Reporter:
    """Tells the search of each epoch, and breaks off a trial that is behind."""

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


def tune(
    cases: Sequence[Case],
    job: Job,
    space: Space,
    *,
    trials: int,
    callback: TrainingCallback,
    progress: Progress | None = None,
    begun: Callable[[int, Mapping[str, Any]], None] | None = None,
) -> Tuned:
    """Try recipes from `space` around `job.recipe` until `trials` have ended; keep the best.

    Trial 0 has the recipe's own values, where the space contains them. Reads train and val,
    never test. Writes trials.csv, trials.png and recipe.json into `job.out`, and goes on there
    after a kill, in the epoch that was not finished.

    Raises TrainingError where the folder holds another search, or no trial could be completed.
    """
    own = own_values(job.recipe, space)
    open_or_resume(job.out / PLAN_FILE, _plan(job, space))
    parts = prepare_subsets(cases, job, progress=progress)
    parts["val"] = parts["val"].without_copies()
    study = _open(job)
    drawn = {name: distribution_of(row) for name, row in space.items()}
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(own)
    _take_up_again(study)
    while len(_ended(study)) < trials:
        trial = study.ask(drawn)
        if begun:
            begun(trial.number, {name: decoded(value) for name, value in trial.params.items()})
        _run(study, trial, job, parts=parts, callback=callback)
        _report(study, job)
    return _report(study, job)


def _plan(job: Job, space: Space) -> dict[str, Any]:
    return {
        "recipe": job.recipe.to_json(),
        "space": {name: row.to_json() for name, row in space.items()},
        "split": job.split.fingerprint,
    }


def _open(job: Job) -> optuna.Study:
    """Open the journal; its trials are what a kill leaves behind."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = job.out / JOURNAL_FILE
    _cut_half_line(journal)
    # The lock by opening a file works where links do not, as on Windows and some mounts.
    lock = JournalFileOpenLock(str(journal))
    longest = max(1, job.recipe.epochs)
    pruner = optuna.pruners.HyperbandPruner(
        min_resource=max(1, longest // REDUCTION**2), max_resource=longest,
        reduction_factor=REDUCTION,
    )  # fmt: skip
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
        with replacing(journal) as partial:
            partial.write_bytes(text[: text.rfind(b"\n") + 1])


def _take_up_again(study: optuna.Study) -> None:
    """Queue what a kill broke off: with the same values it goes on in its own folder."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _run(
    study: optuna.Study, trial: optuna.Trial, job: Job, *, parts: Mapping[str, Subset],
    callback: TrainingCallback,
) -> None:  # fmt: skip
    """Train one trial to its end, or to where it is behind, and tell the search."""
    recipe = recipe_with(job.recipe, {k: decoded(value) for k, value in trial.params.items()})
    folder = job.out / "trials" / values_digest(trial.params)
    folder.mkdir(parents=True, exist_ok=True)
    reporter = _Reporter(trial, callback, recipe.epochs)
    if (folder / STATE_FILE).exists():
        for row in read_history(folder / HISTORY_FILE):
            reporter.report(row)
    state, error = TrialState.COMPLETE, ""
    try:
        _fit(recipe, job, parts=parts, folder=folder, callback=reporter)
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


def _fit(
    recipe: Recipe,
    job: Job,
    *,
    parts: Mapping[str, Subset],
    folder: Path,
    callback: TrainingCallback,
) -> None:
    training, validation = parts["train"], parts["val"]
    keras.backend.clear_session()
    fit(
        recipe,
        training.to_training_set(),
        validate=lambda model: validation_metrics(
            predict_logits(model, validation.images), validation.names, validation.strata
        ),
        run=folder,
        callback=callback,
        prepare=lambda model: prepare_network(
            model, recipe, training=training, validation=validation, cache=job.cache,
            weights=job.weights or recipe.weights,
        ),
    )  # fmt: skip


def _ended(study: optuna.Study) -> list[Trial]:
    """Give the trials that came to an end; one that a kill broke off has none."""
    return [
        Trial(
            number=trial.number,
            state=STATES[trial.state],
            val_loss=min(trial.intermediate_values.values(), default=float("nan")),
            epochs=trial.user_attrs["epochs"],
            seconds=trial.user_attrs["seconds"],
            values={name: decoded(value) for name, value in trial.params.items()},
            error=trial.user_attrs["error"],
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in STATES and trial.user_attrs.get("ended")
    ]


def _report(study: optuna.Study, job: Job) -> Tuned:
    """Write the table, the picture and the best recipe so far.

    Raises TrainingError where three trials and more have ended and none was completed.
    """
    trials = _ended(study)
    write_trials(trials, job.out / TABLE_FILE)
    draw_trials(
        trials, _importance(study, trials), job.out / PICTURE_FILE,
        title=f"{job.recipe.name}: {len(trials)} trials, chosen on validation",
    )  # fmt: skip
    if not any(trial.state == COMPLETE for trial in trials):
        if len(trials) < HOPE:
            return Tuned(job.recipe, tuple(trials))
        fact = f"completed none of {len(trials)} trials ({trials[-1].error or 'all stopped'})"
        raise TrainingError(job.out, fact, "Mend that, or give another space.")
    best = _best(trials)
    summary = f"{job.recipe.summary}; tuned: trial {best.number} of {len(trials)}"
    recipe = replace(
        recipe_with(job.recipe, best.values), name=f"{job.recipe.name}-best", summary=summary
    )
    write_recipe(recipe, job.out / RECIPE_FILE)
    return Tuned(recipe, tuple(trials))


def _importance(study: optuna.Study, trials: Sequence[Trial]) -> dict[str, float]:
    """Give each field's share of the variation (fANOVA, Hutter et al., 2014), the largest first."""
    losses = {trial.val_loss for trial in trials if trial.state == COMPLETE}
    if len(losses) < LEAST_FOR_IMPORTANCE:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
