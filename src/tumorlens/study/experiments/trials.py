"""The trials of a search: what each draws from a recipe's space, and all as a table and a plot."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from tumorlens.errors import TrainingError
from tumorlens.files import write_table
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.plotting import BLUE, ORANGE, write_png
from tumorlens.study.recipes import Choices, Range, Recipe, Space
from tumorlens.study.recipes.spaces import OPTIONS

Values = Mapping[str, Any]  # field of a recipe, or option of its network -> what is tried
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
MARKS = {COMPLETE: ("o", BLUE), PRUNED: ("x", ORANGE)}


@dataclass(frozen=True)
class Trial:
    """One recipe of the search and what came of it."""

    number: int
    state: str  # complete | pruned | failed
    val_loss: float  # the least of its epochs; NaN where it failed
    epochs: int
    seconds: float
    values: Values
    error: str = ""


def distribution_of(row: Choices | Range) -> BaseDistribution:
    """Return what the search draws from; a choice stands in the journal as JSON."""
    if isinstance(row, Choices):
        return CategoricalDistribution([json.dumps(value) for value in row.values])
    return FloatDistribution(row.low, row.high, log=row.log)


def decoded(values: Values) -> Values:
    """Return what was drawn: text is a choice, which the journal has as JSON."""
    return {k: json.loads(v) if isinstance(v, str) else v for k, v in values.items()}


def own_values(recipe: Recipe, space: Space) -> Values:
    """Return what the recipe itself has for the fields of a space, as the journal has it.

    Fields whose own value is outside of the space are left out. Raises TrainingError for an
    option that the recipe's network has not.
    """
    parameters = inspect.signature(NETWORKS[recipe.network].build).parameters
    found = {}
    for name, row in space.items():
        option = name.removeprefix(OPTIONS)
        if name == option:
            value = getattr(recipe, name)
        elif option in parameters:
            value = recipe.options.get(option, parameters[option].default)
        else:
            known = ", ".join(k for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY)
            fix = f"Its network has: {known}."
            raise TrainingError(recipe.network, f"has no option {option}", fix)
        if row.holds(value):
            found[name] = json.dumps(value) if isinstance(row, Choices) else value
    return found


def recipe_with(recipe: Recipe, values: Values) -> Recipe:
    """Return the recipe with other values of its fields and of its network's options."""
    options = {k.removeprefix(OPTIONS): v for k, v in values.items() if k.startswith(OPTIONS)}
    plain = {name: value for name, value in values.items() if not name.startswith(OPTIONS)}
    return replace(recipe, **plain, options={**recipe.options, **options})


def values_digest(values: Values) -> str:
    """Name what was drawn, so that a trial that was broken off finds its folder again."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_trials(trials: Sequence[Trial], out: Path) -> None:
    """Write trials.csv: one row a trial, one column a field."""
    names = list(trials[0].values) if trials else []
    rows = []
    for trial in trials:
        loss = f"{trial.val_loss:.6g}" if np.isfinite(trial.val_loss) else ""
        cells = [trial.number, trial.state, loss, trial.epochs, f"{trial.seconds:.1f}"]
        rows.append([*cells, *(trial.values.get(name, "") for name in names), trial.error])
    columns = ["trial", "state", "val_loss", "epochs", "seconds", *names, "error"]
    write_table(out, columns, rows)


def draw_trials(
    trials: Sequence[Trial], importance: Mapping[str, float], out: Path, *, title: str
) -> None:
    """Draw validation loss by trial, each field against it, and how much each field mattered.

    `importance` is empty where too few trials were completed to tell.
    """
    shown = [trial for trial in trials if trial.state in MARKS and np.isfinite(trial.val_loss)]
    names = list(trials[0].values) if trials else []
    columns = 3
    rows = 1 + int(np.ceil(len(names) / columns))
    figure = plt.figure(figsize=(11, 3.2 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    _draw_history(figure.add_subplot(grid[0, :2]), shown)
    _draw_importance(figure.add_subplot(grid[0, 2]), importance)
    for i, name in enumerate(names):
        _draw_field(figure.add_subplot(grid[1 + i // columns, i % columns]), shown, name)
    figure.suptitle(title, fontsize=11)
    write_png(figure, out)


def _draw_history(axes: Axes, trials: Sequence[Trial]) -> None:
    for state, (mark, color) in MARKS.items():
        rows = [trial for trial in trials if trial.state == state]
        axes.plot([t.number for t in rows], [t.val_loss for t in rows], mark, color=color,
                  label=f"{state}, n={len(rows)}")  # fmt: skip
    full = [trial for trial in trials if trial.state == COMPLETE]
    if full:
        best = np.minimum.accumulate([trial.val_loss for trial in full])
        axes.step([t.number for t in full], best, where="post", color="0.4", label="best so far")
    axes.set(xlabel="trial (0: the recipe as it was)", ylabel="least validation loss (nats)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_importance(axes: Axes, importance: Mapping[str, float]) -> None:
    axes.set_title("share of the variation of the loss", fontsize=9)
    if not importance:
        axes.text(0.5, 0.5, "too few completed trials", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = list(importance)[::-1]
    axes.barh(names, [importance[name] for name in names], color=BLUE)
    axes.set(xlim=(0, 1))
    axes.tick_params(labelsize=8)


def _draw_field(axes: Axes, trials: Sequence[Trial], name: str) -> None:
    values = [trial.values[name] for trial in trials]
    plain = all(isinstance(value, int | float) for value in values)
    places = list(dict.fromkeys(map(str, values)))
    at = np.array(values if plain else [places.index(str(value)) for value in values], float)
    losses = np.array([trial.val_loss for trial in trials])
    for state, (mark, color) in MARKS.items():
        rows = np.array([trial.state == state for trial in trials], bool)
        axes.plot(at[rows], losses[rows], mark, color=color)
    if plain and len(at) and at.min() > 0 and at.max() > 20 * at.min():
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if not plain:
        axes.set_xticks(range(len(places)), places, fontsize=7)
    axes.set(xlabel=name, ylabel="loss")
    axes.grid(alpha=0.3)
