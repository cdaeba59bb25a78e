"""Where the scans of a study are, where its runs go, and what a run keeps in its folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tumorlens.records import Case
from tumorlens.study.audit.result import read_groups
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.scores import SCORES_FILE, Score, read_scores

SCORES_BEFORE = "answers.csv"  # what the last version called the table of scores


@dataclass(frozen=True)
class Sets:
    """Where scans are, and where runs go."""

    data: Path  # holds a folder for each data set
    runs: Path
    audit: Path  # of all sets together, so that copies across sets are known
    cache: Path
    weights: Path | None = None  # a folder of NETWORK.weights.h5, instead of ImageNet's own way
    split: Path | None = None  # one grouped split of all sets
    bundle: Path | None = None  # ours, trained on the train part of that
    strangers: Path | None = None  # the run of the network that saw none of the sources left out

    @cached_property
    def joint(self) -> Split | None:
        """The split of all sets."""
        return splits.read_split(self.split) if self.split else None

    def weights_of(self, network: str) -> str:
        """Return the file of a network's ImageNet weights; without one the usual way is gone."""
        file = self.weights / f"{network}.weights.h5" if self.weights else None
        return str(file) if file and file.exists() else ""

    def read(self, names: Sequence[str]) -> tuple[list[Case], Groups]:
        """List the scans of some data sets, with their groups."""
        cases = read_cases([self.data / name for name in names])
        return cases, read_groups(self.audit, cases)


def split_of(out: Path, cases: Sequence[Case], parts: Sequence[str], groups: Groups) -> Split:
    """Read the run's own split, so that it goes on as it started, or write it."""
    kept = out / "split.csv"
    return splits.read_split(kept) if kept.exists() else splits.write_split(
        kept, cases, parts, groups=groups
    )  # fmt: skip


def scores_file(run: Path) -> str:
    """Name the table of scores in the folder of a run."""
    return SCORES_BEFORE if (run / SCORES_BEFORE).exists() else SCORES_FILE


def scores_in(run: Path) -> list[Score]:
    """Read the scores of a run; scans that could not be read have none."""
    found = read_scores(run / scores_file(run))
    return [score for score in found if np.isfinite(score.tumor_probability)]
