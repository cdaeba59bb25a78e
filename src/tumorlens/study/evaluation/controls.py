"""Figures that must be poor: what the same scans give to something that cannot know.

Labels dealt anew to whole groups test the measuring, a rim without a brain and trees on facts of
the file test the scans. A model's figure says something only where it lies far above all three.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tumorlens import labels
from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import prepare
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.calibration import calibrated
from tumorlens.progress import Progress
from tumorlens.records import Case
from tumorlens.study.audit.shortcuts import measure_shortcuts
from tumorlens.study.audit.survey import survey_files
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import areas, share
from tumorlens.study.stats.intervals import TAILS, bootstrap, nan_to_none

DEALS = 200  # of the labels
RIM = 0.08  # width of the rim that is left of a head, of the side
BATCH = 32
NAMED = {"all of these": "all facts of the file"}  # families whose name needs its place
TASKS = {"CT detection": "ct", "MRI detection": "mri", "type": "type"}


def control_figures(
    cases: Sequence[Case],
    answers: LabeledPredictions,
    bundle: Bundle,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Give a row for each control and task, with the model's own AUC on the same scans.

    `answers` are those to `cases`. Where a control cannot be measured, `auc` is None and
    `reason` says why.
    """
    model = _model_areas(answers)
    rows = shuffled_rows(answers, seed=seed)
    rows += rim_rows([case.path for case in cases], answers, bundle, progress=progress)
    rows += shortcut_rows(cases, answers, bundle, seed=seed)
    return [row | {"model": model.get(row["task"])} for row in rows]


def _model_areas(answers: LabeledPredictions) -> dict[str, dict[str, Any]]:
    found = {
        name: _area(answers, answers.scores, rows)
        for name, rows in answers.rows().items()
        if name != "all"
    }
    typed = answers.types >= 0
    if typed.any():
        found["type"] = _type_area(answers, typed)
    return found


def _area(
    answers: LabeledPredictions, scores: NDArray[np.float64], rows: NDArray[np.bool_]
) -> dict[str, Any]:
    truth = answers.truth[rows]
    found = bootstrap(lambda w: {"auc": areas(truth, scores[rows], w)["auc"]}, answers.groups[rows])
    return {
        "n": int(rows.sum()),
        "n_groups": len(np.unique(answers.groups[rows])),
        **nan_to_none(found),
    }


def _type_area(answers: LabeledPredictions, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Give the mean area of each type against the others, of the types that are there."""
    truth = answers.types[rows]
    given = np.asarray(labels.type_probabilities(answers.probabilities[rows]), np.float64)
    present = np.unique(truth)

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        each = [areas(truth == k, given[:, k], weights)["auc"] for k in present]
        return {"auc": np.mean(each, axis=0)}

    found = bootstrap(statistics, answers.groups[rows])
    return {
        "n": int(rows.sum()),
        "n_groups": len(np.unique(answers.groups[rows])),
        **nan_to_none(found),
    }


def shuffled_rows(
    answers: LabeledPredictions, *, deals: int = DEALS, seed: int = 0
) -> list[dict[str, Any]]:
    """Measure the answers against labels dealt anew within each modality; chance is 0.5.

    Runs of labels that belong to one group go together, so that the spread is that of groups.
    `auc` is the mean of the deals, `auc_low` and `auc_high` hold 95 % of them, and `p` is the
    share of deals, with the true one, that reach the model's AUC.
    """
    rng = np.random.default_rng(seed)
    found = []
    for name, rows in answers.rows().items():
        if name == "all":
            continue
        truth, groups = answers.truth[rows], answers.groups[rows]
        dealt = np.stack([deal(truth, groups, rng) for _ in range(deals)])
        ranks = rankdata(answers.scores[rows])
        chance = _areas_of(dealt, ranks)
        own = _areas_of(truth[None], ranks)[0]
        low, high = np.quantile(chance, TAILS)
        found.append({
            "control": "labels shuffled", "detail": f"{deals} deals to whole groups",
            "task": name, "n": len(truth), "n_groups": len(np.unique(groups)),
            "reason": "" if np.isfinite(own) else "only one class",
            **nan_to_none({
                "auc": float(chance.mean()), "auc_low": float(low), "auc_high": float(high),
                "p": (1 + int((chance >= own).sum())) / (1 + deals) + 0 * own,
            }),
        })  # fmt: skip
    return found


def deal(truth: NDArray[np.bool_], groups: NDArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Lay the labels out group by group, and deal them to the groups in another order, [n]."""
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    source, target = (np.argsort(rng.permutation(count)[numbers], kind="stable") for _ in range(2))
    dealt = np.empty_like(truth)
    dealt[target] = truth[source]
    return dealt


def _areas_of(truths: NDArray[np.bool_], ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the area under the ROC curve of one ranking, [n], for many truths, [d, n]."""
    positive = truths.sum(1).astype(float)
    above = truths @ ranks - positive * (positive + 1) / 2
    return share(above, positive * (truths.shape[1] - positive))


def rim(prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the outer rim of a prepared head, [side, side], and blank the brain inside it."""
    outlines, _ = cv2.findContours(
        (prepared > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    head = np.zeros_like(prepared)
    cv2.drawContours(head, outlines, -1, color=(1,), thickness=cv2.FILLED)
    reach = 2 * max(1, round(RIM * len(prepared))) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    inside = cv2.erode(head, disk, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.where(inside > 0, 0, prepared).astype(np.uint8)


def rim_rows(
    paths: Sequence[Path],
    answers: LabeledPredictions,
    bundle: Bundle,
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Ask the same network about the rims alone."""
    engine = Engine(bundle)

    def ask(some: Sequence[Path]) -> NDArray[np.float64]:
        scores = np.full(len(some), np.nan)
        seen = [(i, p) for i, path in enumerate(some) if (p := _rim_of(path, bundle)) is not None]
        if seen:
            logits = engine.run(np.stack([pixels for _, pixels in seen])).logits
            found = labels.tumor_probability(calibrated(logits, bundle.temperature))
            scores[[i for i, _ in seen]] = found
        return scores

    batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
    parts = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for part in pool.map(ask, batches):
            parts.append(part)
            if progress:
                progress(sum(map(len, parts)), len(paths))
    scores = np.concatenate(parts)
    known = np.isfinite(scores)
    row = {"control": "brain blanked", "detail": f"a rim of {RIM:.0%} of the side is left"}
    return [
        row | {"task": name, "reason": "", **_area(answers, scores, rows & known)}
        for name, rows in answers.rows().items()
        if name != "all"
    ]


def _rim_of(path: Path, bundle: Bundle) -> NDArray[np.uint8] | None:
    try:
        return rim(prepare(read_scan(path), bundle.spec).pixels)
    except ImageError:
        return None


def shortcut_rows(
    cases: Sequence[Case], answers: LabeledPredictions, bundle: Bundle, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Let the audit's trees tell the labels of these scans from facts of their files."""
    survey = survey_files([case.path for case in cases], bundle.spec, with_text=False)
    found = measure_shortcuts(
        answers.labels,
        answers.groups,
        raw=survey.stored_columns(),
        prepared=survey.prepared,
        seed=seed,
    )
    return [
        {
            "control": f"tree on {NAMED.get(row.family, row.family)}", "detail": row.stage,
            "task": TASKS[row.task], "n": row.auc.n, "n_groups": row.n_groups,
            "reason": row.reason, "auc": row.auc.value, "auc_low": row.auc.low,
            "auc_high": row.auc.high,
        }
        for row in found
    ]  # fmt: skip
