"""Features of a frozen backbone on disk, and a head that learns from them in seconds.

One folder per network, weights and view, with a row of float16 per prepared image. The key is
the hash of the prepared pixels, which stands for scan and input spec together: prepared
another way, they are other pixels.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.inputs.row_store import Rows, load_index, write_chunk
from tumorlens.progress import Progress, silent
from tumorlens.study.networks.transfer import extractor
from tumorlens.study.networks.weights import weights_digest
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.augmentation import augment
from tumorlens.study.training.data.batches import epoch_positions
from tumorlens.study.training.learner import (
    SetLoss,
    assign_weights,
    predict_function,
    read_weights,
    to_array,
)

CHUNK = 512  # images: what a kill loses at most
BATCH = 32


@dataclass(frozen=True)
class AugmentedViews:
    """In how many versions each image goes through the backbone."""

    count: int = 1  # the first is the image itself, the others are augmented
    strength: float = 1.0
    seed: int = 0

    def folder(self, view: int) -> str:
        """Name the folder of one view."""
        return f"view-{view}-strength-{self.strength:g}-seed-{self.seed}" if view else "plain"

    def view(self, image: NDArray[np.uint8], digest: str, *, view: int) -> NDArray[np.uint8]:
        """Return one view of an image; it follows from its pixels, wherever it stands."""
        if not view:
            return image
        rng = np.random.default_rng((self.seed, view, int(digest[:16], 16)))
        return augment(image, rng, strength=self.strength)


def frozen_features(
    model: keras.Model,
    images: NDArray[np.uint8],
    *,
    cache: Path,
    views: AugmentedViews = AugmentedViews(),
    progress: Progress = silent,
) -> NDArray[np.float16]:
    """Return pooled features of prepared images, [n, s, s] -> [n, views, D].

    Each distinct image goes through the backbone once per view; what is under `cache` is
    read. Raises TrainingError where features are not numbers.
    """
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    network = extractor(model)
    folder = cache / "features" / f"{model.name}-{weights_digest(network)[:16]}"
    total, made = len(set(digests)), []
    for view in range(views.count):
        out = folder / views.folder(view)
        out.mkdir(parents=True, exist_ok=True)
        for done in _compute_missing(network, images, digests, views=views, view=view, out=out):
            progress(view * total + done, views.count * total)
        made.append(_read(out, digests, depth=network.output.shape[-1]))
    return np.stack(made, axis=1)


def _compute_missing(
    network: keras.Model,
    images: NDArray[np.uint8],
    digests: Sequence[str],
    *,
    views: AugmentedViews,
    view: int,
    out: Path,
) -> Iterator[int]:
    """Write the features that are not stored yet; yield how many distinct images are done."""
    stored = load_index(out)
    first_of: dict[str, int] = {}
    for position, digest in enumerate(digests):
        first_of.setdefault(digest, position)
    missing = [position for digest, position in first_of.items() if digest not in stored]
    for start in range(0, len(missing), CHUNK):
        taken = missing[start : start + CHUNK]
        viewed = [views.view(images[p], digests[p], view=view) for p in taken]
        write_chunk(out, [digests[p] for p in taken], _features(network, viewed))
        yield len(first_of) - len(missing) + start + len(taken)


def _features(network: keras.Model, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float16]:
    extract = predict_function(network, count=len(images), batch=BATCH)
    made = [
        keras.ops.convert_to_numpy(extract(np.stack(images[start : start + BATCH])[..., None]))
        for start in range(0, len(images), BATCH)
    ]
    values = np.concatenate(made)
    if not np.isfinite(values).all():
        raise TrainingError(network.name, "gives features that are not numbers", "Check --weights.")
    largest = np.finfo(np.float16).max
    return np.clip(values, -largest, largest).astype(np.float16)


def _read(folder: Path, digests: Sequence[str], *, depth: int) -> NDArray[np.float16]:
    stored = load_index(folder)
    out = np.empty((len(digests), depth), np.float16)
    try:
        return Rows([stored[digest] for digest in digests]).take(np.arange(len(digests)), out)
    except (OSError, ValueError, IndexError) as e:
        fix = "Delete that folder; its features are computed again."
        raise TrainingError(folder, f"holds a damaged part of the cache ({e})", fix) from e


MIN_DEVIATION = 1e-3  # of a feature that hardly varies


@dataclass(frozen=True)
class FeatureSet:
    """Features with what the loss and the sampler need."""

    features: NDArray[np.float16]  # [n, views, D]
    label_masks: NDArray[np.float32]  # [n, atoms]
    image_ids: NDArray[np.int64]  # [n] copies of one image share a number
    strata: NDArray[np.int64]  # [n] data set x label


@dataclass(frozen=True)
class HeadPlan:
    """How a head is trained."""

    epochs: int
    learning_rate: float = 1e-3  # at first; it falls as a cosine
    batch: int = 64
    weight_decay: float = 0.02
    balance: float = 0.5  # as in a recipe
    seed: int = 0


def head_plan(recipe: Recipe) -> HeadPlan:
    """Return the part of a recipe that its head is trained by."""
    return HeadPlan(
        epochs=recipe.head_epochs,
        learning_rate=recipe.head_learning_rate,
        batch=recipe.batch,
        weight_decay=recipe.weight_decay,
        balance=recipe.balance,
        seed=recipe.seed,
    )


@dataclass(frozen=True)
class TrainedHead:
    """What `train_head` found; its weights are in the head."""

    epoch: int  # with the least validation loss
    loss: float  # in training, in that epoch
    val_loss: float


def train_head(
    head: keras.Model,
    data: FeatureSet,
    plan: HeadPlan,
    *,
    validation: NDArray[np.float16],
    validate: Callable[[NDArray[np.float32]], float],
) -> TrainedHead:
    """Train [n, D] -> logits in place, and keep the epoch that validates best.

    `validate` gives the loss of the logits of `validation`, its features, [m, D]. The
    head learns from features of mean 0 and deviation 1; at the end that is written into its
    first dense layer, so it takes features as they are. Raises TrainingError where no epoch
    gives a number.
    """
    center, scale = _moments(data.features)
    validation_ready = (validation.astype(np.float32) - center) / scale
    steps = max(1, len(np.unique(data.image_ids)) // plan.batch)
    _compile(head, plan, steps=steps)
    best, kept = TrainedHead(0, float("nan"), float("inf")), read_weights(head.weights)
    for epoch in range(plan.epochs):
        losses = [
            float(head.train_on_batch((features - center) / scale, masks))
            for features, masks in _batches(data, plan, steps=steps, epoch=epoch)
        ]
        val_loss = validate(to_array(head.predict_on_batch(validation_ready)))
        if val_loss < best.val_loss:
            best = TrainedHead(epoch + 1, float(np.mean(losses)), val_loss)
            kept = read_weights(head.weights)
    if not best.epoch:
        fix = "Train again with a lower rate for the head."
        raise TrainingError("head", "diverged: its validation loss is not a number", fix)
    assign_weights(head.weights, kept)
    _take_raw_features(head, center, scale)
    return best


def _moments(features: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    flat = features.reshape(-1, features.shape[-1])
    deviation = flat.std(axis=0, dtype=np.float32)
    return flat.mean(axis=0, dtype=np.float32), np.maximum(deviation, MIN_DEVIATION)


def _compile(head: keras.Model, plan: HeadPlan, *, steps: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(
        plan.learning_rate, decay_steps=max(1, plan.epochs * steps), alpha=0.01
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=plan.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    head.compile(optimizer=optimizer, loss=SetLoss(), jit_compile=False)


def _batches(
    data: FeatureSet, plan: HeadPlan, *, steps: int, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield (features [b, D], label masks [b, atoms]), each image as one view by chance."""
    positions = epoch_positions(
        data.image_ids, data.strata, balance=plan.balance, seed=plan.seed, epoch=epoch
    )
    positions = np.resize(positions, steps * plan.batch)
    rng = np.random.default_rng((plan.seed, epoch))
    views = rng.integers(0, data.features.shape[1], len(positions))
    for start in range(0, len(positions), plan.batch):
        taken = positions[start : start + plan.batch]
        features = data.features[taken, views[start : start + plan.batch]]
        yield features.astype(np.float32), data.label_masks[taken]


def _take_raw_features(
    head: keras.Model, center: NDArray[np.float32], scale: NDArray[np.float32]
) -> None:
    """Write (features - center) / scale into the first dense layer, exactly."""
    first = next(layer for layer in head.layers if isinstance(layer, keras.layers.Dense))
    kernel, bias = (to_array(value) for value in (first.kernel, first.bias))
    scaled = kernel / scale[:, None]
    assign_weights([first.kernel, first.bias], [scaled, bias - center @ scaled])
