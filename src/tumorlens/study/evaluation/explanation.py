"""Whether heatmaps say what moved the answer, where no mask is needed to tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tumorlens.models.engine import Engine
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case
from tumorlens.study.evaluation.deletion import deletion_figures
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.evaluation.randomization import randomization_figures
from tumorlens.study.evaluation.sampling import draw_sample

MOST = 60  # flagged tumors


def explanation_figures(
    cases: Sequence[Case],
    answers: LabeledPredictions,
    predictor: Predictor,
    *,
    most: int = MOST,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the heatmaps of a sample of the tumors that were flagged.

    `answers` are those to `cases`. `deletion` and `randomization` are None where no tumor was
    flagged.
    """
    bundle = predictor.bundle
    rows = np.flatnonzero(answers.truth & (answers.scores >= answers.threshold))
    flagged = [cases[i] for i in rows.tolist()]
    sample = [flagged[i] for i in draw_sample(flagged, most, seed=seed)]
    answered = predictor.predict([case.path for case in sample], heatmaps=True)
    seen = [(case, found.heatmap) for case, found in zip(sample, answered, strict=True)
            if found.heatmap is not None]  # fmt: skip
    groups = np.array([case.group or case.key for case, _ in seen])
    heatmaps = [heatmap for _, heatmap in seen]
    side = bundle.spec.side
    prepared = np.array([h.prepared for h in heatmaps], np.uint8).reshape(-1, side, side)
    return {
        "of": len(flagged),
        "deletion": deletion_figures(
            heatmaps, groups, Engine(bundle),
            atoms=bundle.atoms, temperature=bundle.temperature, seed=seed,
        ),
        "randomization": randomization_figures(prepared, groups, bundle, seed=seed),
    }  # fmt: skip
