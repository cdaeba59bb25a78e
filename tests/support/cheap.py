"""The same commands for less: few resamples, small samples, one drawing of each kind.

For tests that ask whether commands run and what they leave, not what the figures are.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from tumorlens.json_records import to_json
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.records import Case
from tumorlens.study import phantom
from tumorlens.study.audit import page
from tumorlens.study.explore import class_images, report, separation
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.stats import intervals
from tumorlens.study.training import run
from tumorlens.study.training.packaging import assemble, bundle_performance

RESAMPLES = PERMUTATIONS = 50
OOD_IMAGES = 30
# Two convolutions: what takes long is the graph of a training step, and it grows with the layers.
SMALL = {
    "side": 48, "train_side": 48, "epochs": 2, "batch": 16, "warmup_epochs": 0.0,
    "options": {"stem": 8, "widths": [8, 8], "depths": [0, 0]}, "ood_images": OOD_IMAGES,
}  # fmt: skip


def make_cheap(patch: pytest.MonkeyPatch) -> None:
    """Keep what takes time small, until the patch is undone."""
    few_resamples(patch)
    one_model_of_features(patch)
    patch.setattr(assemble, "OOD_IMAGES", OOD_IMAGES)
    few_permutations(patch)
    for name in ("plot_mean", "plot_variability", "plot_montage", "plot_difference"):
        patch.setattr(report, name, drawn_once(getattr(report, name)))
    for place, name in ((bundle_performance, "draw_thresholds"), (page, "draw_shortcuts")):
        patch.setattr(place, name, drawn_once(getattr(place, name)))
    patch.setattr(run, "draw_curves", curves_drawn_once(run.draw_curves))


def few_resamples(patch: pytest.MonkeyPatch) -> None:
    """Draw at most RESAMPLES for any interval."""
    weights = intervals._weights

    def fewer(groups: Any, *, resamples: int, seed: int) -> Any:
        return weights(groups, resamples=min(resamples, RESAMPLES), seed=seed)

    patch.setattr(intervals, "_weights", fewer)


def few_permutations(patch: pytest.MonkeyPatch) -> None:
    """Relabel groups at most PERMUTATIONS times for a test of mean images."""
    compare = class_images.compare_groups

    def fewer(*two: Any, permutations: int, seed: int) -> Any:
        return compare(*two, permutations=min(permutations, PERMUTATIONS), seed=seed)

    patch.setattr(class_images, "compare_groups", fewer)


def one_model_of_features(patch: pytest.MonkeyPatch) -> None:
    """Separate classes by one fast model instead of three."""
    fast = separation.MODELS["logistic_regression"]
    patch.setattr(separation, "MODELS", {"random_forest": fast})


def drawn_once(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Return what draws the first time, and hands out that drawing ever after."""
    made: list[Any] = []

    @wraps(draw)
    def drawn(*given: Any, **named: Any) -> Any:
        if not made:
            made.append(draw(*given, **named))
        return made[0]

    return drawn


def curves_drawn_once(draw: Callable[..., None]) -> Callable[..., None]:
    """Return what draws learning curves the first time, and copies that file ever after."""
    made: list[bytes] = []

    def drawn(history: Any, best_epoch: int, out: Path) -> None:
        if not made:
            draw(history, best_epoch, out)
            made.append(out.read_bytes())
        out.write_bytes(made[0])

    return drawn


def draw_each_set_once(patch: pytest.MonkeyPatch, kept: Path, *, most: int) -> None:
    """Draw at most `most` phantoms a class, and each set once; `kept` holds the sets."""

    def drawn(
        out: Path, *, per_class: int = 40, seed: int = 0, side: int = 128, progress: Any = None
    ) -> Path:
        few = min(per_class, most)
        made = kept / f"phantoms-{few}-{seed}-{side}"
        if not made.exists():
            write_phantoms(made, per_class=few, seed=seed, side=side)
        return shutil.copytree(made, out, dirs_exist_ok=True)

    patch.setattr(phantom, "write_phantoms", drawn)


def train_each_once(patch: pytest.MonkeyPatch, kept: Path, *, resumed_too: bool = False) -> None:
    """Train what has one config once; whoever trains the same again gets a copy of that run.

    `kept` holds the runs. A run that is resumed is one of its own, unless `resumed_too`.
    """
    kept = kept.resolve()
    train = run.train

    def train_or_copy(cases: Sequence[Case], job: run.Job, **options: Any) -> Bundle:
        config = json.dumps(to_json(run._config(cases, job).to_json()), sort_keys=True) + job.name
        made = kept / hashlib.sha256(config.encode()).hexdigest()
        if not made.exists() or (options.get("resume") and not resumed_too):
            bundle = train(cases, job, **options)
            shutil.copytree(job.out, made, dirs_exist_ok=True)
            return bundle
        shutil.copytree(made, job.out, dirs_exist_ok=True)
        if on_prepared := options.get("on_prepared"):
            on_prepared(job.out)
        return load_bundle(job.out)

    patch.setattr(run, "train", train_or_copy)
