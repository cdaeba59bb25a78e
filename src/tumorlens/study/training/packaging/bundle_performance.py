"""What validation shows of a bundle: figures at its threshold, and what each threshold does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.files import write_file, write_table
from tumorlens.models.performance import ValidationPerformance
from tumorlens.study.stats.calibration import reliability_bins
from tumorlens.study.stats.discrimination import THRESHOLD_GRID, detection_statistics
from tumorlens.study.stats.intervals import ENDS, RESAMPLES, estimate_of
from tumorlens.study.training.curves import draw_thresholds

FIGURES = ("sensitivity", "specificity", "accuracy", "f1")
TABLE_FILE, PLOT_FILE = "threshold.csv", "threshold.svg"
BINS = 10
MIN_IN_BIN = 10  # scans: below it a share says nothing


def measure_validation(
    names: Sequence[str],
    probabilities: NDArray[np.floating],
    *,
    groups: NDArray,
    threshold: float,
) -> dict[str, ValidationPerformance]:
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
) -> ValidationPerformance:
    n, n_tumor = len(truth), int(truth.sum())
    found = detection_statistics(truth, scores, thresholds=threshold, groups=groups)
    return ValidationPerformance(
        n=n,
        n_tumor=n_tumor,
        n_groups=len(np.unique(groups)),
        auc=estimate_of(found, "auc", n),
        sensitivity=estimate_of(found, "sensitivity", n_tumor),
        specificity=estimate_of(found, "specificity", n - n_tumor),
        bins=reliability_bins(scores, truth, count=BINS, min_in_bin=MIN_IN_BIN),
    )


@dataclass(frozen=True)
class Sweep:
    """The figures at T thresholds, of one set of cases."""

    thresholds: NDArray[np.float64]  # [T], rising
    chosen: int  # position of the threshold that is used
    figures: Mapping[str, NDArray[np.float64]]  # [T, 3]: value, low, high; NaN: cannot be told
    n_tumor: int
    n_healthy: int
    n_groups: int


def sweep_thresholds(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    *,
    groups: NDArray,
    chosen: float,
    resamples: int = RESAMPLES,
) -> Sweep:
    """Return sensitivity, specificity, accuracy and F1 by threshold, with intervals over groups.

    `scores` are tumor probabilities, [n]. Raises TrainingError where one is not a number, or
    where there are none.
    """
    if not len(scores) or not np.isfinite(scores).all():
        fix = "Train again with a lower learning rate."
        raise TrainingError("threshold sweep", "has no scores, or some that are no numbers", fix)
    thresholds = np.unique(np.append(THRESHOLD_GRID, chosen))
    found = detection_statistics(
        truth, scores, thresholds=thresholds, groups=groups, resamples=resamples
    )
    return Sweep(
        thresholds=thresholds,
        chosen=int(np.searchsorted(thresholds, chosen)),
        figures={
            name: np.stack([found[f"{name}{end}"] for end in ENDS], axis=1) for name in FIGURES
        },
        n_tumor=int(truth.sum()),
        n_healthy=int((~truth).sum()),
        n_groups=len(np.unique(groups)),
    )


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write threshold.csv and threshold.svg into a folder."""
    columns = ["threshold", "chosen", *(f"{name}{e}" for name in FIGURES for e in ENDS)]
    rows = []
    for i, threshold in enumerate(sweep.thresholds):
        values = np.concatenate([sweep.figures[name][i] for name in FIGURES])
        cells = [f"{value:.4f}" if np.isfinite(value) else "" for value in values]
        rows.append([f"{threshold:.6g}", "yes" if i == sweep.chosen else "", *cells])
    write_table(folder / TABLE_FILE, columns, rows)
    title = (
        f"Validation: {sweep.n_tumor} with a tumor, {sweep.n_healthy} without, "
        f"{sweep.n_groups} groups; bands 95 %"
    )
    plot = draw_thresholds(sweep.thresholds, sweep.figures, chosen=sweep.chosen, title=title)
    write_file(folder / PLOT_FILE, plot)
