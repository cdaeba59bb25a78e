"""What people believe about a set, as data: statement, test, and a verdict by rule.

Every verdict follows from an interval and a bar that were written down before: wholly above it
supported, wholly below it not supported, else undecided. Where several modalities answer and
disagree, it is undecided. A verdict is about the set at hand, prepared as networks see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tumorlens.study.explore.permutation import LEVEL

SUPPORTED, REFUTED, UNDECIDED = "supported", "not supported", "undecided"
SEPARATES = 0.75  # AUC that counts as telling two classes apart
EXPLAINS = 0.6  # AUC above which a shortcut explains a part
VISIBLE = 8.0  # grey levels of 255 that an eye can tell on a mean picture
VISIBLE_SHARE = 0.01  # of the square: less is a speck
FEWEST_GROUPS = 50  # of each class, before seeing nothing means that nothing is there
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Hypothesis:
    """What is claimed and how it is judged."""

    id: str
    statement: str
    test: str
    rule: str
    one_refutes: bool = False  # else findings that disagree leave it undecided
    of_networks: bool = False  # judged by trainings on several sets, not by the set at hand


@dataclass(frozen=True)
class Finding:
    """One figure with its interval, and the verdict that it gives by the rule."""

    where: str  # "MRI", "CT", or the sets
    measure: str  # what `value` is
    verdict: str
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    n: int | None = None
    n_groups: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Judgment:
    """A hypothesis with what was found and the verdict over all of it."""

    hypothesis: Hypothesis
    findings: tuple[Finding, ...]
    verdict: str
    reason: str


HYPOTHESES = (
    Hypothesis(
        "H1",
        "The mean pictures of healthy and tumor scans differ visibly.",
        "Maximum-statistic permutation test of group means over all pixels (Nichols and Holmes, "
        "2002), for each modality.",
        f"Supported: the interval of p lies below {LEVEL}, and over {VISIBLE_SHARE:.0%} of the "
        f"square or more the means differ significantly by {VISIBLE:g} of 255 grey levels or more. "
        f"Not supported: otherwise, where p is clear and each class has {FEWEST_GROUPS} groups or "
        "more.",
    ),
    Hypothesis(
        "H2",
        "A convolutional network tells tumor from healthy on patients it never saw.",
        "AUC of the bundle on the test part of the grouped split that it was trained with; without "
        "a bundle, of networks trained on the other folds of the set (mean AUC of the folds).",
        f"The 95 % interval (bootstrap over groups) against {SEPARATES}.",
    ),
    Hypothesis(
        "H3",
        "Augmentation improves what a network reaches on scans it was not trained on.",
        "The same training with and without augmentation, pair by pair of seeds, asked for unseen "
        "groups of its own set and for other sets.",
        f"The 95 % interval (Student's t over {FEWEST_SEEDS} seeds or more) of the gain against 0.",
        of_networks=True,
    ),
    Hypothesis(
        "H4",
        "Texture features alone tell tumor from healthy.",
        "AUC of a random forest of 13 features in cross-validation over whole groups.",
        f"The 95 % interval (bootstrap over groups) against {SEPARATES}.",
    ),
    Hypothesis(
        "H5",
        "Shortcuts explain a part of what is reached on this set.",
        "AUC of a small tree of facts of the stored files alone (size, bytes, border, corners), "
        "in cross-validation over whole groups.",
        f"The 95 % interval (bootstrap over groups) against {EXPLAINS}.",
    ),
    Hypothesis(
        "H6",
        "A network trained on one set holds on another.",
        "AUC of networks trained on each set and tested on every other, copies removed.",
        f"Supported: every interval on another set lies above {SEPARATES}. Not supported: one "
        "lies below.",
        one_refutes=True,
        of_networks=True,
    ),
)


def by_interval(low: float | None, high: float | None, bar: float) -> str:
    """Hold an interval against a bar."""
    if low is None or high is None or not np.isfinite([low, high]).all():
        return UNDECIDED
    if low > bar:
        return SUPPORTED
    return REFUTED if high < bar else UNDECIDED


def overall(findings: Sequence[Finding], *, one_refutes: bool) -> tuple[str, str]:
    """Give the verdict over all findings, and what to say where they disagree."""
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        return verdicts.pop(), ""
    if not verdicts:
        return UNDECIDED, ""
    verdict = REFUTED if one_refutes and REFUTED in verdicts else UNDECIDED
    return verdict, "; ".join(f"{finding.where}: {finding.verdict}" for finding in findings)
