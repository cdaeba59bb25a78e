"""How the error falls with the number of patients: one recipe on growing parts of train."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.predictions.predictor import load_predictor
from tumorlens.progress import SilentCallback
from tumorlens.records import Case, Prediction
from tumorlens.settings import load_settings
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.learning_curve_report import draw_curve, summarize, write_runs
from tumorlens.study.experiments.subprocess_runner import in_own_process
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.run_folder import open_or_resume, read_json, write_json

PLAN_FILE, RUN_FILE = "plan.json", "result.json"
JSON_FILE, TABLE_FILE, PICTURE_FILE = "size_curve.json", "size_curve.csv", "size_curve.png"
Run = dict[str, Any]
Caller = Callable[..., tuple[Any, int | None]]


@dataclass(frozen=True)
class SizeJob:
    """A size curve: what, at which sizes, how often, and where to."""

    recipe: Recipe
    split: Split
    out: Path
    cache: Path  # of prepared images
    shares: tuple[float, ...] = (5, 10, 25, 50, 100)  # percent of the training groups
    seeds: int = 3
    same_updates: bool = False  # as many steps an epoch as all of train would have
    weights: str = ""  # as in a Job
    start: Path | None = None  # as in a Job

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        if not self.shares or not all(0 < share <= 100 for share in self.shares):
            shown = ", ".join(f"{share:g}" for share in self.shares) or "nothing"
            fix = "Give percents above 0 and up to 100."
            raise TrainingError("shares", f"{shown} cannot be taken of the groups", fix)


def groups_kept(cases: Sequence[Case], *, share: float, seed: int) -> set[str]:
    """Draw `share` percent of the groups of each data set and label, at least one of each.

    With one seed, what a smaller share draws is part of what a larger one draws. A group with
    several labels is drawn by the first of them.
    """
    label_of: dict[str, str] = {}
    for case in sorted(cases, key=lambda case: case.key):
        label_of.setdefault(case.group or case.key, f"{case.dataset}/{case.label}")
    kept: set[str] = set()
    rng = np.random.default_rng(seed)
    for stratum in sorted(set(label_of.values())):
        own = sorted(group for group, label in label_of.items() if label == stratum)
        count = max(1, round(len(own) * share / 100))
        kept |= {own[i] for i in rng.permutation(len(own))[:count]}
    return kept


def measure_sizes(
    cases: Sequence[Case],
    job: SizeJob,
    *,
    call: Caller = in_own_process,
    progress: Callable[[int, int], None] | None = None,
    ended: Callable[[int, int, Run], None] | None = None,
) -> dict[str, Any]:
    """Train at every share with every seed, and judge each on the same test part.

    Writes size_curve.json, .csv and .png into `job.out` and gives what stands in the first. A
    run that was finished is not done again. `progress` hears of prepared scans, `ended` which
    one of how many has ended. `call` runs a function, by default in its own process.
    """
    open_or_resume(job.out / PLAN_FILE, _plan(cases, job))
    files = [case.path for case in cases if case.split in ("train", "val")]
    # All are prepared before, so that the first run is not charged for the others.
    prepare_files(files, InputSpec(side=job.recipe.side), cache=job.cache, progress=progress)
    planned = [(share, seed) for share in sorted(job.shares) for seed in range(job.seeds)]
    runs: list[Run] = []
    for number, (share, seed) in enumerate(planned, start=1):
        folder = job.out / f"size-{share:g}-seed-{seed}"
        if not (folder / RUN_FILE).exists():
            found, peak = call(_train_and_judge, cases, job, share, seed, folder, subject=folder)
            write_json(folder / RUN_FILE, {**found, "peak_mb": peak and round(peak / 2**20, 1)})
        runs.append(read_json(folder / RUN_FILE))
        _write(runs, job, cases)
        if ended:
            ended(number, len(planned), runs[-1])
    return read_json(job.out / JSON_FILE)


def _plan(cases: Sequence[Case], job: SizeJob) -> dict[str, Any]:
    return {
        "recipe": job.recipe.to_json(),
        "split": job.split.fingerprint,
        "cases": len(cases),
        "same_updates": job.same_updates,
        **({"start": str(job.start.name)} if job.start else {}),
    }


def _write(runs: Sequence[Run], job: SizeJob, cases: Sequence[Case]) -> None:
    curve = summarize(runs)
    write_json(job.out / JSON_FILE, {**_plan(cases, job), "curve": curve, "runs": list(runs)})
    write_runs(runs, job.out / TABLE_FILE)
    draw_curve(curve, job.out / PICTURE_FILE, title=f"{job.recipe.name}, {len(runs)} runs")


def _train_and_judge(
    cases: Sequence[Case], job: SizeJob, share: float, seed: int, folder: Path
) -> Run:
    """Do one run; it goes on where a kill broke it off."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.run import Job, train

    learned = [case for case in cases if case.split == "train"]
    kept = groups_kept(learned, share=share, seed=seed)
    taken = [c for c in cases if c.split != "train" or (c.group or c.key) in kept]
    recipe = replace(job.recipe, seed=job.recipe.seed + seed)
    steps = _pictures(learned, job) // recipe.batch if job.same_updates else 0
    one = Job(
        recipe, job.split, folder, job.cache, folder.name, weights=job.weights, start=job.start,
        steps=steps,
    )  # fmt: skip
    clocks = time.perf_counter(), time.process_time()
    bundle = train(taken, one, callback=SilentCallback(), resume=True)
    seconds, cpu = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    test = [case for case in cases if case.split == "test"]
    found = load_predictor(bundle.folder, load_settings()).predict([case.path for case in test])
    own = [case for case in taken if case.split == "train"]
    return {
        "share": share, "seed": seed, "groups": len(kept), "pictures": _pictures(own, job),
        "scans": len(own), "best_epoch": bundle.details["validation"]["epoch"],
        "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), **errors_of(test, found),
    }  # fmt: skip


def _pictures(cases: Sequence[Case], job: SizeJob) -> int:
    return len({job.split.image_ids.get(case.key, case.key) for case in cases})


def errors_of(cases: Sequence[Case], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Give 1 - AUC of detection (all, CT, MRI) and the error of the type, with their n.

    A figure that the cases cannot show is None; scans that cannot be read are left out.
    """
    read = [(c, p) for c, p in zip(cases, predictions, strict=True) if not p.error]
    found: dict[str, Any] = {"unreadable": len(cases) - len(read)}
    for part in ("all", *labels.MODALITIES):
        own = [(c, p) for c, p in read if part in ("all", labels.modality_of(c.label))]
        truth = [labels.is_tumor(case.label) for case, _ in own]
        error = None
        if len(set(truth)) == 2:
            error = 1 - float(roc_auc_score(truth, [p.tumor_probability for _, p in own]))
        found |= {f"error_{part}": error, f"n_{part}": len(own)}
    typed = [(c, p) for c, p in read if labels.type_of(c.label)]
    wrong = [_best_type(prediction) != labels.type_of(case.label) for case, prediction in typed]
    return {**found, "error_type": float(np.mean(wrong)) if wrong else None, "n_type": len(wrong)}


def _best_type(prediction: Prediction) -> str:
    atoms = np.array([prediction.atoms[atom] for atom in labels.ATOMS])
    return labels.TYPES[int(labels.type_probabilities(atoms[None])[0].argmax())]
