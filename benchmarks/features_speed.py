"""Images per second of the thirteen features, beside scikit-image and SciPy.

    python benchmarks/features_speed.py DIR [--limit 2000] [--side 128]

Four ways over the same prepared images, in one run on this machine; preparing is not timed:

- tumorlens, all cores: `measure_many`, thirteen features, whole square;
- tumorlens, head only: the same inside the head, finding the head included;
- tumorlens, one thread;
- scikit-image and SciPy: `graycomatrix`, `graycoprops`, `skew`, `kurtosis` in one thread,
  twelve features (neither has Tamura's coarseness).

Each way is warmed up by ten images before it is timed. The largest difference between ours and
theirs is printed as well: speed of another answer would mean nothing.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from scipy import stats
from skimage.feature import graycomatrix, graycoprops

from tumorlens.images.readers import find_scans
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.settings import load_settings
from tumorlens.study.features.texture import FEATURES, head_of, measure_many

SLOW_LIMIT = 100  # images for the way that is slow
WARM = 10
TEXTURE = {name.lower(): name for name in ("contrast", "energy", "ASM", "entropy", "homogeneity",
                                           "dissimilarity", "correlation")}  # fmt: skip


def main() -> None:
    """Time the four ways and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--limit", type=int, default=2000)
    arguments.add_argument("--side", type=int, default=InputSpec().side)
    chosen = arguments.parse_args()
    files = find_scans([chosen.folder])[: chosen.limit]
    spec, cache = InputSpec(side=chosen.side), load_settings().cache_folder
    prepared = prepare_files(files, spec, cache=cache)
    pixels = prepared.pixels[prepared.usable]
    cores = numba.get_num_threads()
    rows = [
        (f"tumorlens, {cores} cores", rate(measure_many, pixels)),
        (f"tumorlens, {cores} cores, head only", rate(inside_the_head, pixels)),
    ]
    numba.set_num_threads(1)
    rows.append(("tumorlens, one thread", rate(measure_many, pixels)))
    rows.append(("scikit-image and SciPy, one thread", rate(libraries, pixels[:SLOW_LIMIT])))
    print(f"{len(pixels)} images of {chosen.side} px")
    slowest = rows[-1][1]
    for name, speed in rows:
        print(f"{name:36} {speed:9.1f} img/s {speed / slowest:8.1f} x scikit-image")
    gap = np.nanmax(np.abs(difference(pixels[:SLOW_LIMIT])))
    print(f"largest relative difference of {min(SLOW_LIMIT, len(pixels))} images: {gap:.1e}")


def rate(way: Callable[[np.ndarray], object], pixels: np.ndarray) -> float:
    """Give images per second, after ten to warm up."""
    way(pixels[:WARM])
    timed = pixels[WARM:]
    started = time.perf_counter()
    way(timed)
    return len(timed) / (time.perf_counter() - started)


def inside_the_head(pixels: np.ndarray) -> np.ndarray:
    """Find the heads and measure them alone."""
    return measure_many(pixels, masks=np.stack([head_of(picture) for picture in pixels]))


def libraries(pixels: np.ndarray) -> np.ndarray:
    """Measure one picture after another with scikit-image and SciPy: [n, 12]."""
    return np.array([list(by_the_libraries(picture).values()) for picture in pixels])


def by_the_libraries(picture: np.ndarray) -> dict[str, float]:
    matrix = graycomatrix(picture, [1], [0], 256, symmetric=False, normed=True)
    flat = picture.ravel().astype(np.float64)
    return {
        "mean": flat.mean(),
        "variance": flat.var(),
        "standard_deviation": flat.std(),
        "skewness": stats.skew(flat),
        "kurtosis": stats.kurtosis(flat),
        **{ours: graycoprops(matrix, theirs)[0, 0] for ours, theirs in TEXTURE.items()},
    }


def difference(pixels: np.ndarray) -> np.ndarray:
    """Compare the features that both have, relative to theirs."""
    theirs = libraries(pixels)
    names = list(by_the_libraries(pixels[0]))
    ours = measure_many(pixels)[:, [FEATURES.index(name) for name in names]]
    return (ours - theirs) / np.maximum(np.abs(theirs), 1e-12)


if __name__ == "__main__":
    main()
