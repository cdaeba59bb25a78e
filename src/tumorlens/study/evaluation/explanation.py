"""Whether heatmaps say what moved the answer, where no mask is needed to tell.

Deletion: parts are taken out of the head, the most marked first, and filled from what is left
around them; a heatmap that says what moved the answer makes the tumor probability fall fast
(Petsiuk, Das and Saenko, 2018). Two orders that know nothing of the network stand beside it.

Randomization, after Adebayo et al. (2018): a map that stays alike when weights are shuffled shows
edges of the image, and not what the network knows. Beside it stands how alike the maps of two
different scans are, which is as low as such a figure can be expected to fall.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.stats import rankdata

from tumorlens import labels
from tumorlens.json_records import as_record
from tumorlens.models.bundle import GRAPH, Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.decision import softmax
from tumorlens.predictions.heatmaps import enlarged, tumor_evidence
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Heatmap
from tumorlens.reports.evaluation import (
    Deletion,
    Explanation,
    Randomization,
    RandomizedRow,
)
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.evaluation.subgroups import draw_sample
from tumorlens.study.stats.intervals import bootstrap, estimate_of

MAX_SCANS = 60  # flagged tumors
SEED = 0  # of what is drawn
STAGES = ("last layer", "last half of the layers", "all layers")
BATCH = 32
WEIGHED = ("Conv", "MatMul", "Gemm")
SCALED = ("Cast", "Mul", "DequantizeLinear", "Identity", "Reshape", "Transpose")
EVIDENCE = ("atoms", "maps")  # outputs of a graph
DELETED = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)  # of the head's pixels
REACH = 0.08  # deviation of the fill, of the side
Order = Callable[[Heatmap, np.random.Generator], NDArray[np.floating]]  # high: deleted first
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # [n, side, side] to probability, [n]


def explanation_figures(
    cases: Sequence[Case],
    labeled: LabeledPredictions,
    predictor: Predictor,
    *,
    progress: Progress = silent,
) -> Explanation:
    """Measure the heatmaps of a sample of the tumors that were flagged.

    `labeled` are the answers to `cases`. `deletion` and `randomization` are None where no tumor was
    flagged.
    """
    bundle = predictor.bundle
    rows = np.flatnonzero(labeled.truth & (labeled.scores >= labeled.threshold))
    flagged = [cases[i] for i in rows.tolist()]
    sample = [flagged[i] for i in draw_sample(flagged, MAX_SCANS)]
    predictions = predictor.predict([case.path for case in sample], heatmaps=True)
    seen = [(case, found.heatmap) for case, found in zip(sample, predictions, strict=True)
            if found.heatmap is not None]  # fmt: skip
    groups = np.array([case.group_name for case, _ in seen])
    heatmaps = [heatmap for _, heatmap in seen]
    side = bundle.spec.side
    prepared = np.array([h.prepared for h in heatmaps], np.uint8).reshape(-1, side, side)
    engine = Engine(bundle)

    def answer(batch: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = softmax(engine.run(batch).logits, bundle.temperature)
        return np.asarray(labels.tumor_probability(found, bundle.atoms), np.float64)

    found = Explanation(
        of=len(flagged),
        deletion=deletion_figures(heatmaps, groups, answer),
        randomization=randomization_figures(prepared, groups, bundle),
    )
    progress(len(cases), len(cases))
    return found


def _from_the_center(heatmap: Heatmap, _rng: np.random.Generator) -> NDArray[np.floating]:
    rows, columns = np.indices(heatmap.prepared.shape)
    center = (heatmap.prepared.shape[0] - 1) / 2
    return -np.hypot(rows - center, columns - center)


def _by_chance(heatmap: Heatmap, rng: np.random.Generator) -> NDArray[np.floating]:
    """Return blobs as coarse as the evidence is, anywhere."""
    noise = rng.normal(size=heatmap.evidence.shape).astype(np.float32)
    return enlarged(Heatmap(noise, heatmap.prepared))


ORDERS: Mapping[str, Order] = {
    "heatmap": lambda heatmap, _rng: enlarged(heatmap),
    "middle": _from_the_center,
    "random": _by_chance,
}


def deletion_figures(
    heatmaps: Sequence[Heatmap], groups: NDArray, answer: Answer
) -> Deletion | None:
    """Return the mean tumor probability by share deleted, and the area under it, of each order.

    An area is the mean probability over 0 to 75 % deleted: small is good. `gain_x` is the area
    of order x minus that of the heatmap, paired; above 0 the heatmap knows more than x. None
    without heatmaps.
    """
    if not heatmaps:
        return None
    curves = _curves(heatmaps, answer)
    areas = {name: np.asarray(np.trapezoid(curve, DELETED, axis=1)) / DELETED[-1]
             for name, curve in curves.items()}  # fmt: skip
    columns = curves | {f"area_{name}": area for name, area in areas.items()}
    columns |= {f"gain_{name}": areas[name] - areas["heatmap"] for name in ("middle", "random")}
    return as_record(Deletion, _means(columns, groups) | {"deleted": DELETED})


def _means(columns: Mapping[str, NDArray[np.float64]], groups: NDArray) -> dict[str, Any]:
    """Average columns, [n] or [n, k] each, with intervals over groups, and count."""
    found = bootstrap(
        lambda w: {name: ((w @ column).T / w.sum(1)).T for name, column in columns.items()}, groups
    )
    return found | {"n": len(groups), "n_groups": len(np.unique(groups))}


def _curves(heatmaps: Sequence[Heatmap], answer: Answer) -> dict[str, NDArray[np.float64]]:
    """Return the tumor probability after each of DELETED, by order, [n, k] each."""

    def curve(order: Order, row: int) -> NDArray[np.float64]:
        heatmap = heatmaps[row]
        ranked = order(heatmap, np.random.default_rng([SEED, row]))
        return answer(np.stack([delete(heatmap.prepared, ranked, share) for share in DELETED]))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return {
            name: np.stack(list(pool.map(partial(curve, order), range(len(heatmaps)))))
            for name, order in ORDERS.items()
        }


def delete(
    prepared: NDArray[np.uint8], order: NDArray[np.floating], share: float
) -> NDArray[np.uint8]:
    """Fill the `share` of the head that comes first in `order` from what is left around it."""
    head = prepared > 0
    count = round(share * int(head.sum()))
    if not count:
        return prepared
    first = np.argsort(-order[head], kind="stable")[:count]  # ties fall, too, but no more
    left = head.astype(np.float32)
    left[tuple(where[first] for where in np.nonzero(head))] = 0
    sigma = REACH * len(prepared)
    weight = cv2.GaussianBlur(left, (0, 0), sigma)
    around = cv2.GaussianBlur(left * prepared, (0, 0), sigma)
    mean = float(prepared[left > 0].mean()) if left.any() else float(prepared[head].mean())
    fill = np.where(weight > 1e-3, around / np.maximum(weight, 1e-3), mean)
    kept = (left > 0) | ~head
    return np.where(kept, prepared, np.clip(fill, 1, 255)).astype(np.uint8)


def randomization_figures(
    prepared: NDArray[np.uint8], groups: NDArray, bundle: Bundle
) -> Randomization | None:
    """Return the rank correlation of each scan's evidence before and after shuffling, as means.

    `prepared` is [n, side, side]. `other scan` is the correlation with the next scan's evidence.
    None with fewer than two scans, or for a graph without weights that can be told.
    """
    weights = layer_weights(onnx.load(str(bundle.graph)))
    if len(prepared) < 2 or not weights:
        return None
    before = _evidence(prepared, bundle)
    alike = {"other scan": rank_correlations(before, np.roll(before, 1, axis=0))}
    for stage, count in zip(STAGES, (1, -(-len(weights) // 2), len(weights)), strict=True):
        with TemporaryDirectory() as folder:
            shuffled = write_shuffled(bundle, weights[-count:], Path(folder))
            alike[stage] = rank_correlations(before, _evidence(prepared, shuffled))
    found = _means(alike, groups)
    rows = tuple(
        RandomizedRow(name, len(prepared), estimate_of(found, name, len(prepared)))
        for name in (*STAGES, "other scan")
    )
    return Randomization(n=len(prepared), n_groups=found["n_groups"], rows=rows)


def layer_weights(model: Any) -> list[str]:
    """Name the stored weights of the layers that evidence comes from, in the graph's order.

    Weights in 8 bits reach their layer through a few nodes that scale them. Layers of a network
    beside, that knows the scope alone, are left out: evidence would stay alike without them.
    """
    maker = {output: node for node in model.graph.node for output in node.output}
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    before = _nodes_before(maker, EVIDENCE)
    used = [
        _stored_name(maker, name)
        for node in model.graph.node
        if node.op_type in WEIGHED and node.output[0] in before
        for name in node.input
    ]
    return list(dict.fromkeys(name for name in used if len(shapes.get(name, ())) >= 2))


def _nodes_before(maker: Mapping[str, Any], outputs: Sequence[str]) -> set[str]:
    """Return the names that `outputs` are computed from, and these."""
    left, found = list(outputs), set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += maker[name].input if name in maker else []
    return found


def _stored_name(maker: Mapping[str, Any], name: str) -> str:
    """Follow a layer's input back through nodes that scale or lay it out."""
    while name in maker and maker[name].op_type in SCALED:
        name = maker[name].input[0]
    return name


