"""How much faster a head learns from cached features than through its frozen backbone.

    python benchmarks/cached_head.py [--images 512] [--weights FILE] [--out FILE.json]

Both epochs show the same prepared phantoms in batches of 64 and train the same head, alternating,
so that what else the machine does weighs on both. The cached epoch is the second one: features are
there, from the memory map that the first one left.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH, ROUNDS = 64, 3


def main() -> None:
    arguments = read_arguments()
    from tumorlens.study.training.backend import load_backend

    load_backend()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.images, arguments.weights, Path(folder))
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--weights", default="none", help="imagenet, none or a file")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def measure(images: int, weights: str, folder: Path) -> dict[str, Any]:
    import keras

    from tumorlens.study.networks.transfer import freeze, head_of
    from tumorlens.study.networks.weights import load_weights
    from tumorlens.study.recipes import find_recipe
    from tumorlens.study.training.learner import SetLoss, build_network
    from tumorlens.study.training.transfer.frozen_features import frozen_features

    recipe = find_recipe("mobilenet-frozen")
    pixels, masks = phantoms(images, side=recipe.side)
    model = build_network(recipe, side=recipe.side, atoms=masks.shape[1])
    load_weights(model, "mobilenet", weights)
    freeze(model, "mobilenet", blocks=0, keep_statistics=True)
    head = head_of(model)
    for network in (model, head):
        network.compile(optimizer=keras.optimizers.AdamW(1e-3), loss=SetLoss(), jit_compile=False)
    started = time.perf_counter()
    frozen_features(model, pixels, cache=folder)
    filling = time.perf_counter() - started
    whole, cached, reading = [], [], []
    for number in range(ROUNDS + 1):  # the first round compiles, and is not counted
        started = time.perf_counter()
        features = frozen_features(model, pixels, cache=folder)[:, 0].astype("float32")
        read = time.perf_counter() - started
        slow, fast = epoch(model, pixels[..., None], masks), epoch(head, features, masks)
        if number:
            whole.append(slow)
            cached.append(fast)
            reading.append(read)
    return {
        "images": images,
        "weights": Path(weights).name,
        "uncached_epoch_s": statistics.median(whole),
        "cached_epoch_s": statistics.median(cached),
        "ratio": statistics.median(whole) / statistics.median(cached),
        "reading_cache_s": statistics.median(reading),
        "ratio_with_reading": statistics.median(whole)
        / (statistics.median(cached) + statistics.median(reading)),
        "filling_cache_s": filling,
        "rounds": ROUNDS,
        "cores": os.cpu_count(),
    }


def epoch(network: Any, inputs: Any, masks: Any) -> float:
    started = time.perf_counter()
    for start in range(0, len(inputs) - BATCH + 1, BATCH):
        network.train_on_batch(inputs[start : start + BATCH], masks[start : start + BATCH])
    return time.perf_counter() - started


def phantoms(count: int, *, side: int) -> tuple[Any, Any]:
    """Prepare phantoms and write their labels as masks; `count` of them, repeated with noise."""
    import numpy as np

    from tumorlens import labels
    from tumorlens.inputs.cache import prepare_files
    from tumorlens.inputs.prepare import InputSpec
    from tumorlens.study.data.index import read_cases
    from tumorlens.study.phantom import write_phantoms

    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "scans", per_class=10, seed=0)
        cases = read_cases(Path(folder) / "scans")
        made = prepare_files([case.path for case in cases], InputSpec(side=side),
                             cache=Path(folder) / "cache")  # fmt: skip
    rng = np.random.default_rng(0)
    rows = np.resize(np.arange(len(cases)), count)
    noise = rng.integers(0, 3, (count, side, side), np.uint8)  # so that each is an image of its own
    pixels = np.minimum(made.pixels[rows], 250) + noise
    return pixels, labels.label_mask([cases[row].label for row in rows])


if __name__ == "__main__":
    main()
