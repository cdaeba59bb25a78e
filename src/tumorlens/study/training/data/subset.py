"""The usable cases of one part, prepared and ready for the network."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.cache import PreparedSet, prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.training.data.batches import TrainingSet, one_of_each_picture


@dataclass(frozen=True)
class Part:
    """The usable cases of one part, prepared."""

    cases: tuple[Case, ...]
    images: NDArray[np.uint8]  # [n, side, side]
    pictures: NDArray[np.int64]  # [n] files of one picture share a number

    def first_of_each_picture(self) -> "Part":
        """Keep one file of each picture."""
        rows = one_of_each_picture(self.pictures, np.arange(len(self.cases)))
        rows = np.sort(rows)
        cases = tuple(self.cases[row] for row in rows)
        return Part(cases, self.images[rows], self.pictures[rows])

    @property
    def names(self) -> list[str]:
        """Labels, in order."""
        return [case.label for case in self.cases]

    @property
    def groups(self) -> NDArray[np.str_]:
        """What may not be taken for independent has one name, [n]."""
        return np.array([case.group or case.key for case in self.cases])

    @property
    def strata(self) -> NDArray[np.int64]:
        """A number for each data set and label together, [n]."""
        names = [f"{case.dataset}/{case.label}" for case in self.cases]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def to_training_set(self) -> TrainingSet:
        """Give what the loop samples from."""
        masks = labels.label_mask(self.names)
        return TrainingSet(self.images, masks, self.pictures, self.strata)


def prepare_part(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    pictures: Mapping[str, str],
    cache: Path,
    unreadable: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Part:
    """Prepare cases; those that cannot be read are listed in the table `unreadable`.

    `pictures` maps case keys to pictures. Raises TrainingError if nothing is left.
    """
    made = prepare_files([case.path for case in cases], spec, cache=cache, progress=progress)
    _note_unreadable(made, cases, unreadable)
    rows = np.flatnonzero(made.usable)
    if not len(rows):
        fix = "Make a split with `tumorlens split`, with some readable scans in each part."
        raise TrainingError("split", "leaves a part without scans", fix)
    kept = tuple(cases[row] for row in rows.tolist())
    names = [pictures.get(case.key, case.key) for case in kept]
    numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Part(kept, made.pixels[rows], numbers)


def _note_unreadable(made: PreparedSet, cases: Sequence[Case], out: Path) -> None:
    if not made.errors:
        return
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "error"])
        writer.writerows([cases[row].path, error] for row, error in sorted(made.errors.items()))
