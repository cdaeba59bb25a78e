"""LabeledPredictions made up for tests of figures."""

import numpy as np

from tumorlens.labels import ATOMS
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions


def random_answers(seed: int, n: int = 80, *, threshold: float = 0.4) -> LabeledPredictions:
    """LabeledPredictions that know nothing, of labels of every kind."""
    rng = np.random.default_rng(seed)
    names = rng.choice([*ATOMS, "mri_tumor", "tumor", "healthy"], n)
    raised = np.exp(rng.normal(0, 1.5, (n, len(ATOMS))))
    return make_answers(names, raised / raised.sum(1, keepdims=True), threshold=threshold)


def able_answers(
    seed: int, n: int = 200, *, skill: float = 2.0, each: int = 1
) -> LabeledPredictions:
    """LabeledPredictions that know something, `each` cases of one group under one label."""
    rng = np.random.default_rng(seed)
    atoms = np.repeat(rng.integers(0, len(ATOMS), -(-n // each)), each)[:n]
    raised = np.exp(rng.normal(0, 1.0, (n, len(ATOMS))) + skill * np.eye(len(ATOMS))[atoms])
    groups = np.repeat(np.arange(-(-n // each)), each)[:n].astype(str)
    return make_answers(
        [ATOMS[i] for i in atoms], raised / raised.sum(1, keepdims=True), groups=groups
    )


def make_answers(
    names, probabilities, *, threshold=0.5, groups=None, decisions=None, temperature=1.0
) -> LabeledPredictions:
    names = tuple(str(name) for name in names)
    groups = np.arange(len(names)).astype(str) if groups is None else np.array(groups)
    return LabeledPredictions(
        names,
        groups,
        np.array(probabilities, float),
        tuple(decisions or ("tumor",) * len(names)),
        threshold,
        temperature,
    )


def scored(truth, scores, **more) -> LabeledPredictions:
    """MRI answers of given tumor probabilities."""
    table = np.zeros((len(scores), len(ATOMS)))
    table[:, ATOMS.index("mri_glioma")] = scores
    table[:, ATOMS.index("mri_healthy")] = 1 - np.array(scores, float)
    names = ["mri_glioma" if tumor else "mri_healthy" for tumor in truth]
    return make_answers(names, table, **more)


def one_atom(*atoms: str) -> np.ndarray:
    return np.eye(len(ATOMS))[[ATOMS.index(atom) for atom in atoms]]


def all_rows(answers: LabeledPredictions) -> np.ndarray:
    return np.ones(len(answers.labels), bool)
