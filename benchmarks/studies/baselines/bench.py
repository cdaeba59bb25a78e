"""Where the scans of a reproduction are, and where its runs go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tumorlens.files import read_table
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.splits import Groups, Split

ANSWERS_FILE = "answers.csv"


@dataclass(frozen=True)
class Bench:
    """Where scans are, and where runs go."""

    data: Path  # holds a folder for each data set
    runs: Path
    audit: Path  # of all sets together, so that copies across sets are known
    cache: Path
    weights: str = ""  # of MobileNet: a file instead of a download
    split: Path | None = None  # one grouped split of all sets
    bundle: Path | None = None  # ours, trained on the train part of that

    @cached_property
    def joint(self) -> Split | None:
        """The split of all sets."""
        return splits.read_split(self.split) if self.split else None


def split_of(out: Path, cases: Sequence[Case], parts: Sequence[str], groups: Groups) -> Split:
    """Read the run's own split, so that it goes on as it began, or write it."""
    kept = out / "split.csv"
    return splits.read_split(kept) if kept.exists() else splits.write_split(
        kept, cases, parts, groups=groups
    )  # fmt: skip


def read_sets(bench: Bench, names: Sequence[str]) -> list[Case]:
    """List the scans of some data sets."""
    return read_cases([bench.data / name for name in names])


def read_answers(run: Path) -> list[dict[str, str]]:
    """Read what an arm answered, a row per case and repeat."""
    return read_table(run / ANSWERS_FILE)
