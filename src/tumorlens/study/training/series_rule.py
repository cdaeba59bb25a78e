"""`train-series`: from the answers to slices to one for a series, learned from whole patients.

A logistic regression on a few numbers, because there are few patients. The mean embedding is
tried as principal components, and dropped unless it does clearly better on validation patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from tumorlens.errors import TrainingError
from tumorlens.files import write_table
from tumorlens.models.bundle import CARD, GRAPH, Bundle, load_bundle, write_bundle
from tumorlens.models.series_rule import EMBEDDING, FEATURES, SeriesRule
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import (
    SERIES_TABLE,
    mean_embedding,
    series_columns,
    series_features,
)
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Estimate
from tumorlens.reports.evaluation import share_by_source
from tumorlens.settings import Settings
from tumorlens.study.data.case_series import (
    AnsweredSeries,
    CaseSeries,
    answer_cases,
    count_sources,
    find_series,
)
from tumorlens.study.stats.calibration import log_odds
from tumorlens.study.stats.discrimination import detection_statistics
from tumorlens.study.stats.intervals import estimate_of, wilson
from tumorlens.study.training.packaging.operating_point import choose_band, choose_threshold

MIN_PATIENTS = 5  # of each class, in training and in validation
PER_COMPONENT = 10  # training patients for each component of the embedding
MAX_COMPONENTS = 8
SENSITIVITY, BAND_ERROR = 0.95, 0.05
COLUMNS = ("series", "patient", "part", "tumor", "slices", "top_mean")
_ADDED = "\n## Answers for series\n\n"
Part = Sequence[AnsweredSeries]


@dataclass(frozen=True)
class TrainedRule:
    """A rule, the bundle that holds it, and how it did on patients it never saw."""

    bundle: Bundle
    rule: SeriesRule
    loss: Mapping[str, float]  # on validation: of the plain features, and with the embedding
    counts: Mapping[str, tuple[int, int]]  # by part: series with and without a tumor
    auc: Estimate | None  # on test; None without a test part of both classes
    sensitivity: Estimate | None
    specificity: Estimate | None
    source_alone: float  # share of series whose label their source alone tells
    n_series: int  # of which it is the share
    auc_uncalibrated: Estimate | None  # of the score without a rule, on the same series


def train_series(
    cases: Sequence[Case],
    source: Bundle,
    out: Path,
    *,
    settings: Settings = Settings(),
    progress: Progress = silent,
) -> TrainedRule:
    """Fit a rule on cases with parts; write OUT/bundle with it and OUT/series.csv.

    Raises TrainingError where patients are too few, or in several parts.
    """
    found = find_series(cases)
    _check_parts(cases, found)
    for name, word in (("train", "training"), ("val", "validation")):
        _check_patients(word, [one for one in found if cases[one.rows[0]].split == name])
    predictor = Predictor(source, settings, embeddings=True)
    plain = replace(source, series_rule=None)
    predictions = predictor.predict([case.path for case in cases], progress=progress)
    answered = answer_cases(found, predictions, plain)
    parts = {name: [one for one in answered if cases[one.series.rows[0]].split == name]
             for name in ("train", "val", "test")}  # fmt: skip
    rule, loss = fit_rule(parts["train"], parts["val"])
    bundle = _write_bundle(replace(plain, series_rule=rule), source, out / "bundle")
    ruled = {name: answer_cases([one.series for one in part], predictions, bundle)
             for name, part in parts.items()}  # fmt: skip
    _write_table(ruled, out / SERIES_TABLE)
    counts = {
        name: (int(_truth(part).sum()), int((~_truth(part)).sum())) for name, part in ruled.items()
    }
    return TrainedRule(
        bundle, rule, loss, counts, **_figures(ruled["test"], rule),
        source_alone=share_by_source(count_sources(cases, found)), n_series=len(found),
    )  # fmt: skip


def _check_parts(cases: Sequence[Case], found: Sequence[CaseSeries]) -> None:
    if not found:
        fix = "Give a cases.csv with the column patient, and at least 5 slices of a patient."
        raise TrainingError("series", "none is there: no patient has slices enough", fix)
    parts: dict[str, set[str | None]] = {}
    for series in found:
        parts.setdefault(series.patient, set()).update(cases[row].split for row in series.rows)
    torn = [patient for patient, names in parts.items() if len(names) > 1]
    if torn:
        fact = f"puts slices of {len(torn)} patients into several parts, first {torn[0]}"
        raise TrainingError("the split", fact, "Split by patients: `tumorlens split`.")


def fit_rule(training: Part, validation: Part) -> tuple[SeriesRule, dict[str, float]]:
    """Fit on training, choose and calibrate on validation; also returns the losses there.

    Raises TrainingError where a part has too few patients of a class.
    """
    for name, part in (("training", training), ("validation", validation)):
        _check_patients(name, [one.series for one in part])
    candidates = {"plain": _fit(training, ()), "with embedding": _fit(training, _project(training))}
    losses = {name: _losses(rule, validation) for name, rule in candidates.items()}
    gain = losses["plain"] - losses["with embedding"]
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    rule = candidates["with embedding" if gain.mean() > error else "plain"]
    return _calibrated(rule, validation), {name: float(row.mean()) for name, row in losses.items()}


def _check_patients(name: str, part: Sequence[CaseSeries]) -> None:
    for has_tumor, word in ((True, "with"), (False, "without")):
        patients = {one.patient for one in part if one.is_tumor == has_tumor}
        if len(patients) < MIN_PATIENTS:
            fact = f"has series of {len(patients)} patients {word} a tumor"
            raise TrainingError(name, fact, f"Give {MIN_PATIENTS} at least, of either kind.")


def _truth(part: Part) -> NDArray[np.bool_]:
    return np.array([one.series.is_tumor for one in part], bool)


def _patients(part: Part) -> NDArray[np.str_]:
    return np.array([one.series.patient for one in part], str)


def _weights(part: Part) -> NDArray[np.float64]:
    """Weigh each patient alike, however many series, [n]."""
    _, at, counts = np.unique(_patients(part), return_inverse=True, return_counts=True)
    return 1.0 / counts[at]


def _project(training: Part) -> tuple[tuple[float, ...], ...]:
    """Return the principal components of the mean embeddings, [k, D]."""
    means = [mean_embedding(one.predictions) for one in training]
    table = np.array([mean for mean in means if mean is not None])
    count = min(MAX_COMPONENTS, len(np.unique(_patients(training))) // PER_COMPONENT, len(table))
    if count < 1:
        return ()
    components = PCA(count, random_state=0).fit(table).components_
    return tuple(tuple(map(float, row)) for row in components)


def _fit(training: Part, projection: tuple[tuple[float, ...], ...]) -> SeriesRule:
    """Fit a logistic regression on standardized features; what no series knows is left out."""
    nothing = Estimate(None, None, None, 0)
    names = (*FEATURES, *(f"{EMBEDDING}{k}" for k in range(len(projection))))
    draft = SeriesRule(
        names, (), (), (), 0.0, 0.5, 0.5, 0.5,
        planes=tuple(sorted({one.answer.plane for one in training if one.answer.plane})),
        modalities=tuple(sorted({str(one.answer.modality) for one in training})),
        sensitivity=nothing, specificity=nothing, n_patients=0, projection=projection,
    )  # fmt: skip
    rows = [series_features(one.answer, one.predictions, draft) for one in training]
    table = np.array([[_number(row.get(name)) for name in names] for row in rows])
    used = [
        k for k, column in enumerate(table.T) if len(np.unique(column[np.isfinite(column)])) > 1
    ]
    table = table[:, used]
    means, scales = np.nanmean(table, 0), np.nanstd(table, 0)
    standard = np.nan_to_num((table - means) / scales)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(standard, _truth(training), sample_weight=_weights(training))
    return replace(
        draft,
        features=tuple(names[k] for k in used),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _probabilities(rule: SeriesRule, part: Part) -> NDArray[np.float64]:
    return np.array(
        [rule.probability(series_features(one.answer, one.predictions, rule)) for one in part]
    )


def _losses(rule: SeriesRule, part: Part) -> NDArray[np.float64]:
    """Return the log loss of each patient, the mean over its series."""
    found = np.clip(_probabilities(rule, part), 1e-12, 1 - 1e-12)
    losses = -np.log(np.where(_truth(part), found, 1 - found))
    at = np.unique(_patients(part), return_inverse=True)[1]
    return np.bincount(at, losses) / np.bincount(at)


def _calibrated(rule: SeriesRule, validation: Part) -> SeriesRule:
    """Scale the log odds on validation (Platt, 1999), and choose threshold and limits there."""
    truth, odds = _truth(validation), log_odds(_probabilities(rule, validation))
    model = LogisticRegression(C=1.0)
    model.fit(odds[:, None], truth, sample_weight=_weights(validation))
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope > 0:  # else validation says the opposite of training: left as it is
        rule = replace(
            rule,
            coefficients=tuple(slope * value for value in rule.coefficients),
            intercept=slope * rule.intercept + offset,
        )
    scores = _probabilities(rule, validation)
    chosen = choose_threshold(scores, truth, sensitivity=SENSITIVITY)
    band = choose_band(scores, truth, threshold=chosen.threshold, error=BAND_ERROR)
    flagged, patients = scores >= chosen.threshold, _patients(validation)
    return replace(
        rule,
        threshold=chosen.threshold,
        low=band.low,
        high=band.high,
        sensitivity=_share(flagged[truth], patients[truth]),
        specificity=_share(~flagged[~truth], patients[~truth]),
        n_patients=len(np.unique(patients)),
    )


def _share(hits: NDArray[np.bool_], patients: NDArray[np.str_]) -> Estimate:
    """Return a share of series with Wilson's interval of as many cases as there are patients."""
    value, independent = float(hits.mean()), len(np.unique(patients))
    low, high = wilson(value * independent, independent)
    return Estimate(value, low, high, len(hits))


