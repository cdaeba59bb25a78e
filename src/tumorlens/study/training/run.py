"""`train`: cases with parts in, a run folder with a bundle out."""

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from tumorlens.files import write_table
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import from_json, write_json
from tumorlens.models.bundle import Bundle
from tumorlens.models.performance import (
    Environment,
    Leaks,
    Provenance,
    TeacherBundle,
    TrainingData,
    WarmStart,
)
from tumorlens.progress import Progress, TrainingCallback, silent
from tumorlens.records import Case
from tumorlens.study.data.splits import Split, leaks_of
from tumorlens.study.networks.weights import file_digest
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.curves import draw_curves
from tumorlens.study.training.data.training_set import Subset, prepare_subset, training_set
from tumorlens.study.training.learner import check_network
from tumorlens.study.training.loop import Trained, fit, predict_logits
from tumorlens.study.training.packaging.assemble import make_bundle, tumor_scores
from tumorlens.study.training.packaging.bundle_performance import sweep_thresholds, write_sweep
from tumorlens.study.training.preconditions import LEARNED_PARTS, check_preconditions
from tumorlens.study.training.run_folder import (
    CONFIG_FILE,
    STATE_FILE,
    RunConfig,
    open_or_resume,
)
from tumorlens.study.training.teacher import Teacher, describe_teacher
from tumorlens.study.training.transfer.initialize import prepare_network, run_digest
from tumorlens.study.training.validation_metrics import validation_metrics

LIBRARIES = ("tumorlens", "keras", "tensorflow-cpu", "tensorflow", "tf2onnx", "onnxruntime",
             "numpy", "opencv-python-headless", "scikit-learn")  # fmt: skip
NOT_PLAIN_FILE = "not_plain.csv"


@dataclass(frozen=True)
class Job:
    """One training run: what, from which split, and where to."""

    recipe: Recipe
    split: Split
    out: Path
    cache: Path  # of prepared images
    name: str  # of the bundle
    weights: str = ""  # of the backbone: a file instead of what the recipe names
    start: Path | None = None  # another run, whose network this one starts from
    steps: int = 0  # of an epoch; 0: as many as show each distinct image about once
    teacher: Bundle | None = None  # whose answers it learns too

    @property
    def spec(self) -> InputSpec:
        """How its scans are prepared."""
        return InputSpec(side=self.recipe.side)


def train(
    cases: Sequence[Case],
    job: Job,
    *,
    callback: TrainingCallback,
    progress: Progress = silent,
    extracting: Progress = silent,
    on_prepared: Callable[[Path], None] = lambda _out: None,
    resume: bool = False,
) -> Bundle:
    """Train on the cases whose `split` is train or val, and write `job.out/bundle`.

    Beside it stand the learning curves and what each threshold would do on validation. Cases of
    the test part are counted, never read. `progress` hears of prepared scans, `extracting` of
    features of a frozen network, `on_prepared` of the run's folder, when the tables of what
    cannot be read stand in it. Raises TrainingError where a precondition does not hold, or where
    the folder holds a run and `resume` is False or the run is another.
    """
    learned = [case for case in cases if case.split in LEARNED_PARTS]
    check_network(job.recipe)
    check_preconditions(learned, job.recipe, out=job.out, cache=job.cache, parts=LEARNED_PARTS)
    config = _config(cases, job)
    has_started = (job.out / STATE_FILE).exists()
    open_or_resume(job.out / CONFIG_FILE, config.to_json(), resume=resume, has_started=has_started)
    write_json(_environment(), job.out / "environment.json")
    training, validation = _prepared(cases, job, progress=progress)
    on_prepared(job.out)
    trained = fit_subsets(job, training, validation, callback=callback, extracting=extracting)
    draw_curves(trained.history, trained.best_epoch, job.out / "learning_curves.png")
    return _packed(trained, job, config, training=training, validation=validation)