def write_shuffled(bundle: Bundle, names: Sequence[str], folder: Path) -> Bundle:
    """Write the bundle's graph with the values of some weights shuffled, each within itself.

    So every layer keeps the spread of its weights and loses what they say.
    """
    model = onnx.load(str(bundle.graph))
    rng = np.random.default_rng(SEED)
    for item in model.graph.initializer:
        if item.name in names:
            values = numpy_helper.to_array(item)
            shuffled = rng.permutation(values.ravel()).reshape(values.shape)
            item.CopyFrom(numpy_helper.from_array(shuffled, item.name))
    onnx.save(model, folder / GRAPH)
    return replace(bundle, folder=folder, graph_sha256="")  # altered on purpose


def _evidence(prepared: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.float32]:
    engine = Engine(bundle)
    found = []
    for start in range(0, len(prepared), BATCH):
        raw = engine.run(prepared[start : start + BATCH])
        probabilities = softmax(raw.logits, bundle.temperature)
        found.append(tumor_evidence(raw.maps, probabilities, bundle.atoms))
    return np.concatenate(found)


def rank_correlations(
    maps: NDArray[np.floating], others: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return Spearman's correlation of each pair of maps, [n, h, w] each; 0 where one is flat."""
    a, b = (rankdata(each.reshape(len(each), -1), axis=1) for each in (maps, others))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    spread = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), spread, out=np.zeros(len(a)), where=spread > 0)
