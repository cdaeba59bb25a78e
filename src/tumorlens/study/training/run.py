"""`train`: cases with parts in, a run folder with a bundle out."""

import csv
import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.cache import PreparedSet, prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.models.bundle import Abstention, Bundle, Scope, load_bundle, write_bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.calibration import calibrated
from tumorlens.records import Case
from tumorlens.reports.card import write_card
from tumorlens.study.recipes import Recipe
from tumorlens.study.training import calibrate
from tumorlens.study.training.batches import TrainingSet, one_of_each_picture
from tumorlens.study.training.curves import draw_curves
from tumorlens.study.training.export import check_round_trip, export_graph
from tumorlens.study.training.loop import HISTORY_FILE, STATE_FILE, Trained, Watcher, fit
from tumorlens.study.training.loop import predict_logits
from tumorlens.study.training.monitor import validation_figures

CONFIG_FILE = "config.json"
LIBRARIES = ("tumorlens", "keras", "tensorflow-cpu", "tensorflow", "tf2onnx", "onnxruntime",
             "numpy", "opencv-python-headless", "scikit-learn")  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The usable cases of one part, prepared."""

    cases: tuple[Case, ...]
    images: NDArray[np.uint8]  # [n, side, side]
    pictures: NDArray[np.int64]  # [n] files of one picture share a number

    def first_of_each_picture(self) -> "Part":
        """Keep one file of each picture."""
        rows = one_of_each_picture(self.pictures, np.arange(len(self.cases)))
        rows = np.sort(rows)
        cases = tuple(self.cases[row] for row in rows)
        return Part(cases, self.images[rows], self.pictures[rows])

    @property
    def names(self) -> list[str]:
        """Labels, in order."""
        return [case.label for case in self.cases]


def train(
    cases: Sequence[Case],
    recipe: Recipe,
    *,
    out: Path,
    cache: Path,
    pictures: Mapping[str, str],
    split_fingerprint: str,
    leaks: Mapping[str, Any],
    name: str,
    resume: bool,
    watcher: Watcher,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Train a recipe on cases whose `split` says train or val, and write `out/bundle`.

    `pictures` maps case keys to pictures (copies share one); cases of the test part are not
    read. Raises TrainingError where a part is missing, or where `out` holds another run.
    """
    config = _config(cases, recipe, split_fingerprint, leaks)
    _open_run(out, config, resume=resume)
    spec = InputSpec(side=recipe.side)
    train_part = _prepare_part(cases, "train", spec, cache, pictures, out, progress)
    val_part = _prepare_part(cases, "val", spec, cache, pictures, out, progress)
    val_part = val_part.first_of_each_picture()
    strata = _strata(val_part.cases)
    trained = fit(
        recipe,
        TrainingSet(
            train_part.images,
            labels.label_mask(train_part.names),
            train_part.pictures,
            _strata(train_part.cases),
        ),
        validate=lambda model: validation_figures(
            predict_logits(model, val_part.images), val_part.names, strata
        ),
        run=out,
        watcher=watcher,
    )
    draw_curves(trained.history, trained.best_epoch, out / "learning_curves.png")
    return _make_bundle(trained, recipe, spec, train_part, val_part, config, out, name)


def _config(
    cases: Sequence[Case], recipe: Recipe, fingerprint: str, leaks: Mapping[str, Any]
) -> dict[str, Any]:
    counts = Counter((case.split, case.dataset, case.label) for case in cases)
    return {
        "recipe": recipe.to_json(),
        "split": fingerprint,
        "leaks": dict(leaks),
        "atoms": list(labels.ATOMS),
        "cases": {
            part: {f"{d}/{n}": k for (s, d, n), k in sorted(counts.items(), key=str) if s == part}
            for part in ("train", "val", "test")
        },
    }


def _open_run(out: Path, config: dict[str, Any], *, resume: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stored = out / CONFIG_FILE
    if stored.exists():
        if not resume:
            fix = "Go on with --resume, or name another folder."
            raise TrainingError(out, "holds a run already", fix)
        if json.loads(stored.read_text(encoding="utf-8")) != json.loads(json.dumps(config)):
            fix = "Resume with the same recipe, folders and split, or name another folder."
            raise TrainingError(out, "holds a run of another recipe, data set or split", fix)
    stored.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (out / "environment.json").write_text(json.dumps(_environment(), indent=1) + "\n")


def _environment() -> dict[str, Any]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except ModuleNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "keras_backend": keras.backend.backend(),
        "libraries": found,
    }


