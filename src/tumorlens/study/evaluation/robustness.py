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
from tumorlens.study.evaluation.labeled_predictions import Answers, gather_answers, plain
from tumorlens.study.evaluation.perturbations import PERTURBATIONS, perturbed
from tumorlens.study.evaluation.sampling import draw_sample
from tumorlens.study.stats.intervals import bootstrap, not_collapsed
from tumorlens.study.stats.rates import areas, rates, share

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
    answers = gather_answers(
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


def _measure(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    truth, scores = answers.truth[rows], answers.scores[rows]
    flagged = scores >= answers.threshold
    outside = np.array(answers.decisions)[rows] == "out of scope"

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        found = areas(truth, scores, weights) | rates(truth, flagged, weights)
        found["out_of_scope"] = share(weights @ outside, weights.sum(1))
        return {key: found[key] for key in SHOWN}

    groups = answers.groups[rows]
    independent = {"sensitivity": groups[truth], "specificity": groups[~truth],
                   "out_of_scope": groups}  # fmt: skip
    return plain(not_collapsed(
        bootstrap(statistics, groups),
        {name: len(np.unique(own)) for name, own in independent.items()},
    ))  # fmt: skip
