"""The figures that hypotheses are judged by, and each verdict by the rule that was written down."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from tumorlens.study.explore.experiments import (
    AUGMENTATION,
    TRANSFER,
    Cell,
    Experiment,
    set_name,
)
from tumorlens.study.explore.held_out_performance import Unseen
from tumorlens.study.explore.hypotheses import (
    EXPLAINS,
    FEWEST_GROUPS,
    FEWEST_SEEDS,
    HYPOTHESES,
    REFUTED,
    SEPARATES,
    SUPPORTED,
    UNDECIDED,
    VISIBLE,
    VISIBLE_SHARE,
    Finding,
    Judgment,
    by_interval,
    overall,
)
from tumorlens.study.explore.permutation import LEVEL
from tumorlens.study.explore.pictures import Difference, shrunk_difference
from tumorlens.study.explore.run import Exploration

MODEL = "random_forest"  # chosen beforehand: the best of three would flatter


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict may rest on."""

    exploration: Exploration
    unseen: Unseen = field(default_factory=lambda: Unseen({}, reason="no bundle was asked"))
    experiments: Sequence[Experiment] = ()


def judge(evidence: Evidence) -> list[Judgment]:
    """Judge every hypothesis by what there is; without a figure it is undecided, and says why."""
    found = []
    for hypothesis in HYPOTHESES:
        findings, missing = _JUDGES[hypothesis.id](evidence)
        verdict, reason = overall(findings, one_refutes=hypothesis.one_refutes)
        found.append(
            Judgment(hypothesis, tuple(findings), verdict, reason if findings else missing)
        )
    return found


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
    reason = unseen.reason or "the test part has one class alone"
    return found or _networks_at_home(evidence), reason


def _networks_at_home(evidence: Evidence) -> list[Finding]:
    """Take what networks of the experiments reached on held-out groups of the set at hand."""
    names = {set_name(case.dataset, case.label) for case in evidence.exploration.cases}
    cells = {
        name: matrix[name]
        for matrix in _matrices(evidence)
        for name in matrix
        if name in names and name in matrix[name]
    }
    return [
        _auc_finding(name, vars(columns[name]), SEPARATES, note="networks of the experiments")
        for name, columns in sorted(cells.items())
    ]


def _matrices(evidence: Evidence) -> list[Mapping[str, Mapping[str, Cell]]]:
    return [e.matrix for e in evidence.experiments if e.id == TRANSFER and e.matrix]


def _auc_finding(where: str, figures: Mapping[str, Any], bar: float, *, note: str = "") -> Finding:
    low, high = figures["auc_low"], figures["auc_high"]
    return Finding(
        where, "AUC", by_interval(low, high, bar), value=figures["auc"], value_low=low,
        value_high=high, n=figures["n"], n_groups=figures["n_groups"], note=note,
    )  # fmt: skip


def _augmentation(evidence: Evidence) -> tuple[list[Finding], str]:
    found = [_gain(e) for e in evidence.experiments if e.id == AUGMENTATION and e.pairs]
    return found, f"no results of an experiment {AUGMENTATION!r} were given"


def _gain(experiment: Experiment) -> Finding:
    gains = np.array([pair.with_it - pair.without for pair in experiment.pairs])
    measure = f"gain of {experiment.measure}"
    if len(gains) < FEWEST_SEEDS:
        note = f"{len(gains)} seeds, fewer than {FEWEST_SEEDS}"
        return Finding(experiment.where, measure, UNDECIDED, float(gains.mean()), note=note)
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    low, high = float(gains.mean() - half), float(gains.mean() + half)
    reached = np.mean([[pair.without, pair.with_it] for pair in experiment.pairs], axis=0)
    return Finding(
        experiment.where, measure, by_interval(low, high, 0.0), value=float(gains.mean()),
        value_low=low, value_high=high, n=len(gains),
        note=f"n counts seeds; from {reached[0]:.3f} to {reached[1]:.3f}",
    )  # fmt: skip


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
    found = [
        _cell_finding(trained, tested, columns)
        for matrix in _matrices(evidence)
        for trained, columns in matrix.items()
        for tested in columns
        if tested != trained
    ]
    return found, f"no results of an experiment {TRANSFER!r} on two sets or more were given"


def _cell_finding(trained: str, tested: str, columns: Mapping[str, Cell]) -> Finding:
    cell, own = columns[tested], columns.get(trained)
    return Finding(
        f"{trained} to {tested}", "AUC", by_interval(cell.auc_low, cell.auc_high, SEPARATES),
        value=cell.auc, value_low=cell.auc_low, value_high=cell.auc_high, n=cell.n,
        n_groups=cell.n_groups, note=f"{own.auc:.3f} on {trained} itself" if own else "",
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
