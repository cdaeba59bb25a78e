"""Labels that the other scans do not support: a list to look at, not a list of errors.

Confident learning (Northcutt, Jiang and Chuang, 2021; the method of cleanlab): every image is
judged by a logistic regression that saw neither it nor its group. Where another label is nearly as
probable as it usually is for images that have it, and more so than the recorded one, the image is
listed. A rare kind of scan is listed too; and what the network behind the embedding has learned
with its wrong label may not be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tumorlens.labels import LABELS, UNLABELED
from tumorlens.study.data.groups import grouped_folds

FOLDS = 5
SHARE_OF_USUAL = 0.8  # of the mean probability of a label among the images that have it
MIN_GROUPS = 10  # of a label, below which it is neither learned nor checked


@dataclass(frozen=True)
class DoubtfulLabel:
    """A file, by position, whose label the others do not support."""

    position: int
    suggested: str
    probability: float  # of the suggested label, by a model that did not see this group
    recorded_probability: float  # of the recorded one


def doubtful_labels(
    labels: Sequence[str],
    embedding: NDArray[np.float32],
    groups: NDArray[np.int64],
    image_ids: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[DoubtfulLabel]:
    """List doubtful labels, the most doubtful first; of the copies under one label the first.

    `embedding` is [n, D], with NaN where a file has none. A label that leaves the type open is
    doubted only where no label that it includes is probable.
    """
    rows = _one_of_each(labels, embedding, image_ids)
    recorded_names = [labels[int(row)] for row in rows]
    exact = _exact_labels(recorded_names, groups[rows])
    names = np.array(recorded_names)
    learned = np.isin(names, exact)
    if len(exact) < 2:
        return []
    probabilities = _held_out(embedding[rows], names, groups[rows], learned=learned, seed=seed)
    usual = np.array([probabilities[names == label, k].mean() for k, label in enumerate(exact)])
    found = []
    for row, chances in zip(map(int, rows), probabilities, strict=True):
        recorded = np.array([LABELS[label] <= LABELS[labels[row]] for label in exact])
        wider = np.array([LABELS[label] >= LABELS[labels[row]] for label in exact])
        own = float(chances[recorded].sum())
        others = np.where(recorded | wider | (chances < SHARE_OF_USUAL * usual), 0, chances)
        best = int(others.argmax())
        if others[best] > own and recorded.any():
            found.append(DoubtfulLabel(row, exact[best], float(others[best]), own))
    return sorted(found, key=lambda d: (d.recorded_probability - d.probability, d.position))


def _one_of_each(
    labels: Sequence[str], embedding: NDArray[np.float32], image_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the first file of each image and label that has an embedding."""
    usable = np.isfinite(embedding).all(1) if embedding.shape[1] else np.zeros(len(labels), bool)
    first: dict[tuple[int, str], int] = {}
    for i in np.flatnonzero(usable).tolist():
        if labels[i] != UNLABELED:
            first.setdefault((int(image_ids[i]), labels[i]), i)
    return np.array(sorted(first.values()), np.int64)


def _exact_labels(labels: Sequence[str], groups: NDArray[np.int64]) -> list[str]:
    """Return the labels with enough groups that no other of them makes more exact."""
    names = np.array(labels, np.str_)
    enough = [
        name for name in sorted(set(labels)) if len(np.unique(groups[names == name])) >= MIN_GROUPS
    ]
    return [name for name in enough if not any(LABELS[other] < LABELS[name] for other in enough)]


def _held_out(
    embedding: NDArray[np.float32],
    names: NDArray[np.str_],
    groups: NDArray[np.int64],
    *,
    learned: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.float64]:
    """Return the probability of each learned label, by a model of other groups: [n, labels]."""
    known = np.unique(names[learned])
    probabilities = np.zeros((len(names), len(known)))
    for train, test in grouped_folds(names, groups, count=FOLDS, seed=seed):
        chosen = train[learned[train]]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200, tol=1e-3))
        with threadpool_limits(1, user_api="blas"):  # more wait for each other in small steps
            model.fit(embedding[chosen], names[chosen])
        columns = np.searchsorted(known, model.classes_)
        probabilities[np.ix_(test, columns)] = model.predict_proba(embedding[test])
    return probabilities
