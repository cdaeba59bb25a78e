"""A part of the cases, for figures that would take long on all of them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tumorlens.records import Case


def draw_sample(cases: Sequence[Case], most: int, *, seed: int = 0) -> list[int]:
    """Choose up to `most` positions, labels as equal in number as they can be, in order.

    Of a label, a second scan of a group comes only after the first of every other group.
    """
    order = np.random.default_rng(seed).permutation(len(cases)).tolist()
    of_group: Counter[tuple[str, str]] = Counter()
    rounds = []
    for place, i in enumerate(order):
        group = (cases[i].label, cases[i].group or cases[i].key)
        rounds.append((of_group[group], place, i))
        of_group[group] += 1
    of_label: Counter[str] = Counter()
    turns = []
    for times, place, i in sorted(rounds):
        turns.append((of_label[cases[i].label], times, place, i))
        of_label[cases[i].label] += 1
    return sorted(turn[-1] for turn in sorted(turns)[:most])
