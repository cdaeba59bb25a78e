"""`evaluate`: cases and a predictor in, an Evaluation out."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import CasesError, ImageError
from tumorlens.images.raster import read_scan
from tumorlens.inputs.prepare import InputSpec, carry_mask, prepare
from tumorlens.predictions.heatmaps import enlarged
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.table import write_table
from tumorlens.records import Case, Evaluation, Prediction
from tumorlens.reports.page import render_page
from tumorlens.study.evaluation.figures import (
    Answers,
    calibration_figures,
    class_figures,
    detection_figures,
    localisation_figures,
    roc_points,
    type_figures,
)
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.writing import replacing

SCHEMA = 1


def evaluate(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    part: str,
    split: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict cases and compare; `case.group` says which belong together.

    `split` is written into the figures as it is. Raises CasesError where no case can be read.
    """
    with_masks = any(case.mask for case in cases)
    predictions = predictor.predict(
        [case.path for case in cases], heatmaps=with_masks, progress=progress
    )
    read = [i for i, prediction in enumerate(predictions) if not prediction.error]
    if not read:
        first = predictions[0].error if predictions else "no cases"
        raise CasesError("evaluation", f"has no readable scan (first: {first})", "Check the part.")
    answers = _answers([cases[i] for i in read], [predictions[i] for i in read], predictor)
    figures = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": predictor.bundle.version,
        "part": part,
        "split": dict(split),
        "trained_on_split": predictor.bundle.details.get("data", {}).get("split"),
        "n": len(cases),
        "unreadable": len(cases) - len(read),
        "intervals": "95 %, bootstrap over groups, 1000 resamples, seed 0",
        "threshold_choice": dict(predictor.bundle.threshold_choice),
        "datasets": dict(Counter(case.dataset for case in cases)),
        "labels": dict(Counter(case.label for case in cases)),
        "decisions": dict(Counter(answers.decisions)),
        "detection": _detection(answers),
        "roc": _roc(answers),
        "type": type_figures(answers),
        "classes": class_figures(answers),
        "calibration": calibration_figures(answers),
        "localisation": _localisation(cases, predictions, predictor.bundle.spec),
    }
    return Evaluation(figures, tuple(predictions), tuple(cases))


def _answers(
    cases: Sequence[Case], predictions: Sequence[Prediction], predictor: Predictor
) -> Answers:
    return Answers(
        labels=tuple(case.label for case in cases),
        groups=np.array([case.group or case.key for case in cases]),
        probabilities=np.array(
            [[p.atoms[atom] for atom in labels.ATOMS] for p in predictions], float
        ),
        decisions=tuple(prediction.decision for prediction in predictions),
        threshold=predictor.bundle.threshold,
    )


def _rows(answers: Answers) -> dict[str, NDArray[np.bool_]]:
    modalities = answers.modalities
    return {"all": np.ones(len(modalities), bool)} | {
        modality: modalities == modality
        for modality in labels.MODALITIES
        if (modalities == modality).any()
    }


def _detection(answers: Answers) -> dict[str, Any]:
    return {name: detection_figures(answers, rows) for name, rows in _rows(answers).items()}


def _roc(answers: Answers) -> dict[str, Any]:
    return {name: roc_points(answers, rows) for name, rows in _rows(answers).items()}


def _localisation(
    cases: Sequence[Case], predictions: Sequence[Prediction], spec: InputSpec
) -> dict[str, Any] | None:
    hits, prior, groups = [], [], []
    for case, prediction in zip(cases, predictions, strict=True):
        if case.mask is None or prediction.heatmap is None:
            continue
        mask = _prepared_mask(case, spec)
        if mask is None or not mask.any():
            continue
        evidence = enlarged(prediction.heatmap)
        hits.append(bool(mask[np.unravel_index(int(evidence.argmax()), mask.shape)]))
        prior.append(bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]))
        groups.append(case.group or case.key)
    return localisation_figures(hits, prior, np.array(groups))


def _prepared_mask(case: Case, spec: InputSpec) -> NDArray[np.bool_] | None:
    """Bring a case's mask into the prepared frame; None where it does not fit its scan."""
    try:
        scan, mask = read_scan(case.path), read_scan(str(case.mask))
    except ImageError:
        return None
    if scan.pixels.shape != mask.pixels.shape:
        return None
    return carry_mask(mask.pixels > 0, prepare(scan, spec))


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Write evaluation.json, predictions.csv and evaluation.html into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_table(evaluation.predictions, out / "predictions.csv")
    page = render_page(
        "evaluation.html", figures=evaluation.figures, plots=draw_plots(evaluation.figures)
    )
    for name, text in (
        ("evaluation.html", page),
        ("evaluation.json", json.dumps(evaluation.figures, indent=1) + "\n"),
    ):
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
