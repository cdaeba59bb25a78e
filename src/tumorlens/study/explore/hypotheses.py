"""What people believe about a set, as data: statement, test, figures and a verdict by rule.

Every verdict follows from an interval and a bar that were written down before: wholly above it
supported, wholly below it not supported, else undecided. Where several modalities answer and
disagree, it is undecided. A verdict is about the set at hand, prepared as networks see it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from tumorlens.study.explore.experiments import AUGMENTATION, TRANSFER, Experiment
from tumorlens.study.explore.permutation import LEVEL
from tumorlens.study.explore.pictures import Difference, shrunk_difference
from tumorlens.study.explore.run import Exploration
from tumorlens.study.explore.unseen import Unseen

SUPPORTED, REFUTED, UNDECIDED = "supported", "not supported", "undecided"
SEPARATES = 0.75  # AUC that counts as telling two classes apart
EXPLAINS = 0.6  # AUC above which a shortcut explains a part
VISIBLE = 8.0  # grey levels of 255 that an eye can tell on a mean picture
VISIBLE_SHARE = 0.01  # of the square: less is a speck
FEWEST_GROUPS = 50  # of each class, before seeing nothing means that nothing is there
FEWEST_SEEDS = 3
MODEL = "random_forest"  # chosen beforehand: the best of three would flatter


@dataclass(frozen=True)
class Hypothesis:
    """What is claimed and how it is judged."""

    id: str
    statement: str
    test: str
    rule: str
    one_refutes: bool = False  # else findings that disagree leave it undecided


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


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict may rest on."""

    exploration: Exploration
    unseen: Unseen = field(default_factory=lambda: Unseen({}, reason="no bundle was asked"))
    experiments: Mapping[str, Experiment] = field(default_factory=dict)


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
        "AUC of the bundle on the test part of the grouped split that it was trained with.",
        f"The 95 % interval (bootstrap over groups) against {SEPARATES}.",
    ),
    Hypothesis(
        "H3",
        "Augmentation improves what a network reaches on scans it was not trained on.",
        "The same training with and without augmentation, pair by pair of seeds.",
        f"The 95 % interval (Student's t over {FEWEST_SEEDS} seeds or more) of the gain against 0.",
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
    ),
)


def judge(evidence: Evidence) -> list[Judgment]:
    """Judge every hypothesis by what there is; without a figure it is undecided, and says why."""
    found = []
    for hypothesis in HYPOTHESES:
        findings, missing = _JUDGES[hypothesis.id](evidence)
        verdict, reason = _overall(findings, hypothesis.one_refutes)
        found.append(
            Judgment(hypothesis, tuple(findings), verdict, reason if findings else missing)
        )
    return found


def by_interval(low: float | None, high: float | None, bar: float) -> str:
    """Hold an interval against a bar."""
    if low is None or high is None or not np.isfinite([low, high]).all():
        return UNDECIDED
    if low > bar:
        return SUPPORTED
    return REFUTED if high < bar else UNDECIDED


def _overall(findings: Sequence[Finding], one_refutes: bool) -> tuple[str, str]:
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        return verdicts.pop(), ""
    if not verdicts:
        return UNDECIDED, ""
    verdict = REFUTED if one_refutes and REFUTED in verdicts else UNDECIDED
    return verdict, "; ".join(f"{finding.where}: {finding.verdict}" for finding in findings)


def _means_differ(evidence: Evidence) -> tuple[list[Finding], str]:
    found = [
        _mean_finding(_title(modality), difference)
        for modality, difference in evidence.exploration.detection.items()
    ]
    return found, "no modality has both healthy and tumor scans"


def _mean_finding(where: str, found: Difference) -> Finding:
    measure, test = "p, corrected for all pixels", found.test
    if test is None:
        note = "fewer than two groups of a class"
        return Finding(where, measure, UNDECIDED, note=note)
    p = float(test.p.min())
    reached = round(p * (test.permutations + 1)) - 1
    interval = stats.binomtest(reached, test.permutations).proportion_ci(method="exact")
    sizes = np.abs(shrunk_difference(found).ravel()) * test.significant
    visible = float((sizes >= VISIBLE).mean())
    note = "nowhere more than chance"
    if test.significant.any():
        note = f"up to {sizes.max():.0f} of 255 grey levels; {visible:.1%} of the square visible"
    groups = (test.n_first, test.n_second)
    return Finding(
        where, measure, _mean_verdict(interval.low, interval.high, visible, groups),
        value=p, value_low=float(interval.low), value_high=float(interval.high),
        n_groups=sum(groups), note=note,
    )  # fmt: skip


