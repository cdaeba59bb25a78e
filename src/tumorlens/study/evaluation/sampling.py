"""A part of the cases, for figures that would take long on all of them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tumorlens import labels
from tumorlens.records import Case


def draw_sample(cases: Sequence[Case], most: int, *, seed: int = 0) -> list[int]:
    """Choose up to `most` positions, in order, even in number over modality and finding.

    Of each of these, a second scan of a group comes only after the first of every other group.
    """
    strata = [(labels.modality_of(c.label) or "", labels.is_tumor(c.label)) for c in cases]
    order = np.random.default_rng(seed).permutation(len(cases)).tolist()
    of_group: Counter[tuple[tuple[str, bool], str]] = Counter()
    rounds = []
    for place, i in enumerate(order):
        group = (strata[i], cases[i].group or cases[i].key)
        rounds.append((of_group[group], place, i))
        of_group[group] += 1
    of_stratum: Counter[tuple[str, bool]] = Counter()
    turns = []
    for times, place, i in sorted(rounds):
        turns.append((of_stratum[strata[i]], times, place, i))
        of_stratum[strata[i]] += 1
    return sorted(turn[-1] for turn in sorted(turns)[:most])
