"""How the error falls with the number of patients: one recipe on growing parts of train."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.files import write_table
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import write_json
from tumorlens.progress import Progress, silent
from tumorlens.records import Case
from tumorlens.study.data.splits import PARTS, Split
from tumorlens.study.experiments.runner import (
    Executor,
    Job,
    Listeners,
    in_own_process,
    peak_memory,
    reset_peak_memory,
    run_jobs,
)
from tumorlens.study.experiments.scores import (
    SCORES_FILE,
    Json,
    Score,
    detection,
    predict_cases,
    scores_of,
    train_network,
    type_accuracy,
    write_scores,
)
from tumorlens.study.plotting import BLUE, GRAY, ORANGE, PURPLE, write_png
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.preconditions import check_preconditions
from tumorlens.study.training.run_folder import open_or_resume, read_json

PLAN_FILE, RUN_FILE = "plan.json", "result.json"
JSON_FILE, TABLE_FILE, PLOT_FILE = "size_curve.json", "size_curve.csv", "size_curve.png"
ERRORS = {
    "error_all": ("1 - AUC, all scans", GRAY),
    "error_ct": ("1 - AUC, CT", ORANGE),
    "error_mri": ("1 - AUC, MRI", BLUE),
    "error_type": ("error of the type", PURPLE),
}
SIZES = ("groups", "pictures", "scans")
COSTS = ("seconds", "cpu_seconds", "peak_mb")
COLUMNS = ("share", "seed", *SIZES, "best_epoch", *ERRORS, *COSTS,
           "n_all", "n_ct", "n_mri", "n_type", "unreadable")  # fmt: skip


@dataclass(frozen=True)
class LearningCurve:
    """What is trained, at which sizes, how often, and where to."""

    recipe: Recipe
    split: Split
    out: Path
    cache: Path  # of prepared images
    shares: tuple[float, ...] = (5, 10, 25, 50, 100)  # percent of the training groups
    seeds: int = 3
    same_updates: bool = False  # as many steps an epoch as all of train would have
    weights: str = ""  # of the backbone: a file instead of what the recipe says
    start: Path | None = None  # another run, whose network every run starts from

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        if not self.shares or not all(0 < share <= 100 for share in self.shares):
            named = ", ".join(f"{share:g}" for share in self.shares) or "nothing"
            fix = "Give percents above 0 and up to 100."
            raise TrainingError("shares", f"{named} cannot be taken of the groups", fix)

    def to_json(self, cases: Sequence[Case]) -> Json:
        """Return what has to be the same when work goes on."""
        return {
            "recipe": self.recipe.to_json(),
            "split": self.split.fingerprint,
            "cases": len(cases),
            "same_updates": self.same_updates,
            **({"start": self.start.name} if self.start else {}),
        }


@dataclass(frozen=True)
class Run:
    """One network of the curve, as result.json has it; errors are None where none can be."""

    share: float
    seed: int
    groups: int
    pictures: int
    scans: int
    best_epoch: int
    seconds: float
    cpu_seconds: float
    unreadable: int
    error_all: float | None
    n_all: int
    error_ct: float | None
    n_ct: int
    error_mri: float | None
    n_mri: int
    error_type: float | None
    n_type: int
    peak_mb: float | None


@dataclass(frozen=True)
class Band:
    """A figure of the runs at one size."""

    mean: float
    least: float
    greatest: float


Curve = Mapping[float, Mapping[str, Band | None]]  # share -> figure -> over seeds


def measure_learning_curve(
    cases: Sequence[Case],
    plan: LearningCurve,
    *,
    executor: Executor = in_own_process,
    progress: Progress = silent,
    on_end: Callable[[int, int, Run], None] = lambda _number, _total, _run: None,
) -> list[Run]:
    """Train at every share with every seed, and judge each on the same test part.

    Writes size_curve.json, .csv and .png into `plan.out`. A run that was finished is not done
    again. `progress` hears of prepared scans, `on_end` which one of how many has ended.
    """
    check_preconditions(cases, plan.recipe, out=plan.out, cache=plan.cache, parts=PARTS)
    open_or_resume(plan.out / PLAN_FILE, plan.to_json(cases))
    jobs = [
        Job(plan.out / f"size-{share:g}-seed-{seed}", RUN_FILE, _do_run,
            {"cases": cases, "plan": plan, "share": share, "seed": seed})
        for share in sorted(plan.shares) for seed in range(plan.seeds)
    ]  # fmt: skip
    if not all(job.is_done for job in jobs):
        # All are prepared before, so that the first run is not charged for the others.
        executor(Job(plan.out, "", _check_network, {"recipe": plan.recipe}), Listeners())
        files = [case.path for case in cases if case.split in ("train", "val")]
        prepare_files(files, InputSpec(side=plan.recipe.side), cache=plan.cache, progress=progress)
    runs: list[Run] = []
    for job in run_jobs(jobs, executor):
        run = Run(**read_json(job.folder / RUN_FILE))
        runs = sorted((*runs, run), key=lambda run: (run.share, run.seed))
        _write(runs, plan, cases)
        on_end(len(runs), len(jobs), run)
    return runs


def _check_network(folder: Path, listeners: Listeners, *, recipe: Recipe) -> None:
    """Check what needs Keras, where that is loaded anyway."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.learner import check_network

    check_network(recipe)