def _packed(
    trained: Trained, job: Job, config: RunConfig, *, training: Subset, validation: Subset
) -> Bundle:
    """Make the bundle, and write what each threshold would do on validation."""
    provenance = _provenance(config, has_learned=trained.best_epoch > 0)
    bundle = make_bundle(
        trained, job.recipe, out=job.out / "bundle", name=job.name, spec=job.spec,
        training=training.without_copies(), validation=validation, provenance=provenance,
    )  # fmt: skip
    scores, groups = tumor_scores(bundle, validation.images), validation.groups
    sweep = sweep_thresholds(scores, validation.truth, groups=groups, chosen=bundle.threshold)
    write_sweep(sweep, job.out)
    return bundle


def _prepared(cases: Sequence[Case], job: Job, *, progress: Progress) -> tuple[Subset, Subset]:
    """Return what to train on, and what to validate on without its copies."""
    subsets = prepare_subsets(cases, job, progress=progress)
    write_not_plain(subsets, job.out)
    return subsets["train"], subsets["val"].without_copies()


def prepare_subsets(
    cases: Sequence[Case], job: Job, *, progress: Progress = silent
) -> dict[str, Subset]:
    """Prepare the cases of train and val; raises TrainingError where one has none."""
    return {
        part: prepare_subset(
            [case for case in cases if case.split == part],
            job.spec,
            image_ids=job.split.image_ids,
            cache=job.cache,
            unreadable=job.out / f"unreadable_{part}.csv",
            progress=progress,
        )
        for part in ("train", "val")
    }


def write_not_plain(subsets: Mapping[str, Subset], out: Path) -> None:
    """List what is learned from and is not one plain slice; without any there is no list."""
    rows = [
        (part, str(path), why)
        for part, subset in subsets.items()
        for path, why in subset.not_plain.items()
    ]
    if rows:
        write_table(out / NOT_PLAIN_FILE, ["split", "path", "reason"], rows)


def fit_subsets(
    job: Job,
    training: Subset,
    validation: Subset,
    *,
    callback: TrainingCallback,
    extracting: Progress = silent,
) -> Trained:
    """Train the job's recipe in its folder; `validation` holds no copies."""
    recipe, names, strata = job.recipe, validation.names, validation.strata

    def validate(model: keras.Model) -> dict[str, float]:
        return validation_metrics(predict_logits(model, validation.images), names, strata)

    def prepare(model: keras.Model) -> float | None:
        return prepare_network(
            model,
            recipe,
            training=training,
            validation=validation,
            cache=job.cache,
            weights=job.weights or recipe.weights,
            start=job.start,
            progress=extracting,
        )

    data = training_set(training, recipe, job.spec)
    return fit(
        recipe, data, validate=validate, run=job.out, callback=callback, steps=job.steps,
        prepare=prepare, has_start=job.start is not None,
        teach=Teacher(job.teacher).answer if job.teacher else None,
    )  # fmt: skip


def _config(cases: Sequence[Case], job: Job) -> RunConfig:
    leak = leaks_of(job.split)
    counts = Counter((case.split, case.dataset, case.label) for case in cases)
    return RunConfig(
        recipe=job.recipe,
        split=job.split.fingerprint,
        leaks={"n": leak.n, "share": leak.share},
        cases={
            part: {f"{d}/{n}": k for (s, d, n), k in sorted(counts.items(), key=str) if s == part}
            for part in ("train", "val", "test")
        },
        weights_sha256=file_digest(Path(job.weights)) if job.weights else "",
        start={"run": job.start.name, "sha256": run_digest(job.start)} if job.start else {},
        steps=job.steps,
        teacher=asdict(describe_teacher(job.teacher)) if job.teacher else {},
    )


def _provenance(config: RunConfig, *, has_learned: bool) -> Provenance:
    """Return what the bundle keeps of the data and of the start of a run.

    Where the network itself `has_learned` nothing, its head never heard of a teacher.
    """
    return Provenance(
        data=TrainingData(config.split, config.cases, from_json(Leaks, config.leaks)),
        weights_sha256=config.weights_sha256,
        start=WarmStart(**config.start) if config.start else None,
        teacher=TeacherBundle(**config.teacher) if config.teacher and has_learned else None,
        environment=_environment(),
    )


def _environment() -> Environment:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return Environment(
        python=platform.python_version(),
        system=platform.system(),
        processor=platform.machine(),
        keras_backend=keras.backend.backend(),
        libraries=found,
    )
