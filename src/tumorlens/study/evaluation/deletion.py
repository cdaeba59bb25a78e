"""Whether the answer hangs on what the heatmap marks: deletion curves.

Places are taken out of the head, the most marked first, and filled from what is left around them;
a heatmap that says what moved the answer makes the tumor probability fall fast (Petsiuk, Das and
Saenko, 2018). Two orders that know nothing of the network stand beside it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.models.engine import Engine
from tumorlens.predictions.calibration import calibrated
from tumorlens.predictions.heatmaps import enlarged
from tumorlens.records import Heatmap
from tumorlens.study.stats.intervals import bootstrap, nan_to_none

DELETED = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)  # of the head's pixels
REACH = 0.08  # deviation of the fill, of the side
Order = Callable[[Heatmap, np.random.Generator], NDArray[np.floating]]  # high: deleted first


def _by_evidence(heatmap: Heatmap, _rng: np.random.Generator) -> NDArray[np.floating]:
    return enlarged(heatmap)


def _from_the_middle(heatmap: Heatmap, _rng: np.random.Generator) -> NDArray[np.floating]:
    rows, columns = np.indices(heatmap.prepared.shape)
    middle = (heatmap.prepared.shape[0] - 1) / 2
    return -np.hypot(rows - middle, columns - middle)


def _by_chance(heatmap: Heatmap, rng: np.random.Generator) -> NDArray[np.floating]:
    """Give blobs as coarse as the evidence is, anywhere."""
    noise = rng.normal(size=heatmap.evidence.shape).astype(np.float32)
    return enlarged(Heatmap(noise, heatmap.prepared))


ORDERS: Mapping[str, Order] = {
    "heatmap": _by_evidence,
    "middle": _from_the_middle,
    "random": _by_chance,
}


def deletion_figures(
    heatmaps: Sequence[Heatmap],
    groups: NDArray,
    engine: Engine,
    *,
    atoms: Sequence[str],
    temperature: float,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Give the mean tumor probability by share deleted, and the area under it, of each order.

    An area is the mean probability over 0 to 75 % deleted: small is good. `gain_x` is the area
    of order x minus that of the heatmap, paired; above 0 the heatmap knows more than x. None
    without heatmaps.
    """
    if not heatmaps:
        return None
    curves = _curves(heatmaps, engine, atoms=atoms, temperature=temperature, seed=seed)
    areas = {name: np.trapezoid(curve, DELETED, axis=1) / DELETED[-1]
             for name, curve in curves.items()}  # fmt: skip
    columns = {f"area_{name}": area for name, area in areas.items()}
    columns |= {f"gain_{name}": areas[name] - areas["heatmap"] for name in ("middle", "random")}
    columns |= curves

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1)
        return {name: (weights @ column) / (total if column.ndim == 1 else total[:, None])
                for name, column in columns.items()}  # fmt: skip

    return {
        "n": len(heatmaps),
        "n_groups": len(np.unique(groups)),
        "deleted": list(DELETED),
        **nan_to_none(bootstrap(statistics, groups)),
    }


def _curves(
    heatmaps: Sequence[Heatmap],
    engine: Engine,
    *,
    atoms: Sequence[str],
    temperature: float,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Give the curves by order, [n, k] each."""

    def curve(order: Order, row: int) -> NDArray[np.float64]:
        ranked = order(heatmaps[row], np.random.default_rng([seed, row]))
        return _curve(heatmaps[row], ranked, engine, atoms=atoms, temperature=temperature)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return {
            name: np.stack(list(pool.map(partial(curve, order), range(len(heatmaps)))))
            for name, order in ORDERS.items()
        }


def _curve(
    heatmap: Heatmap,
    order: NDArray[np.floating],
    engine: Engine,
    *,
    atoms: Sequence[str],
    temperature: float,
) -> NDArray[np.float64]:
    """Give the tumor probability after each of DELETED, [k]."""
    batch = np.stack([delete(heatmap.prepared, order, share) for share in DELETED])
    found = calibrated(engine.run(batch).logits, temperature)
    return np.asarray(labels.tumor_probability(found, atoms), np.float64)


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
