"""How a bundle turns the answers to the slices of a series into one, learned from patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tumorlens.json_records import JsonObject, to_json
from tumorlens.records import Estimate

FEATURES = ("top_mean", "maximum", "longest_run_mm")
EMBEDDING = "embedding_"  # a feature that is a coordinate of the projected mean embedding


@dataclass(frozen=True)
class SeriesRule:
    """A logistic regression on features of a series, calibrated on validation patients.

    A feature that a series does not know (mm without positions) counts as its mean. A probability
    between `low` and `high` does not decide.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]  # of training series, by feature
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]  # of (feature - mean) / scale
    intercept: float
    threshold: float
    low: float
    high: float
    planes: tuple[str, ...]  # of the training series; none where files name none
    modalities: tuple[str, ...]
    sensitivity: Estimate  # on the validation patients that the threshold was chosen on
    specificity: Estimate
    n_patients: int  # of validation
    projection: tuple[tuple[float, ...], ...] = ()  # rows of [k, D], of the unit mean embedding

    @property
    def uses_embedding(self) -> bool:
        """Whether the embeddings of the slices are needed."""
        return bool(self.projection)

    def probability(self, values: Mapping[str, float | None]) -> float:
        """Return the calibrated probability of a tumor in a series with these features."""
        total = self.intercept
        rows = zip(self.features, self.means, self.scales, self.coefficients, strict=True)
        for name, mean, scale, coefficient in rows:
            value = values.get(name)
            total += 0.0 if value is None else coefficient * (value - mean) / scale
        return float(1 / (1 + np.exp(-np.clip(total, -700, 700))))

    def to_json(self) -> dict[str, object]:
        """Return it as `series_rule` of bundle.json holds it."""
        rates = {name: vars(getattr(self, name)) for name in ("sensitivity", "specificity")}
        return {**to_json({k: v for k, v in vars(self).items() if k not in rates}), **rates}


def load_series_rule(stored: JsonObject) -> SeriesRule:
    """Read what `to_json` gave; raises KeyError, TypeError or ValueError for what is no rule."""
    rates = {name: Estimate(**stored[name]) for name in ("sensitivity", "specificity")}
    names = ("features", "means", "scales", "coefficients", "planes", "modalities")
    listed = {name: tuple(stored[name]) for name in names}
    projection = tuple(tuple(row) for row in stored["projection"])
    rule = SeriesRule(**{**stored, **rates, **listed, "projection": projection})
    _check(rule)
    return rule


def _check(rule: SeriesRule) -> None:
    known = {*FEATURES, *(f"{EMBEDDING}{k}" for k in range(len(rule.projection)))}
    for fact, is_so in {
        "features are unknown or none": not rule.features or not {*rule.features} <= known,
        "a feature has no coefficient": len(
            {len(rule.features), len(rule.means), len(rule.scales), len(rule.coefficients)}
        )
        > 1,
        "a scale is not above 0": not all(scale > 0 for scale in rule.scales),
        "rows of the projection differ in length": len({len(r) for r in rule.projection}) > 1,
        "its limits are not in order from 0 to 1": not (
            0 <= rule.low <= rule.high <= 1 and 0 <= rule.threshold <= 1
        ),
    }.items():
        if is_so:
            raise ValueError(f"series_rule: {fact}")
