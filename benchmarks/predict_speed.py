"""Images per second of a folder prediction, beside Keras `model.predict` image by image.

    python benchmarks/predict_speed.py DIR [--limit 250]

Three ways over the same files, in one run on this machine:

- tumorlens: `Predictor.predict`, from file to Prediction;
- keras, same network: the same reading and preparing, then `model.predict` for each image;
- keras, Xception at 299: the way of the earlier systems, with random weights (speed does not
  depend on their values), reading by Pillow.

Each way is warmed up by ten images before it is timed; the first line of the table is 1.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tumorlens.images.readers import find_scans, read_scan
from tumorlens.inputs.prepare import prepare
from tumorlens.predictions.predictor import load_predictor
from tumorlens.study.training.backend import load_backend

SLOW_LIMIT = 60  # files for the ways that are slow


def main() -> None:
    """Time the three ways and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--limit", type=int, default=250)
    arguments.add_argument("--bundle", default="")
    chosen = arguments.parse_args()
    files = find_scans([chosen.folder])[: chosen.limit]
    predictor = load_predictor(chosen.bundle)
    rows = [
        ("tumorlens", rate(predictor.predict, files)),
        ("tumorlens with heatmaps", rate(lambda p: predictor.predict(p, heatmaps=True), files)),
    ]
    load_backend()
    slow = files[: SLOW_LIMIT + 10]
    rows += [
        ("keras model.predict, same network", rate(own_network(predictor), slow)),
        ("keras model.predict, Xception 299", rate(xception(), slow)),
    ]
    print(f"{len(files)} files, bundle {predictor.bundle.version}")
    for name, speed in rows:
        print(f"{name:36} {speed:8.1f} img/s   1/{rows[0][1] / speed:.1f} of tumorlens")


def rate(predict: Callable[[list[Path]], object], files: list[Path]) -> float:
    """Give files per second, after ten to warm up."""
    predict(files[:10])
    timed = files[10:]
    started = time.perf_counter()
    predict(timed)
    return len(timed) / (time.perf_counter() - started)


def own_network(predictor) -> Callable[[list[Path]], None]:
    """Predict one image at a time with the bundle's own network, in Keras."""
    from tumorlens.study.networks.registry import NETWORKS

    spec = predictor.bundle.spec
    network = predictor.bundle.provenance.recipe["network"]
    model = NETWORKS[network].build(spec.side, len(predictor.bundle.atoms))

    def predict(paths: list[Path]) -> None:
        for path in paths:
            pixels = prepare(read_scan(path), spec).pixels
            model.predict(pixels[None, ..., None], verbose=0)

    return predict


def xception() -> Callable[[list[Path]], None]:
    """Predict one image at a time with Keras' Xception."""
    import keras

    model = keras.applications.Xception(weights=None, classes=7)

    def predict(paths: list[Path]) -> None:
        for path in paths:
            image = Image.open(path).convert("RGB").resize((299, 299))
            unit = keras.applications.xception.preprocess_input(np.asarray(image, np.float32))
            model.predict(unit[None], verbose=0)

    return predict


if __name__ == "__main__":
    main()
