"""Detection among slices of the same level of the head, by source and sequence.

Over all slices of patients the level gives the answer away: tumors lie in the middle of a stack.
So a slice with a tumor is only compared with slices without one that lie as high.
"""

from collections.abc import Sequence

import numpy as np

from tumorlens.records import Case
from tumorlens.reports.evaluation.result import SameLevel
from tumorlens.study.data.acquisition import WITHIN, sequence_of, source_of
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import matched_area


def same_level_figures(
    cases: Sequence[Case], labeled: LabeledPredictions
) -> dict[str, SameLevel] | None:
    """Return the AUC of matched pairs by source and sequence; None where no level is known."""
    levels = np.array([np.nan if case.level is None else case.level for case in cases], float)
    if not np.isfinite(levels).any():
        return None
    names = np.array([f"{source_of(case)} {sequence_of(case.path)}".strip() for case in cases])
    found = {}
    for name in np.unique(names[np.isfinite(levels)]).tolist():
        rows = np.flatnonzero((names == name) & np.isfinite(levels))
        truth, at, groups = labeled.truth[rows], levels[rows], labeled.groups[rows]
        if truth.all() or not truth.any():
            continue
        middle = -np.abs(at - np.median(at[truth]))
        matched, all_pairs = {"at": at, "within": WITHIN}, {"at": at, "within": 1.0}
        scores = labeled.scores[rows]
        found[name] = SameLevel(
            auc=matched_area(truth, scores, groups=groups, **matched),
            unmatched=matched_area(truth, scores, groups=groups, **all_pairs),
            level_alone=matched_area(truth, middle, groups=groups, **all_pairs),
            tumors=int(truth.sum()),
            healthy=int((~truth).sum()),
        )
    return found or None