def _do_run(
    folder: Path,
    listeners: Listeners,
    *,
    cases: Sequence[Case],
    plan: LearningCurve,
    share: float,
    seed: int,
) -> None:
    """Train one network, write what it answers for the test part, and what it took."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    reset_peak_memory()
    learned = [case for case in cases if case.split == "train"]
    kept = groups_kept(learned, share=share, seed=seed)
    taken = [c for c in cases if c.split != "train" or c.group_name in kept]
    recipe = replace(plan.recipe, seed=plan.recipe.seed + seed)
    steps = _image_count(learned, plan) // recipe.batch if plan.same_updates else 0
    clocks = time.perf_counter(), time.process_time()
    bundle = train_network(
        taken, plan.split, recipe=recipe, out=folder, cache=plan.cache, weights=plan.weights,
        start=plan.start, steps=steps, listeners=listeners,
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    predicted = predict_cases(bundle, [case for case in cases if case.split == "test"])
    scores = scores_of(predicted)
    write_scores(scores, folder / SCORES_FILE)
    train_cases, peak = [case for case in taken if case.split == "train"], peak_memory()
    found = {
        "share": share, "seed": seed, "groups": len(kept), "scans": len(train_cases),
        "pictures": _image_count(train_cases, plan),
        "best_epoch": bundle.provenance.validation["epoch"],
        "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2),
        "unreadable": len(predicted) - len(scores), **errors_of(scores),
        "peak_mb": peak and round(peak / 2**20, 1),
    }  # fmt: skip
    write_json(found, folder / RUN_FILE)


def groups_kept(cases: Sequence[Case], *, share: float, seed: int) -> set[str]:
    """Draw `share` percent of the groups of each data set and label, at least one of each.

    With one seed, what a smaller share draws is part of what a larger one draws. A group with
    several labels is drawn by the first of them.
    """
    label_of: dict[str, str] = {}
    for case in sorted(cases, key=lambda case: case.key):
        label_of.setdefault(case.group_name, f"{case.dataset}/{case.label}")
    kept: set[str] = set()
    rng = np.random.default_rng(seed)
    for stratum in sorted(set(label_of.values())):
        members = sorted(group for group, label in label_of.items() if label == stratum)
        count = max(1, round(len(members) * share / 100))
        kept |= {members[i] for i in rng.permutation(len(members))[:count]}
    return kept


def _image_count(cases: Sequence[Case], plan: LearningCurve) -> int:
    return len({plan.split.image_ids.get(case.key, case.key) for case in cases})


def errors_of(scores: Sequence[Score]) -> dict[str, float | int | None]:
    """Return 1 - AUC of detection (all, CT, MRI) and the error of the type, with their n.

    A figure that the scores cannot show is None.
    """
    found: dict[str, float | int | None] = {}
    for part in ("all", *labels.MODALITIES):
        rows = [s for s in scores if part in ("all", labels.modality_of(s.label))]
        auc = detection(rows)(np.ones((1, len(rows))))["auc"][0] if rows else np.nan
        found |= {f"error_{part}": _error(auc), f"n_{part}": len(rows)}
    typed = [score for score in scores if labels.type_of(score.label)]
    right = type_accuracy(typed)(np.ones((1, len(typed))))["accuracy"][0] if typed else np.nan
    return {**found, "error_type": _error(right), "n_type": len(typed)}


def _error(right: float) -> float | None:
    return 1 - float(right) if np.isfinite(right) else None


def _write(runs: Sequence[Run], plan: LearningCurve, cases: Sequence[Case]) -> None:
    curve = curve_of(runs)
    points = [
        {"share": share, "runs": sum(run.share == share for run in runs),
         **{name: band and asdict(band) for name, band in bands.items()}}
        for share, bands in curve.items()
    ]  # fmt: skip
    found = {**plan.to_json(cases), "curve": points, "runs": [asdict(run) for run in runs]}
    write_json(found, plan.out / JSON_FILE)
    rows = ([_cell(getattr(run, name)) for name in COLUMNS] for run in runs)
    write_table(plan.out / TABLE_FILE, COLUMNS, rows)
    draw_curve(curve, plan.out / PLOT_FILE, title=f"{plan.recipe.name}, {len(runs)} runs")


def _cell(value: float | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def curve_of(runs: Sequence[Run]) -> Curve:
    """Return, for each share, the mean, the least and the greatest over seeds of each figure."""
    return {
        share: {
            name: _band([getattr(run, name) for run in runs if run.share == share])
            for name in (*SIZES, *ERRORS, *COSTS)
        }
        for share in sorted({run.share for run in runs})
    }


def _band(values: Sequence[float | None]) -> Band | None:
    known = [value for value in values if value is not None]
    return Band(float(np.mean(known)), min(known), max(known)) if known else None


def draw_curve(curve: Curve, out: Path, *, title: str) -> None:
    """Draw error, time and memory by the number of training groups; bands span the seeds."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.4), layout="constrained", width_ratios=(2, 1, 1)
    )
    for name, (label, color) in ERRORS.items():
        _draw_band(left, curve, name, label=label, color=color)
    left.set(yscale="log", ylabel="error on the test part", title=title)
    _draw_band(middle, curve, "seconds", label="wall clock", color=BLUE)
    _draw_band(middle, curve, "cpu_seconds", label="processor", color=ORANGE)
    middle.set(ylabel="seconds of training")
    _draw_band(right, curve, "peak_mb", label="peak of the process", color=BLUE)
    right.set(ylabel="memory (MiB)")
    for axes in (left, middle, right):
        axes.set(xscale="log", xlabel="training groups")
        axes.grid(alpha=0.3, which="both")
        if axes.lines:
            axes.legend(fontsize=8)
    write_png(figure, out)


def _draw_band(axes: Axes, curve: Curve, name: str, *, label: str, color: str) -> None:
    # No error at all has no place on a logarithmic axis: it is drawn at half of the least one.
    known = [band.least for row in curve.values() for error in ERRORS if (band := row[error])]
    floor = min(filter(None, known), default=1e-3) / 2 if name in ERRORS else 0.0
    rows = [
        (groups.mean, *(max(value, floor) for value in asdict(band).values()))
        for row in curve.values()
        if (groups := row["groups"]) and (band := row[name])
    ]
    if rows:
        at, mean, least, greatest = np.array(rows).T
        axes.plot(at, mean, "o-", color=color, label=label)
        axes.fill_between(at, least, greatest, color=color, alpha=0.15, lw=0)