def _figures(test: Part, rule: SeriesRule) -> dict[str, Estimate | None]:
    """Measure on test patients, with intervals over patients."""
    names = ("auc", "sensitivity", "specificity", "auc_uncalibrated")
    truth, patients = _truth(test), _patients(test)
    if not len(test) or truth.all() or not truth.any():
        return dict.fromkeys(names)
    found = detection_statistics(
        truth, _probabilities(rule, test), thresholds=rule.threshold, groups=patients
    )
    plain = np.array([one.answer.score for one in test], float)
    other = detection_statistics(truth, plain, thresholds=0.5, groups=patients)
    return {
        "auc": estimate_of(found, "auc", len(test)),
        "sensitivity": estimate_of(found, "sensitivity", int(truth.sum())),
        "specificity": estimate_of(found, "specificity", int((~truth).sum())),
        "auc_uncalibrated": estimate_of(other, "auc", len(test)),
    }


def _write_bundle(bundle: Bundle, source: Bundle, folder: Path) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH).write_bytes(source.graph.read_bytes())
    card = source.folder / CARD
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {bundle.name}\n"
    write_bundle(
        replace(bundle, folder=folder), text.split(_ADDED)[0].rstrip("\n") + "\n" + _card(bundle)
    )
    return load_bundle(folder)


def _card(bundle: Bundle) -> str:
    rule = bundle.series_rule
    assert rule is not None
    return (
        f"{_ADDED}A logistic regression on {', '.join(rule.features)}, calibrated on "
        f"{rule.n_patients} validation patients. At {rule.threshold:.3f} there: sensitivity "
        f"{rule.sensitivity}, specificity {rule.specificity} of series; the threshold was chosen "
        "on them, so elsewhere expect less. Where tumors and healthy heads came from different "
        "sources, it may tell sources apart.\n"
    )


def _write_table(parts: Mapping[str, Part], out: Path) -> None:
    rows = [
        {
            **series_columns(one.answer),
            "series": one.series.name,
            "patient": one.series.patient,
            "part": name,
            "tumor": "yes" if one.series.is_tumor else "no",
            "slices": len(one.series.rows),
            "top_mean": one.answer.score,
        }
        for name, part in parts.items()
        for one in part
    ]
    write_table(out, (*COLUMNS, *(name for name in rows[0] if name not in COLUMNS)), rows)
