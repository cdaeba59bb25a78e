"""How far the answers hold when scans get worse: AUC and rates by kind and strength of damage."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress
from tumorlens.records import Case, Prediction, Scan
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, label_predictions
from tumorlens.study.evaluation.perturbations import PERTURBATIONS, perturbed
from tumorlens.study.evaluation.sampling import draw_sample
from tumorlens.study.stats.discrimination import detection_statistics, share
from tumorlens.study.stats.intervals import ENDS, bootstrap, nan_to_none, not_collapsed

MOST = 200  # scans: enough for intervals of a few points
BATCH = 16
AS_STORED = "as stored"
SHOWN = ("auc", "sensitivity", "specificity", "out_of_scope")
Damage = tuple[str, float]


def robustness_figures(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    most: int = MOST,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a sample of `cases`, as stored and after each perturbation at each strength.

    A scan that can no longer be read after the damage counts as unanswered: `unread` says how
    many, and the figures are of the others.
    """
    sample = [cases[i] for i in draw_sample(cases, most, seed=seed)]
    damages: list[Damage] = [(AS_STORED, 0.0)]
    damages += [(name, s) for name, row in PERTURBATIONS.items() for s in row.strengths]
    answers: dict[Damage, list[Prediction]] = {damage: [] for damage in damages}
    batches = [sample[i : i + BATCH] for i in range(0, len(sample), BATCH)]
    kept: list[Case] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for read, found in pool.map(lambda some: _ask(some, predictor, damages, seed), batches):
            kept += read
            for damage, predictions in found.items():
                answers[damage] += predictions
            if progress:
                progress(len(kept), len(sample))
    return {
        "n": len(kept),
        "of": len(cases),
        "rows": [row for d in damages for row in _rows(d, kept, answers[d], predictor)],
    }


def _ask(
    cases: Sequence[Case], predictor: Predictor, damages: Sequence[Damage], seed: int
) -> tuple[list[Case], Mapping[Damage, list[Prediction]]]:
    read: list[tuple[Case, Scan]] = []
    for case in cases:
        try:
            read.append((case, read_scan(case.path)))
        except ImageError:
            continue
    found = {}
    for name, strength in damages:
        scans = [
            scan if name == AS_STORED else perturbed(scan, name, strength, seed=seed)
            for _, scan in read
        ]
        found[name, strength] = predictor.predict_scans(scans)
    return [case for case, _ in read], found


def _rows(
    damage: Damage, cases: Sequence[Case], predictions: Sequence[Prediction], predictor: Predictor
) -> list[dict[str, Any]]:
    """Give a row for each modality."""
    seen = [i for i, found in enumerate(predictions) if not found.error]
    answers = label_predictions(
        [cases[i] for i in seen], [predictions[i] for i in seen], predictor.bundle
    )
    name, strength = damage
    return [
        {"perturbation": name, "strength": strength, "task": task, "n": int(rows.sum()),
         "n_tumor": int(answers.truth[rows].sum()),
         "n_healthy": int((~answers.truth[rows]).sum()), "unread": len(predictions) - len(seen),
         **_measure(answers, rows)}
        for task, rows in answers.rows().items() if task != "all"
    ]  # fmt: skip


def _measure(answers: LabeledPredictions, rows: NDArray[np.bool_]) -> dict[str, Any]:
    groups = answers.groups[rows]
    outside = np.array(answers.decisions)[rows] == "out of scope"
    found = detection_statistics(
        answers.truth[rows], answers.scores[rows], thresholds=answers.threshold, groups=groups
    )
    refused = bootstrap(lambda w: {"out_of_scope": share(w @ outside, w.sum(1))}, groups)
    found |= not_collapsed(refused, {"out_of_scope": len(np.unique(groups))})
    return nan_to_none({name + end: found[name + end] for end in ENDS for name in SHOWN})
