"""Whose slice it is, where the set itself does not say."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.records import Case


@dataclass(frozen=True)
class Patients:
    """What is known of n cases."""

    names: tuple[str, ...]  # "<data set>/<patient>", "" where nobody knows
    inherited: NDArray[np.bool_]  # [n] known only through a copy in another place
    disputed: int  # pictures whose copies name several patients; they inherit none


def trace_patients(cases: Sequence[Case], pictures: NDArray[np.int64]) -> Patients:
    """Give every case its patient, its own or that of a copy, [n] pictures being the copies."""
    own = [f"{case.dataset}/{case.patient}" if case.patient else "" for case in cases]
    of_picture: dict[int, set[str]] = defaultdict(set)
    for picture, name in zip(pictures.tolist(), own, strict=True):
        if name:
            of_picture[picture].add(name)
    names, inherited = list(own), np.zeros(len(cases), bool)
    for i, picture in enumerate(pictures.tolist()):
        known = of_picture.get(picture, set())
        if not own[i] and len(known) == 1:
            names[i], inherited[i] = next(iter(known)), True
    disputed = sum(len(known) > 1 for known in of_picture.values())
    return Patients(tuple(names), inherited, disputed)
