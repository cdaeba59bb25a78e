"""A network on patients that it never saw: a bundle on the test part of its own grouped split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import SplitError
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case
from tumorlens.study.data.splits import apply_split, read_split
from tumorlens.study.explore.run import UNKNOWN, modality_name
from tumorlens.study.explore.separation import score_auc


@dataclass(frozen=True)
class Unseen:
    """How a network tells tumor from healthy, or why nobody can say."""

    figures: Mapping[str, Mapping[str, Any]]  # by modality: of `score_auc`
    bundle: str = ""
    reason: str = ""  # why there are no figures


def measure_unseen(
    cases: Sequence[Case],
    split_file: Path | None,
    predictor: Predictor,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Unseen:
    """Predict the test part, where the split does not leak and the bundle trained with it.

    The split must bear the fingerprint that the bundle recorded; anything else may have shown
    these scans, or copies of them, to the network.
    """
    bundle = predictor.bundle
    try:
        chosen, reason = _test_part(cases, split_file, bundle.details)
    except SplitError as error:
        chosen, reason = [], f"{error.subject}: {error.fact}"
    if reason or not chosen:
        return Unseen({}, bundle.version, reason or "the test part holds none of these scans")
    answers = predictor.predict([case.path for case in chosen], progress=progress)
    read = [i for i, answer in enumerate(answers) if not answer.error]
    if not read:
        return Unseen({}, bundle.version, "no scan of the test part can be read")
    scores = np.array([answers[i].tumor_probability for i in read], float)
    return Unseen(_by_modality([chosen[i] for i in read], scores), bundle.version)


def _test_part(
    cases: Sequence[Case], split_file: Path | None, details: Mapping[str, Any]
) -> tuple[list[Case], str]:
    if split_file is None:
        return [], "no split was given"
    split = read_split(split_file)
    trained = details.get("data", {}).get("split")
    if split.fingerprint != trained:
        return [], (
            f"the bundle was trained with the split {trained or 'unknown'}, not with "
            f"{split.fingerprint}: it may have seen these scans"
        )
    return [case for case in apply_split(cases, split) if case.split == "test"], ""


def _by_modality(
    cases: Sequence[Case], scores: NDArray[np.float64]
) -> dict[str, Mapping[str, Any]]:
    names = np.array([modality_name(case.label) for case in cases])
    truth = np.array([labels.is_tumor(case.label) for case in cases])
    groups = np.array([case.group or case.key for case in cases])
    return {
        name: score_auc(scores[rows], truth[rows], groups[rows])
        for name in (*labels.MODALITIES, UNKNOWN)
        if (rows := names == name).any()
    }
