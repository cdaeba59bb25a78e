"""How often the intervals of an evaluation hold the truth, on scans whose truth is known.

    python benchmarks/interval_coverage.py [DRAWS]

Scores of 60 groups of 3 scans, alike within a group; healthy and tumor scans are unit normals one
apart, so the AUC is the normal distribution at 1/sqrt(2). 95 % is promised.
"""

import sys

import numpy as np

from tumorlens.labels import ATOMS
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.intervals import wilson

TRUE = {"auc": 0.7602499389065233, "sensitivity": 0.8413447460685429}
GROUPS, EACH = 60, 3


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    held = {f"{name}{kind}": 0 for name, other in (("auc", "_delong"), ("sensitivity", "_wilson"))
            for kind in ("", other)}  # fmt: skip
    for seed in range(draws):
        found = detection_figures(drawn(seed), np.ones(GROUPS * EACH, bool))
        for key in held:
            held[key] += found[f"{key}_low"] <= TRUE[key.split("_")[0]] <= found[f"{key}_high"]
    for key, times in held.items():
        name, _, formula = key.partition("_")
        low, high = wilson(times, draws)
        kind = f"{formula}, scans taken as independent" if formula else "bootstrap over groups"
        print(f"{name}, {kind}: {times / draws:.3f} ({low:.3f}-{high:.3f}, n={draws})")


def drawn(seed: int) -> LabeledPredictions:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(GROUPS) % 2 == 0, EACH)
    shared = np.repeat(rng.normal(0, 0.8, GROUPS), EACH)
    ability = shared + rng.normal(0, 0.6, GROUPS * EACH)
    scores = 1 / (1 + np.exp(-(ability + truth)))
    table = np.zeros((len(truth), len(ATOMS)))
    table[:, ATOMS.index("mri_glioma")] = scores
    table[:, ATOMS.index("mri_healthy")] = 1 - scores
    names = tuple("mri_glioma" if tumor else "mri_healthy" for tumor in truth)
    groups = np.repeat(np.arange(GROUPS), EACH).astype(str)
    return LabeledPredictions(names, groups, table, ("",) * len(names), threshold=0.5)


if __name__ == "__main__":
    main()
