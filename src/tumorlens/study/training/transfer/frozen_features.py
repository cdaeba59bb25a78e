"""Features of a frozen backbone on disk, so that a head learns from them in seconds.

One folder per network, weights and view, with a row of float16 per prepared image. The key is
the hash of the prepared pixels, which stands for scan and input spec together: prepared
another way, they are other pixels.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.inputs.row_store import Rows, load_index, write_chunk
from tumorlens.progress import Progress
from tumorlens.study.networks.transfer import extractor
from tumorlens.study.networks.weights import weights_digest
from tumorlens.study.training.data.augmentation import augment

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
    progress: Progress | None = None,
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
            if progress:
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
        shown = [views.view(images[p], digests[p], view=view) for p in taken]
        write_chunk(out, [digests[p] for p in taken], _features(network, shown))
        yield len(first_of) - len(missing) + start + len(taken)


def _features(network: keras.Model, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float16]:
    # Compiling takes longer than a few images do without.
    extract = network.predict_on_batch if len(images) > 2 * BATCH else network
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