def _prepare_part(
    cases: Sequence[Case],
    part: str,
    spec: InputSpec,
    cache: Path,
    pictures: Mapping[str, str],
    out: Path,
    progress: Callable[[int, int], None] | None,
) -> Part:
    chosen = [case for case in cases if case.split == part]
    if not chosen:
        fix = "Make a split with `tumorlens split`, with some scans in it."
        raise TrainingError("split", f"has no cases in {part}", fix)
    made = prepare_files([case.path for case in chosen], spec, cache=cache, progress=progress)
    _note_unreadable(made, chosen, out / f"unreadable_{part}.csv")
    rows = np.flatnonzero(made.usable)
    kept = tuple(chosen[row] for row in rows)
    names = [pictures.get(case.key, case.key) for case in kept]
    numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Part(kept, made.pixels[rows], numbers)


def _note_unreadable(made: PreparedSet, cases: Sequence[Case], out: Path) -> None:
    if not made.errors:
        return
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "error"])
        writer.writerows([cases[row].path, error] for row, error in sorted(made.errors.items()))


def _strata(cases: Sequence[Case]) -> NDArray[np.int64]:
    names = [f"{case.dataset}/{case.label}" for case in cases]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _make_bundle(
    trained: Trained,
    recipe: Recipe,
    spec: InputSpec,
    train_part: Part,
    val_part: Part,
    config: Mapping[str, Any],
    out: Path,
    name: str,
) -> Bundle:
    folder = out / "bundle"
    export_graph(trained.model, folder)
    draft = _draft(folder, name, spec)
    engine = Engine(draft)
    logits, embedding = run_engine(engine, val_part.images)
    few = slice(0, 64)
    difference = check_round_trip(trained.model, logits[few], val_part.images[few])
    reference = run_engine(engine, train_part.first_of_each_picture().images)[1]
    temperature = calibrate.fit_temperature(logits, val_part.names)
    scores = labels.tumor_probability(calibrated(logits, temperature))
    truth = np.array([labels.is_tumor(label) for label in val_part.names])
    choice = calibrate.choose_threshold(scores, truth, sensitivity=recipe.sensitivity_aim)
    details = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.to_json(),
        "data": {"split": config["split"], "cases": config["cases"], "leaks": config["leaks"]},
        "validation": {
            "n": len(val_part.cases),
            "epoch": trained.best_epoch,
            **validation_figures(logits, val_part.names, _strata(val_part.cases)),
        },
        "parameters": int(trained.model.count_params()),
        "round_trip": difference,
        "environment": _environment(),
    }
    bundle = Bundle(
        **{
            **vars(draft),
            "temperature": temperature,
            "threshold": choice["threshold"],
            "threshold_choice": choice,
            "abstention": calibrate.choose_band(scores, truth, threshold=choice["threshold"]),
            "scope": calibrate.choose_scope(reference, embedding, seed=recipe.seed),
            "details": details,
        }
    )
    write_bundle(bundle, write_card(bundle))
    return load_bundle(folder)


def _draft(folder: Path, name: str, spec: InputSpec) -> Bundle:
    return Bundle(
        folder=folder,
        name=name,
        sha256="",
        atoms=labels.ATOMS,
        spec=spec,
        temperature=1.0,
        threshold=0.5,
        threshold_choice={},
        abstention=Abstention(0.5, 0.5, 0.0),
        scope=Scope(np.ones((1, 1), np.float32), 1, 2.0, 1.0),
        details={},
    )


def run_engine(
    engine: Engine, images: NDArray[np.uint8], *, batch: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give logits [n, atoms] and embedding [n, D] of prepared images."""
    made = [engine.run(images[start : start + batch]) for start in range(0, len(images), batch)]
    return np.concatenate([m.logits for m in made]), np.concatenate([m.embedding for m in made])
