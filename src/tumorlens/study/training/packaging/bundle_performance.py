"""What validation shows of a bundle that has its temperature and threshold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.models.performance import Measured
from tumorlens.study.stats.calibration import reliability_bins
from tumorlens.study.stats.discrimination import detection_statistics
from tumorlens.study.stats.intervals import estimate_of

BINS = 10
MIN_IN_BIN = 10  # scans: below it a share says nothing


def measure_validation(
    names: Sequence[str],
    probabilities: NDArray[np.floating],
    *,
    groups: NDArray,
    threshold: float,
) -> dict[str, Measured]:
    """Measure calibrated probabilities, [n, atoms], by `all`, `ct` and `mri`.

    `names` are labels, [n]; intervals are of a bootstrap over `groups`, [n].
    """
    truth = np.array([labels.is_tumor(name) for name in names], bool)
    scores = np.asarray(labels.tumor_probability(probabilities), np.float64)
    modalities = labels.modalities_of(names, probabilities)
    return {
        name: _measure(truth[rows], scores[rows], threshold=threshold, groups=groups[rows])
        for name, rows in labels.modality_rows(modalities).items()
    }


def _measure(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], *, threshold: float, groups: NDArray
) -> Measured:
    n, n_tumor = len(truth), int(truth.sum())
    found = detection_statistics(truth, scores, thresholds=threshold, groups=groups)
    return Measured(
        n=n,
        n_tumor=n_tumor,
        n_groups=len(np.unique(groups)),
        auc=estimate_of(found, "auc", n),
        sensitivity=estimate_of(found, "sensitivity", n_tumor),
        specificity=estimate_of(found, "specificity", n - n_tumor),
        bins=reliability_bins(scores, truth, count=BINS, min_in_bin=MIN_IN_BIN),
    )
