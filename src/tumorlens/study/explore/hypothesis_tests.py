"""What people believe about a set, and the verdict on each belief by a rule written down before.

Every verdict follows from an interval and a bar: wholly above it supported, wholly below it not
supported, else undecided. Where several modalities answer and disagree, it is undecided. A
verdict is about the set at hand, prepared as networks get it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from tumorlens.records import Estimate
from tumorlens.study.audit.shortcuts import Shortcut
from tumorlens.study.explore.class_images import MeanDifference
from tumorlens.study.explore.held_out_performance import (
    AUGMENTATION,
    TRANSFER,
    Cell,
    Experiment,
    HeldOutPerformance,
    set_name,
)
from tumorlens.study.explore.record import Finding, GroupedAuc, Judgment
from tumorlens.study.explore.run import Exploration
from tumorlens.study.explore.tabular import modality_title
from tumorlens.study.stats.class_differences import LEVEL

SUPPORTED, REFUTED, UNDECIDED = "supported", "not supported", "undecided"
SEPARATES = 0.75  # AUC that counts as telling two classes apart
EXPLAINS = 0.6  # AUC above which a shortcut explains a part
VISIBLE = 8.0  # gray levels of 255 that an eye can tell on a mean image
VISIBLE_SHARE = 0.01  # of the square: less is a speck
MIN_GROUPS = 50  # of each class, before seeing nothing means that nothing is there
MIN_SEEDS = 3
MODEL = "random_forest"  # chosen beforehand: the best of three would flatter


@dataclass(frozen=True)
class Hypothesis:
    """What is claimed and how it is judged."""

    id: str
    statement: str
    test: str
    rule: str
    one_refutes: bool = False  # else findings that disagree leave it undecided
    of_networks: bool = False  # judged by trainings on several sets, not by the set at hand


HYPOTHESES = (
    Hypothesis(
        "H1",
        "The mean images of healthy and tumor scans differ visibly.",
        "Maximum-statistic permutation test of group means over all pixels (Nichols and Holmes, "
        "2002), for each modality.",
        f"Supported: the interval of p lies below {LEVEL}, and over {VISIBLE_SHARE:.0%} of the "
        f"square or more the means differ significantly by {VISIBLE:g} of 255 gray levels or more. "
        f"Not supported: otherwise, where p is clear and each class has {MIN_GROUPS} groups or "
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
        "The same training with and without augmentation, pair by pair of seeds, tested on unseen "
        "groups of its own set and on other sets.",
        f"The 95 % interval (Student's t over {MIN_SEEDS} seeds or more) of the gain against 0.",
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


def by_interval(found: Estimate, bar: float) -> str:
    """Hold an interval against a bar."""
    if found.low is None or found.high is None or not np.isfinite([found.low, found.high]).all():
        return UNDECIDED
    if found.low > bar:
        return SUPPORTED
    return REFUTED if found.high < bar else UNDECIDED


def overall(findings: Sequence[Finding], *, one_refutes: bool) -> tuple[str, str]:
    """Return the verdict over all findings, and the reason where they disagree."""
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        return verdicts.pop(), ""
    if not verdicts:
        return UNDECIDED, ""
    verdict = REFUTED if one_refutes and REFUTED in verdicts else UNDECIDED
    return verdict, "; ".join(f"{finding.where}: {finding.verdict}" for finding in findings)


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict may rest on."""

    exploration: Exploration
    held_out: HeldOutPerformance = field(
        default_factory=lambda: HeldOutPerformance(reason="no bundle was tested")
    )
    experiments: Sequence[Experiment] = ()


def judge_hypotheses(evidence: Evidence) -> tuple[Judgment, ...]:
    """Judge every hypothesis by what there is; without a figure it is undecided, and says why."""
    return tuple(_judge(hypothesis, evidence) for hypothesis in HYPOTHESES)


def _judge(hypothesis: Hypothesis, evidence: Evidence) -> Judgment:
    findings, missing = _TESTS[hypothesis.id](evidence)
    verdict, reason = overall(findings, one_refutes=hypothesis.one_refutes)
    return Judgment(
        hypothesis.id,
        hypothesis.statement,
        hypothesis.test,
        hypothesis.rule,
        verdict,
        reason if findings else missing,
        tuple(findings),
    )


def _means_differ(evidence: Evidence) -> tuple[list[Finding], str]:
    found = [
        _mean_finding(modality_title(modality), difference)
        for modality, difference in evidence.exploration.detection.items()
    ]
    return found, "no modality has both healthy and tumor scans"


def _mean_finding(where: str, found: MeanDifference) -> Finding:
    measure, test = "p, corrected for all pixels", found.test
    if test is None:
        nothing = Estimate(None, None, None, found.n)
        return Finding(where, measure, UNDECIDED, nothing, note="fewer than two groups of a class")
    p = float(test.p.min())
    reached = round(p * (test.permutations + 1)) - 1
    interval = stats.binomtest(reached, test.permutations).proportion_ci(method="exact")
    sizes = np.abs(found.tested_pixels()) * test.significant
    visible = float((sizes >= VISIBLE).mean())
    note = "nowhere more than chance"
    if test.significant.any():
        note = f"up to {sizes.max():.0f} of 255 gray levels; {visible:.1%} of the square visible"
    estimate = Estimate(p, float(interval.low), float(interval.high), found.n)
    groups = (test.n_first, test.n_second)
    return Finding(
        where, measure, _mean_verdict(estimate, visible, groups), estimate, sum(groups), note
    )


