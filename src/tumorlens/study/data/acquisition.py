"""How a slice came about: source, sequence, level in the head. None of it may tell its label.

Tops and bottoms of heads are without a tumor in every set, so the level alone, without a look
at the brain, separates slices with and without one. Where it is known, slices are shown and
compared at the same level.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.records import Case
from tumorlens.study.data.case_table import SPLIT_NAMES

WITHIN = 0.05  # of a stack: slices this near lie at the same level
_BINS = 10
_MAX_SHARE = 4.0  # how much more often than the rest a slice is shown for its level
# Words of file names, in order: the first that stands between other signs than letters counts.
_SEQUENCES: Mapping[str, str] = {
    "flair": r"flair|fl",
    "t1c": r"t1c|t1ce|t1gd|t1post|t1wpost|mrgd",
    "t1": r"t1w?",
    "t2": r"t2w?",
}
_PATTERNS = {
    name: re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])", re.IGNORECASE)
    for name, words in _SEQUENCES.items()
}


def source_of(case: Case) -> str:
    """Return where a case comes from: its set, the folder in it if that is no class, the modality.

    A set that was put together from others keeps each in a folder of its own.
    """
    inside = case.volume or case.key.split("/", 1)[-1]
    folder = PurePosixPath(inside).parent.name
    is_class = folder.lower() in SPLIT_NAMES or labels.canonical_label(folder, modality="mri")
    parts = [case.dataset, "" if is_class else folder, labels.modality_of(case.label) or ""]
    return "/".join(dict.fromkeys(part for part in parts if part))


def sequence_of(path: Path) -> str:
    """Return the MRI sequence that a file's name states: flair, t1c, t1, t2, or ""."""
    return next((name for name, words in _PATTERNS.items() if words.search(path.stem)), "")


def level_shares(
    levels: NDArray[np.float64], truth: NDArray[np.bool_], sources: Sequence[str]
) -> NDArray[np.float64]:
    """Return how often to show each slice so that both labels come from the same levels, [n].

    `levels` are NaN where unknown, which gives 1; `sources` name what is matched by itself, such
    as a data set and sequence. In each, either label is brought to the geometric mean of both
    histograms, so a level that only one label has is hardly shown.
    """
    shares = np.ones(len(levels))
    names = np.asarray(sources)
    for source in np.unique(names[np.isfinite(levels)]):
        rows = np.flatnonzero((names == source) & np.isfinite(levels))
        bins = np.minimum((levels[rows] * _BINS).astype(int), _BINS - 1)
        counts = np.stack(
            [np.bincount(bins[truth[rows] == label], minlength=_BINS) for label in (False, True)]
        )
        if not counts.any(axis=1).all():
            continue
        present = counts / counts.sum(axis=1, keepdims=True)
        wanted = np.sqrt(present.prod(axis=0))
        ratio = np.divide(wanted, present, out=np.zeros_like(present), where=present > 0)
        shares[rows] = np.clip(ratio[truth[rows].astype(int), bins], 0.05, _MAX_SHARE)
    return shares
