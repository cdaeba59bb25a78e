"""Maps of a frozen network on disk, below the layers that learn: each image passes once.

What lies above the seam, the last block and a head, then learns from stored maps in minutes, where
whole passes take a night on two cores. Beside the maps lie the pooled features, for a head alone.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.row_store import Rows, load_index, write_chunk
from tumorlens.progress import Progress, silent
from tumorlens.study.networks.transfer import backbone_of
from tumorlens.study.networks.weights import weights_digest

CHUNK, BATCH = 64, 16  # images: what a kill loses at most, and what one pass takes
MAPS, POOLED = "maps", "pooled"


@dataclass(frozen=True)
class Seam:
    """A network cut in two before one layer of its backbone."""

    lower: keras.Model  # uint8 [n, side, side, 1] -> maps [n, h, w, c], pooled features [n, D]
    above: tuple[keras.Layer, ...]  # of the backbone, from the seam to its last maps, one chain

    def folder(self, cache: Path) -> Path:
        """Return where its maps are kept: they are of these weights and of no others."""
        return cache / "maps" / f"{self.lower.name}-{weights_digest(self.lower)[:16]}"


def cut_before(model: keras.Model, layer: str) -> Seam:
    """Cut a network of `networks.transfer` before a layer of its backbone.

    From there on the backbone has to be a chain, as the last block of Xception is.
    """
    backbone = backbone_of(model)
    assert backbone is not None, "a network from scratch has no seam"
    first = [found.name for found in backbone.layers].index(layer)
    image = model.input
    x = image
    for outer in model.layers[1 : model.layers.index(backbone)]:
        x = outer([x] * 3 if isinstance(outer, keras.layers.Concatenate) else x)
    both = keras.Model(backbone.input, [backbone.layers[first].input, backbone.output])
    maps, last = both(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled_below")(last)
    name = f"{model.name}-before-{layer}"
    return Seam(keras.Model(image, [maps, pooled], name=name), tuple(backbone.layers[first:]))


def digests_of(images: NDArray[np.uint8]) -> list[str]:
    """Return the key of each prepared image, [n, side, side]: the hash of its pixels."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def compute_maps(
    seam: Seam, images: NDArray[np.uint8], *, cache: Path, progress: Progress = silent
) -> None:
    """Store what is not stored yet, in the order of the images; a killed run goes on."""
    folders = {name: seam.folder(cache) / name for name in (MAPS, POOLED)}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    stored = load_index(folders[POOLED])  # written last
    new = {digest: row for row, digest in enumerate(digests_of(images)) if digest not in stored}
    rows = sorted(new.values())
    keys = {row: digest for digest, row in new.items()}
    for taken in _pieces(rows, CHUNK):
        made = [seam.lower.predict_on_batch(images[piece][..., None])
                for piece in _pieces(taken, BATCH)]  # fmt: skip
        for folder, parts in zip(folders.values(), zip(*made, strict=True), strict=True):
            write_chunk(folder, [keys[row] for row in taken], _half(np.concatenate(parts)))
        progress(rows.index(taken[-1]) + 1, len(rows))


def read_maps(
    seam: Seam, images: NDArray[np.uint8], what: str, *, cache: Path
) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the stored rows of images, read when taken, and which images have one, [n]."""
    stored = load_index(seam.folder(cache) / what)
    places = [stored.get(digest) for digest in digests_of(images)]
    return Rows(places), np.array([place is not None for place in places])


def _pieces(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    largest = np.finfo(np.float16).max
    return np.clip(values, -largest, largest).astype(np.float16)