def _mean_verdict(p: Estimate, visible: float, groups: tuple[int, int]) -> str:
    low, high = p.low or 0.0, p.high or 0.0
    if high < LEVEL and visible >= VISIBLE_SHARE:
        return SUPPORTED
    clear = high < LEVEL or low > LEVEL
    return REFUTED if clear and min(groups) >= MIN_GROUPS else UNDECIDED


def _network(evidence: Evidence) -> tuple[list[Finding], str]:
    held_out = evidence.held_out
    found = [
        _auc_finding(modality_title(modality), row, SEPARATES, held_out.bundle)
        for modality, row in held_out.figures.items()
        if row.auc.value is not None
    ]
    reason = held_out.reason or "the test part has one class alone"
    return found or _networks_at_home(evidence), reason


def _networks_at_home(evidence: Evidence) -> list[Finding]:
    """Take what networks of the experiments reached on held-out groups of the set at hand."""
    names = {set_name(case.dataset, case.label) for case in evidence.exploration.cases}
    cells = {
        name: matrix[name][name]
        for matrix in _matrices(evidence)
        for name in matrix
        if name in names and name in matrix[name]
    }
    return [
        _auc_finding(name, cell, SEPARATES, "networks of the experiments")
        for name, cell in sorted(cells.items())
    ]


def _matrices(evidence: Evidence) -> list[Mapping[str, Mapping[str, Cell]]]:
    return [e.matrix for e in evidence.experiments if e.id == TRANSFER and e.matrix]


def _auc_finding(
    where: str, found: GroupedAuc | Cell | Shortcut, bar: float, note: str = ""
) -> Finding:
    return Finding(where, "AUC", by_interval(found.auc, bar), found.auc, found.n_groups, note)


def _augmentation(evidence: Evidence) -> tuple[list[Finding], str]:
    found = [_gain(e) for e in evidence.experiments if e.id == AUGMENTATION and e.pairs]
    return found, f"no results of an experiment {AUGMENTATION!r} were given"


def _gain(experiment: Experiment) -> Finding:
    gains = np.array([pair.with_it - pair.without for pair in experiment.pairs])
    measure, mean, n = f"gain of {experiment.measure}", float(gains.mean()), len(gains)
    if n < MIN_SEEDS:
        note = f"{n} seeds, fewer than {MIN_SEEDS}"
        gain = Estimate(mean, None, None, n)
        return Finding(experiment.where, measure, UNDECIDED, gain, note=note)
    half = stats.t.ppf(0.975, n - 1) * gains.std(ddof=1) / np.sqrt(n)
    gain = Estimate(mean, float(mean - half), float(mean + half), n)
    reached = np.mean([[pair.without, pair.with_it] for pair in experiment.pairs], axis=0)
    note = f"n counts seeds; from {reached[0]:.3f} to {reached[1]:.3f}"
    return Finding(experiment.where, measure, by_interval(gain, 0.0), gain, note=note)


def _texture(evidence: Evidence) -> tuple[list[Finding], str]:
    found = []
    for modality, study in evidence.exploration.studies.items():
        model = (study.models or {}).get(MODEL)
        if model is None or model.auc.value is None:
            continue
        network = evidence.held_out.figures.get(modality)
        note = "no network to compare with"
        if network is not None and network.auc.value is not None:
            gap = network.auc.value - model.auc.value
            note = f"{gap:+.3f} of AUC from here to the network"
        found.append(_auc_finding(modality_title(modality), model, SEPARATES, note))
    return found, "no modality has two groups or more of both healthy and tumor scans"


def _shortcut(evidence: Evidence) -> tuple[list[Finding], str]:
    wanted = "as stored", "all of these"
    rows = [
        row
        for row in evidence.exploration.shortcuts
        if (row.stage, row.family) == wanted and row.task.endswith("detection")
    ]
    found = [
        _auc_finding(row.task.removesuffix(" detection"), row, EXPLAINS)
        for row in rows
        if row.auc.value is not None
    ]
    return found, "; ".join(f"{row.task}: {row.reason}" for row in rows)


def _transfer(evidence: Evidence) -> tuple[list[Finding], str]:
    found = []
    for matrix in _matrices(evidence):
        for trained, columns in matrix.items():
            home = columns.get(trained)
            note = f"{home.auc.value:.3f} on {trained} itself" if home else ""
            found += [
                _auc_finding(f"{trained} to {tested}", cell, SEPARATES, note)
                for tested, cell in columns.items()
                if tested != trained
            ]
    return found, f"no results of an experiment {TRANSFER!r} on two sets or more were given"


_TESTS: Mapping[str, Callable[[Evidence], tuple[list[Finding], str]]] = {
    "H1": _means_differ,
    "H2": _network,
    "H3": _augmentation,
    "H4": _texture,
    "H5": _shortcut,
    "H6": _transfer,
}
