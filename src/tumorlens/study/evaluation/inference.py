"""Cases asked of a predictor, with progress; what came of it besides the answers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Steps
from tumorlens.records import Case, Prediction
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, label_predictions
from tumorlens.study.evaluation.planes import FEATURES, estimate_planes, plane_features


def ask_with_planes(
    cases: Sequence[Case], predictor: Predictor, steps: Steps
) -> tuple[list[Prediction], list[str]]:
    """Predict cases, and estimate the plane of each one that could be read.

    Heatmaps are kept of cases with a mask alone: those of a large set would fill the memory.
    """
    predictions, features = [], []
    with steps("predicting") as report:
        asked = predictor.iter_predict([case.path for case in cases], heatmaps=True)
        for case, found in zip(cases, asked, strict=True):
            if found.heatmap is not None:
                features.append(plane_features(found.heatmap.prepared))
            predictions.append(found if case.mask else replace(found, heatmap=None))
            report(len(predictions), len(cases))
    return predictions, estimate_planes(np.array(features).reshape(-1, len(FEATURES)))


def ask(cases: Sequence[Case], predictor: Predictor, steps: Steps, what: str) -> list[Prediction]:
    """Predict cases without heatmaps."""
    with steps(what) as report:
        return predictor.predict([case.path for case in cases], progress=report)


def readable(predictions: Sequence[Prediction]) -> list[int]:
    """Give the positions that have an answer."""
    return [i for i, prediction in enumerate(predictions) if not prediction.error]


def answers_at(
    rows: Sequence[int],
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    predictor: Predictor,
) -> LabeledPredictions:
    """Put the predictions at some positions beside their cases."""
    return label_predictions(
        [cases[i] for i in rows], [predictions[i] for i in rows], predictor.bundle
    )
