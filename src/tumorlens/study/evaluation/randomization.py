"""Whether heatmaps depend on what was learned: the same scans through a network gone astray.

After Adebayo et al. (2018): a map that stays alike when weights are shuffled shows edges of the
picture, and not what the network knows. Beside it stands how alike the maps of two different
scans are, which is as low as such a figure can be expected to fall.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.stats import rankdata

from tumorlens.models.bundle import GRAPH, Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.calibration import calibrated
from tumorlens.predictions.heatmaps import tumor_evidence
from tumorlens.study.stats.intervals import bootstrap, nan_to_none

STAGES = ("last layer", "last half of the layers", "all layers")
BATCH = 32
WEIGHED = ("Conv", "MatMul", "Gemm")


def randomization_figures(
    prepared: NDArray[np.uint8], groups: NDArray, bundle: Bundle, *, seed: int = 0
) -> dict[str, Any] | None:
    """Give the rank correlation of each scan's evidence before and after shuffling, as means.

    `prepared` is [n, side, side]. `other scan` is the correlation with the next scan's evidence.
    None with fewer than two scans, or for a graph without weights that can be told.
    """
    weights = layer_weights(onnx.load(str(bundle.graph)))
    if len(prepared) < 2 or not weights:
        return None
    own = _evidence(prepared, bundle)
    alike = {"other scan": rank_correlations(own, np.roll(own, 1, axis=0))}
    for stage, count in zip(STAGES, (1, -(-len(weights) // 2), len(weights)), strict=True):
        with TemporaryDirectory() as folder:
            astray = write_shuffled(bundle, weights[-count:], Path(folder), seed=seed)
            alike[stage] = rank_correlations(own, _evidence(prepared, astray))

    def statistics(sampled: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {name: sampled @ column / sampled.sum(1) for name, column in alike.items()}

    found = nan_to_none(bootstrap(statistics, groups))
    rows = [
        {"stage": name, "n": len(prepared), "correlation": found[name],
         "correlation_low": found[f"{name}_low"], "correlation_high": found[f"{name}_high"]}
        for name in (*STAGES, "other scan")
    ]  # fmt: skip
    return {"n": len(prepared), "n_groups": len(np.unique(groups)), "rows": rows}


def layer_weights(model: Any) -> list[str]:
    """Name the weights of the layers in the order of the graph, each once."""
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    used = [name for node in model.graph.node if node.op_type in WEIGHED for name in node.input]
    return list(dict.fromkeys(name for name in used if len(shapes.get(name, ())) >= 2))


def write_shuffled(bundle: Bundle, names: Sequence[str], folder: Path, *, seed: int) -> Bundle:
    """Write the bundle's graph with the values of some weights shuffled, each within itself.

    So every layer keeps the spread of its weights and loses what they say.
    """
    model = onnx.load(str(bundle.graph))
    rng = np.random.default_rng(seed)
    for item in model.graph.initializer:
        if item.name in names:
            values = numpy_helper.to_array(item)
            shuffled = rng.permutation(values.ravel()).reshape(values.shape)
            item.CopyFrom(numpy_helper.from_array(shuffled, item.name))
    onnx.save(model, folder / GRAPH)
    return replace(bundle, folder=folder)


def _evidence(prepared: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.float32]:
    engine = Engine(bundle)
    found = []
    for start in range(0, len(prepared), BATCH):
        raw = engine.run(prepared[start : start + BATCH])
        probabilities = calibrated(raw.logits, bundle.temperature)
        found.append(tumor_evidence(raw.maps, probabilities, bundle.atoms))
    return np.concatenate(found)


def rank_correlations(
    maps: NDArray[np.floating], others: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Give Spearman's correlation of each pair of maps, [n, h, w] each; 0 where one is flat."""
    a, b = (rankdata(each.reshape(len(each), -1), axis=1) for each in (maps, others))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), spread, out=np.zeros(len(a)), where=spread > 0)
