"""`train`: cases with parts in, a run folder with a bundle out."""

import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.models.bundle import Bundle
from tumorlens.progress import TrainingCallback
from tumorlens.records import Case
from tumorlens.study.data.splits import Split, leaks_of
from tumorlens.study.networks.weights import file_digest
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.curves import draw_curves
from tumorlens.study.training.data.subset import Part, prepare_part
from tumorlens.study.training.data.training_set import training_set
from tumorlens.study.training.loop import STATE_FILE, fit, predict_logits
from tumorlens.study.training.packaging.packaging import make_bundle, tumor_scores
from tumorlens.study.training.packaging.threshold_sweep import sweep_thresholds, write_sweep
from tumorlens.study.training.transfer.initialize import prepare_network
from tumorlens.study.training.transfer.warm_start import CONFIG_FILE, start_digest
from tumorlens.study.training.validation_metrics import validation_figures

LIBRARIES = ("tumorlens", "keras", "tensorflow-cpu", "tensorflow", "tf2onnx", "onnxruntime",
             "numpy", "opencv-python-headless", "scikit-learn")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One training run: what, from which split, and where to."""

    recipe: Recipe
    split: Split
    out: Path
    cache: Path  # of prepared images
    name: str  # of the bundle
    weights: str = ""  # of the backbone: a file instead of what the recipe says
    start: Path | None = None  # another run, whose network this one starts from
    steps: int = 0  # of an epoch; 0: as many as show each distinct picture about once

    @property
    def spec(self) -> InputSpec:
        """How its scans are prepared."""
        return InputSpec(side=self.recipe.side)


def train(
    cases: Sequence[Case],
    job: Job,
    *,
    callback: TrainingCallback,
    progress: Callable[[int, int], None] | None = None,
    extracting: Callable[[int, int], None] | None = None,
    resume: bool = False,
) -> Bundle:
    """Train on the cases whose `split` says train or val, and write `job.out/bundle`.

    Beside it stand the learning curves and what each threshold would do on validation.

    Cases of the test part are counted, never read. `progress` hears of prepared scans,
    `extracting` of features of a frozen network. Raises TrainingError where a part is
    empty, or where the folder holds a run and `resume` is False or the run is another.
    """
    config = _config(cases, job)
    _open_run(job.out, config, resume=resume)
    parts = prepare_parts(cases, job, progress=progress)
    validation = parts["val"].first_of_each_picture()
    strata = validation.strata
    trained = fit(
        job.recipe,
        training_set(parts["train"], job.recipe, job.spec),
        validate=lambda model: validation_figures(
            predict_logits(model, validation.images), validation.names, strata
        ),
        run=job.out,
        callback=callback,
        steps=job.steps,
        prepare=lambda model: prepare_network(
            model, job.recipe, training=parts["train"], validation=validation, cache=job.cache,
            weights=job.weights or job.recipe.weights, start=job.start, progress=extracting,
        ),
    )  # fmt: skip
    draw_curves(trained.history, trained.best_epoch, job.out / "learning_curves.png")
    bundle = make_bundle(
        trained, job.recipe, out=job.out / "bundle", name=job.name, spec=job.spec,
        training=parts["train"].first_of_each_picture(), validation=validation,
        details={
            "data": {key: config[key] for key in ("split", "cases", "leaks")},
            **{key: config[key] for key in ("weights_sha256", "start") if key in config},
            "environment": _environment(),
        },
    )  # fmt: skip
    _write_sweep(bundle, validation, job.out)
    return bundle


def prepare_parts(
    cases: Sequence[Case], job: Job, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Part]:
    """Prepare the cases of train and val; raises TrainingError where one has none."""
    return {
        part: prepare_part(
            [case for case in cases if case.split == part], job.spec,
            pictures=job.split.image_ids, cache=job.cache,
            unreadable=job.out / f"unreadable_{part}.csv", progress=progress,
        )
        for part in ("train", "val")
    }  # fmt: skip


def _write_sweep(bundle: Bundle, validation: Part, out: Path) -> None:
    truth = np.array([labels.is_tumor(label) for label in validation.names])
    groups = np.array([case.group or case.key for case in validation.cases])
    scores = tumor_scores(bundle, validation.images)
    write_sweep(sweep_thresholds(scores, truth, groups=groups, chosen=bundle.threshold), out)


def _config(cases: Sequence[Case], job: Job) -> dict[str, Any]:
    leak = leaks_of(job.split)
    counts = Counter((case.split, case.dataset, case.label) for case in cases)
    file = {"weights_sha256": file_digest(Path(job.weights))} if job.weights else {}
    steps = {"steps": job.steps} if job.steps else {}
    start = {"run": job.start.name, "sha256": start_digest(job.start)} if job.start else None
    return {
        **file,
        **steps,
        **({"start": start} if start else {}),
        "recipe": job.recipe.to_json(),
        "split": job.split.fingerprint,
        "leaks": {"n": leak.n, "share": leak.share},
        "atoms": list(labels.ATOMS),
        "cases": {
            part: {f"{d}/{n}": k for (s, d, n), k in sorted(counts.items(), key=str) if s == part}
            for part in ("train", "val", "test")
        },
    }


def _open_run(out: Path, config: dict[str, Any], *, resume: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stored = out / CONFIG_FILE
    # A run that ended before its first state, as where a download failed, leaves nothing to lose.
    if stored.exists() and (resume or (out / STATE_FILE).exists()):
        if not resume:
            fix = "Go on with --resume, or name another folder."
            raise TrainingError(out, "holds a run already", fix)
        if _completed(_read_config(stored)) != json.loads(json.dumps(config)):
            fix = "Resume with the same recipe, folders and split, or name another folder."
            raise TrainingError(out, "holds a run of another recipe, data set or split", fix)
    partial = stored.with_name(CONFIG_FILE + ".partial")
    partial.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    partial.replace(stored)
    (out / "environment.json").write_text(json.dumps(_environment(), indent=1) + "\n")


def _read_config(stored: Path) -> Any:
    try:
        return json.loads(stored.read_text(encoding="utf-8"))
    except ValueError as e:
        raise TrainingError(stored, "is damaged", "Train into another folder.") from e


def _completed(config: Any) -> Any:
    """Fill a run's recipe with the fields it did not have yet, which then had their defaults."""
    try:
        return {**config, "recipe": Recipe(**config["recipe"]).to_json()}
    except (TypeError, KeyError):
        return config


def _environment() -> dict[str, Any]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "keras_backend": keras.backend.backend(),
        "libraries": found,
    }