def _mean_verdict(low: float, high: float, visible: float, groups: tuple[int, int]) -> str:
    if high < LEVEL and visible >= VISIBLE_SHARE:
        return SUPPORTED
    clear = high < LEVEL or low > LEVEL
    return REFUTED if clear and min(groups) >= FEWEST_GROUPS else UNDECIDED


def _network(evidence: Evidence) -> tuple[list[Finding], str]:
    unseen = evidence.unseen
    found = [
        _auc_finding(_title(modality), figures, SEPARATES, note=unseen.bundle)
        for modality, figures in unseen.figures.items()
        if figures["auc"] is not None
    ]
    return found, unseen.reason or "the test part has one class alone"


def _auc_finding(where: str, figures: Mapping[str, Any], bar: float, *, note: str = "") -> Finding:
    low, high = figures["auc_low"], figures["auc_high"]
    return Finding(
        where, "AUC", by_interval(low, high, bar), value=figures["auc"], value_low=low,
        value_high=high, n=figures["n"], n_groups=figures["n_groups"], note=note,
    )  # fmt: skip


def _augmentation(evidence: Evidence) -> tuple[list[Finding], str]:
    experiment = evidence.experiments.get(AUGMENTATION)
    if experiment is None or not experiment.pairs:
        return [], f"no results of an experiment {AUGMENTATION!r} were given"
    gains = np.array([pair.with_it - pair.without for pair in experiment.pairs])
    measure = f"gain of {experiment.measure}"
    if len(gains) < FEWEST_SEEDS:
        note = f"{len(gains)} seeds, fewer than {FEWEST_SEEDS}"
        return [Finding("all", measure, UNDECIDED, float(gains.mean()), note=note)], ""
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    low, high = float(gains.mean() - half), float(gains.mean() + half)
    finding = Finding(
        "all", measure, by_interval(low, high, 0.0), value=float(gains.mean()), value_low=low,
        value_high=high, n=len(gains), note="n counts seeds",
    )  # fmt: skip
    return [finding], ""


def _texture(evidence: Evidence) -> tuple[list[Finding], str]:
    found = []
    for modality, study in evidence.exploration.studies.items():
        figures = (study["models"] or {}).get(MODEL)
        if figures is None or figures["auc"] is None:
            continue
        network = evidence.unseen.figures.get(modality, {}).get("auc")
        note = "no network to compare with"
        if network is not None:
            note = f"{network - figures['auc']:+.3f} of AUC from here to the network"
        found.append(_auc_finding(_title(modality), figures, SEPARATES, note=note))
    return found, "no modality has two groups or more of both healthy and tumor scans"


def _shortcut(evidence: Evidence) -> tuple[list[Finding], str]:
    rows = [
        row for row in evidence.exploration.shortcuts
        if row.stage == "as stored" and row.family == "all of these"
        and row.task.endswith("detection")
    ]  # fmt: skip
    found = [
        _auc_finding(row.task.removesuffix(" detection"), vars(row), EXPLAINS)
        for row in rows
        if row.auc is not None
    ]
    return found, "; ".join(f"{row.task}: {row.reason}" for row in rows)


def _transfer(evidence: Evidence) -> tuple[list[Finding], str]:
    experiment = evidence.experiments.get(TRANSFER)
    found = []
    for trained, columns in ((experiment and experiment.matrix) or {}).items():
        found += [
            _cell_finding(trained, tested, columns) for tested in columns if tested != trained
        ]
    return found, f"no results of an experiment {TRANSFER!r} on two sets or more were given"


def _cell_finding(trained: str, tested: str, columns: Mapping[str, Any]) -> Finding:
    cell, own = columns[tested], columns.get(trained)
    return Finding(
        f"{trained} to {tested}", "AUC", by_interval(cell.auc_low, cell.auc_high, SEPARATES),
        value=cell.auc, value_low=cell.auc_low, value_high=cell.auc_high, n=cell.n,
        note=f"{own.auc:.3f} on {trained} itself" if own else "",
    )  # fmt: skip


def _title(modality: str) -> str:
    return modality.upper() if modality in ("ct", "mri") else "modality not recorded"


_JUDGES: Mapping[str, Callable[[Evidence], tuple[list[Finding], str]]] = {
    "H1": _means_differ,
    "H2": _network,
    "H3": _augmentation,
    "H4": _texture,
    "H5": _shortcut,
    "H6": _transfer,
}
