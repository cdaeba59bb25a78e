"""Figures that must be poor: what the same scans give to something that cannot know.

Labels dealt anew to whole groups test the measuring, a rim without a brain and trees on facts of
the file, or of how a scan came about, test the scans. A model's figure says something only where
it lies far above all of them.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tumorlens import labels
from tumorlens.inputs.prepare import prepare_file
from tumorlens.json_records import as_record
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.decision import softmax
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Unusable
from tumorlens.reports.evaluation import ALL_FACTS, Control, ModelArea
from tumorlens.study.audit.shortcuts import is_known, measure_fact, measure_shortcuts
from tumorlens.study.audit.survey import survey_files
from tumorlens.study.data.acquisition import sequence_of
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, Rows
from tumorlens.study.evaluation.planes import NOT_TOLD
from tumorlens.study.features.texture import head_of
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import TAILS, bootstrap, estimate_of, not_collapsed, share

DEALS = 200  # of the labels
RIM = 0.08  # width of the rim that is left of a head, of the side
BATCH = 32
NAMED = {"all of these": ALL_FACTS}  # families whose name needs its place
TASKS = {"CT detection": "ct", "MRI detection": "mri", "type": "type"}


def control_figures(
    cases: Sequence[Case],
    labeled: LabeledPredictions,
    bundle: Bundle,
    *,
    planes: Sequence[str] = (),
    progress: Progress = silent,
) -> tuple[Control, ...]:
    """Return a row for each control and task, with the model's own AUC on the same scans.

    `labeled` are the answers to `cases`, `planes` their estimated planes. Where a control cannot
    be measured, `auc` is None and `reason` says why.
    """
    model = _model_areas(labeled)
    rows = shuffled_rows(labeled)
    rows += rim_rows([case.path for case in cases], labeled, bundle, progress=progress)
    rows += shortcut_rows(cases, labeled, bundle)
    found = [replace(row, model=model.get(row.task)) for row in rows]
    return (*found, *fact_rows(cases, labeled, planes))


def _model_areas(labeled: LabeledPredictions, among: Rows | bool = True) -> dict[str, ModelArea]:
    """Return the AUC of detection in each modality, and the mean of each type against the rest."""
    found = {
        name: _area(labeled, rows & among, [(labeled.truth, labeled.scores)])
        for name, rows in labeled.modality_rows().items()
        if (rows & among).any()
    }
    typed = (labeled.types >= 0) & among
    if typed.any():
        given = np.asarray(labels.type_probabilities(labeled.probabilities), np.float64)
        each = [(labeled.types == k, given[:, k]) for k in np.unique(labeled.types[typed])]
        found["type"] = _area(labeled, typed, each)
    return found


def _area(
    labeled: LabeledPredictions, rows: Rows, each: Sequence[tuple[Rows, NDArray[np.float64]]]
) -> ModelArea:
    """Return the mean area, among some rows, of scores and the truths that they are to tell."""
    groups = labeled.groups[rows]
    pairs = [(truth[rows], scores[rows]) for truth, scores in each]
    found = bootstrap(
        lambda w: {"auc": np.mean([areas(*pair, w)["auc"] for pair in pairs], axis=0)}, groups
    )
    sides = [len(np.unique(groups[side])) for truth, _ in pairs for side in (truth, ~truth)]
    auc = estimate_of(not_collapsed(found, {"auc": min(sides)}), "auc", len(groups))
    return ModelArea(len(groups), len(np.unique(groups)), auc)


def shuffled_rows(labeled: LabeledPredictions) -> list[Control]:
    """Measure the answers against labels dealt anew within each modality; chance is 0.5.

    Runs of labels that belong to one group go together, so that the spread is that of groups.
    `auc` is the mean of the deals with the interval that holds 95 % of them, and `p` is the
    share of deals, with the true one, that reach the model's AUC.
    """
    rng = np.random.default_rng(0)
    found = []
    for name, rows in labeled.modality_rows().items():
        truth, groups = labeled.truth[rows], labeled.groups[rows]
        dealt = np.stack([deal(truth, groups, rng) for _ in range(DEALS)])
        ranks = rankdata(labeled.scores[rows])
        chance, auc = _areas_of(dealt, ranks), _areas_of(truth[None], ranks)[0]
        low, high = np.quantile(chance, TAILS)
        reached = (1 + int((chance >= auc).sum())) / (1 + DEALS)
        found.append(as_record(Control, {
            "control": "labels shuffled", "detail": f"{DEALS} deals to whole groups",
            "task": name, "n": len(truth), "n_groups": len(np.unique(groups)),
            "reason": "" if np.isfinite(auc) else "only one class",
            "auc": chance.mean(), "auc_low": low, "auc_high": high,
            "p": reached if np.isfinite(auc) else None,
        }))  # fmt: skip
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
    """Return the area under the ROC curve of one ranking, [n], for many truths, [d, n]."""
    positive = truths.sum(1).astype(float)
    above = truths @ ranks - positive * (positive + 1) / 2
    return share(above, positive * (truths.shape[1] - positive))


def rim(prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the outer rim of a prepared head, [side, side], and blank the brain inside it."""
    head = head_of(prepared).astype(np.uint8)
    reach = 2 * max(1, round(RIM * len(prepared))) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    inside = cv2.erode(head, disk, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    return np.where(inside > 0, 0, prepared).astype(np.uint8)


def rim_rows(
    paths: Sequence[Path],
    labeled: LabeledPredictions,
    bundle: Bundle,
    *,
    progress: Progress = silent,
) -> list[Control]:
    """Predict the rims alone with the same network."""
    engine = Engine(bundle)

    def scores_of(some: Sequence[Path]) -> NDArray[np.float64]:
        prepared = [prepare_file(path, bundle.spec) for path in some]
        rims = {i: rim(p.pixels) for i, p in enumerate(prepared) if not isinstance(p, Unusable)}
        scores = np.full(len(some), np.nan)
        if rims:
            logits = engine.run(np.stack(list(rims.values()))).logits
            scores[list(rims)] = labels.tumor_probability(softmax(logits, bundle.temperature))
        return scores

    batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
    parts = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for part in pool.map(scores_of, batches):
            parts.append(part)
            progress(sum(map(len, parts)), len(paths))
    scores = np.concatenate(parts)
    detail = f"a rim of {RIM:.0%} of the side is left"
    found = []
    for name, rows in labeled.modality_rows().items():
        area = _area(labeled, rows & np.isfinite(scores), [(labeled.truth, scores)])
        found.append(Control("brain blanked", detail, name, area.n, area.n_groups, "", area.auc))
    return found


def fact_rows(
    cases: Sequence[Case], labeled: LabeledPredictions, planes: Sequence[str]
) -> list[Control]:
    """Let a tree tell the labels from a single fact of how a scan came about, where it is known."""
    facts = {
        "data set": np.array([case.dataset for case in cases]),
        "sequence": np.array([sequence_of(case.path) for case in cases]),
        "plane (estimated)": np.array(["" if name == NOT_TOLD else name for name in planes]),
        "level in the head": np.array(
            [np.nan if case.level is None else case.level for case in cases], float
        ),
    }
    found = []
    for name, fact in facts.items():
        known = is_known(fact)
        if len(np.unique(fact[known])) < 2:
            continue
        model = _model_areas(labeled, known)
        for row in measure_fact(labeled.labels, labeled.groups, fact, name=name):
            task = TASKS[row.task]
            if row.auc.n:
                found.append(Control(
                    f"{name} alone", "a small tree, whole groups held out", task, row.auc.n,
                    row.n_groups, row.reason, row.auc, model.get(task),
                ))  # fmt: skip
    return found


def shortcut_rows(
    cases: Sequence[Case], labeled: LabeledPredictions, bundle: Bundle
) -> list[Control]:
    """Let the audit's trees tell the labels of these scans from facts of their files."""
    survey = survey_files([case.path for case in cases], bundle.spec, with_text=False)
    found = measure_shortcuts(
        labeled.labels, labeled.groups, raw=survey.stored_columns(), prepared=survey.prepared
    )
    return [
        Control(
            f"tree on {NAMED.get(row.family, row.family)}", row.stage, TASKS[row.task],
            row.auc.n, row.n_groups, row.reason, row.auc,
        )
        for row in found
    ]  # fmt: skip
