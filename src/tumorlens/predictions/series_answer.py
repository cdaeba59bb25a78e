"""One answer for a series: its slices, smoothed along the normal, say one yes or no together.

A threshold of slices cannot answer for a series: at 2 % false alarms a slice, 45 % of healthy
series of 30 have one. Until `tumorlens train-series` has fitted a rule, the answer compares the
mean of the strongest slices with the threshold of slices, and is said to be uncalibrated.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.images.listing import Listing, series_rows
from tumorlens.images.series import COLUMNS as HEADER_COLUMNS
from tumorlens.images.series import MIN_SLICES, Series
from tumorlens.labels import TYPES
from tumorlens.models.bundle import Bundle
from tumorlens.models.series_rule import EMBEDDING, SeriesRule
from tumorlens.predictions.predictor import MIN_TYPE_PROBABILITY
from tumorlens.predictions.series_rows import SeriesCollector
from tumorlens.records import Decision, Modality, Plane, Prediction, TumorType, TypeAnswer

SMOOTHING_MM = 5.0  # a slice so far away weighs half; without positions, the next one does
TOP_SHARE, MIN_TOP = 0.1, 3  # slices whose mean is the score
MAX_OUT_OF_SCOPE = 0.5  # share of slices, above which a series is out of scope
MIN_SAME_MODALITY = 0.8  # share of slices
COLUMNS = ("decision", "score", "probability", "threshold", "calibrated", "maximum", "peak_slice",
           "longest_run_mm", "longest_run_slices", "type", "out_of_scope", "judged", "reasons",
           "bundle")  # fmt: skip
SERIES_TABLE = "series.csv"  # beside the table of predictions
TABLE_COLUMNS = (*HEADER_COLUMNS, *COLUMNS)
FIRST_TABLE_COLUMNS = ("series", "path", "used", "reason")  # ever


@dataclass(frozen=True)
class SeriesPrediction:
    """The one answer for a series, made of its slices."""

    series: str
    modality: Modality | str  # of most slices; "" where none was judged
    plane: Plane | None
    slices: int
    judged: int  # slices with a probability: readable and in scope
    out_of_scope: float  # share of the readable slices
    curve: tuple[float | None, ...]  # smoothed tumor probability by slice; None: none of its own
    longest_run_slices: int  # neighbors at or above the threshold of slices
    longest_run_mm: float | None  # None: positions are not known
    threshold: float  # of the probability, or else of the score
    bundle: str
    score: float | None = None  # mean of the strongest slices of the curve
    maximum: float | None = None
    peak_slice: int | None = None  # from 1
    type: TypeAnswer = ""
    probability: float | None = None  # calibrated; None where the bundle has no rule for series
    decision: Decision = "uncertain"
    reasons: tuple[str, ...] = ()  # why it is not decided

    @property
    def value(self) -> float | None:
        """What the threshold is compared with: the calibrated probability, or else the score."""
        return self.score if self.probability is None else self.probability

    @property
    def is_calibrated(self) -> bool:
        """Whether the answer comes from a rule that was fitted to patients."""
        return self.probability is not None

    def to_document(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return {**asdict(self), "is_calibrated": self.is_calibrated}


def answer_series(
    predictions: Sequence[Prediction],
    *,
    positions: Sequence[float | None],
    bundle: Bundle,
    name: str = "",
    plane: Plane | None = None,
    modality: Modality | None = None,
) -> SeriesPrediction:
    """Answer for slices in order along their normal; `positions` are in mm, or None.

    `plane` and `modality` are those of the headers, where these say so.
    """
    own = np.array([_own_probability(p) for p in predictions], float)
    at_mm = None if any(at is None for at in positions) else np.array(positions, float)
    curve = smooth(own, at_mm)
    judged = [p for p in predictions if np.isfinite(_own_probability(p))]
    readable = sum(p.tumor_probability is not None for p in predictions)
    run, run_mm = longest_run(curve >= bundle.threshold, at_mm)
    answer = SeriesPrediction(
        series=name,
        modality=_most(p.modality for p in judged),
        plane=plane,
        slices=len(predictions),
        judged=len(judged),
        out_of_scope=1 - len(judged) / readable if readable else 0.0,
        curve=tuple(None if np.isnan(value) else float(value) for value in curve),
        longest_run_slices=run,
        longest_run_mm=run_mm,
        threshold=bundle.threshold,
        bundle=bundle.version,
        **_strongest(curve),
    )
    return _decided(answer, predictions, curve, bundle, modality)


def _strongest(curve: NDArray[np.float64]) -> dict[str, Any]:
    """Return score, maximum and peak of a curve; nothing where it has no value."""
    known = np.sort(curve[np.isfinite(curve)])
    if not len(known):
        return {}
    return {
        "score": float(known[-top_count(len(known)) :].mean()),
        "maximum": float(known[-1]),
        "peak_slice": int(np.nanargmax(curve)) + 1,
    }


def _decided(
    answer: SeriesPrediction,
    predictions: Sequence[Prediction],
    curve: NDArray[np.float64],
    bundle: Bundle,
    modality: Modality | None,
) -> SeriesPrediction:
    """Add probability, decision and type."""
    rule, threshold = bundle.series_rule, bundle.threshold
    low, high = bundle.uncertainty_band.low, bundle.uncertainty_band.high
    if rule is not None and answer.judged:
        features = series_features(answer, predictions, rule)
        answer = replace(answer, probability=rule.probability(features))
        threshold, low, high = rule.threshold, rule.low, rule.high
    reasons = _reasons(answer, predictions, modality, rule)
    value = answer.value
    decision: Decision = "uncertain"
    if answer.out_of_scope > MAX_OUT_OF_SCOPE:
        decision = "out of scope"
    elif not reasons and value is not None and not low < value < high:
        decision = "tumor" if value >= threshold else "no tumor"
    return replace(
        answer,
        threshold=threshold,
        decision=decision,
        reasons=reasons,
        type=_type(predictions, curve) if decision in ("tumor", "uncertain") else "",
    )


def _own_probability(prediction: Prediction) -> float:
    """Return the tumor probability of a slice, NaN of one without, or out of scope."""
    if prediction.tumor_probability is None or prediction.decision == "out of scope":
        return np.nan
    return prediction.tumor_probability


def smooth(
    probabilities: NDArray[np.float64], positions: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Average each slice with its neighbors, [n]; a slice without a probability has none after.

    Weights fall as a bell over mm: half at SMOOTHING_MM, or at the next slice without positions.
    """
    known = np.isfinite(probabilities)
    at = np.arange(len(probabilities)) * SMOOTHING_MM if positions is None else positions
    weights = 0.5 ** (((at[:, None] - at[None, :]) / SMOOTHING_MM) ** 2) * known
    total = weights.sum(1)
    found = weights @ np.where(known, probabilities, 0.0) / np.where(total > 0, total, 1)
    return np.where(known, found, np.nan)


def top_count(judged: int) -> int:
    """Return how many of the slices the score is the mean of.

    >>> top_count(20), top_count(100), top_count(2)
    (3, 10, 2)
    """
    return min(judged, max(MIN_TOP, round(TOP_SHARE * judged)))


def longest_run(
    flagged: NDArray[np.bool_], positions: NDArray[np.float64] | None
) -> tuple[int, float | None]:
    """Return slices and mm of the longest run of neighbors that are flagged.

    A slice stands for the distance between slices, so one alone is not of 0 mm.

    >>> longest_run(np.array([0, 1, 1, 0, 1], bool), np.array([0.0, 5, 10, 15, 20]))
    (2, 10.0)
    """
    numbers = np.arange(len(flagged))
    runs = [list(run) for is_on, run in groupby(numbers, lambda k: bool(flagged[k])) if is_on]
    step = 0.0 if positions is None or len(positions) < 2 else float(np.median(np.diff(positions)))
    if not runs:
        return 0, None if positions is None else 0.0
    longest = max(len(run) for run in runs)
    if positions is None:
        return longest, None
    return longest, max(float(positions[run[-1]] - positions[run[0]]) + step for run in runs)


def series_features(
    answer: SeriesPrediction, predictions: Sequence[Prediction], rule: SeriesRule | None = None
) -> dict[str, float | None]:
    """Return what a rule weighs, by name; coordinates of the embedding where a rule uses them."""
    found: dict[str, float | None] = {
        "top_mean": answer.score,
        "maximum": answer.maximum,
        "longest_run_mm": answer.longest_run_mm,
    }
    if rule is not None and rule.uses_embedding:
        mean = mean_embedding(predictions)
        if mean is not None:
            projected = np.array(rule.projection) @ mean
            found |= {f"{EMBEDDING}{k}": float(value) for k, value in enumerate(projected)}
    return found


def mean_embedding(predictions: Sequence[Prediction]) -> NDArray[np.float64] | None:
    """Return the mean of the unit embeddings of the judged slices, [D]; None without them."""
    judged = (p for p in predictions if np.isfinite(_own_probability(p)))
    rows = [p.embedding for p in judged if p.embedding is not None]
    if not rows:
        return None
    table = np.array(rows, float)
    return (table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)).mean(0)


def _reasons(
    answer: SeriesPrediction,
    predictions: Sequence[Prediction],
    modality: Modality | None,
    rule: SeriesRule | None,
) -> tuple[str, ...]:
    """Return what keeps an answer open, in words."""
    judged = [p for p in predictions if np.isfinite(_own_probability(p))]
    share = f"{answer.out_of_scope:.0%} of the slices are out of scope"
    planes = rule.planes if rule else ()
    facts = {
        share: answer.out_of_scope > MAX_OUT_OF_SCOPE,
        f"{answer.judged} slices could be judged, fewer than {MIN_SLICES}":
            answer.judged < MIN_SLICES,
        "its plane is oblique": answer.plane == "oblique",
        f"its plane is {answer.plane}; the rule was learned on {', '.join(planes)}":
            bool(planes) and answer.plane not in (None, "oblique", *planes),
        **_doubts_on_modality(judged, modality),
        f"the rule for series was learned without {answer.modality}":
            rule is not None and bool(answer.modality) and answer.modality not in rule.modalities,
    }  # fmt: skip
    return tuple(fact for fact, is_so in facts.items() if is_so)


def _doubts_on_modality(judged: Sequence[Prediction], header: Modality | None) -> dict[str, bool]:
    """Say how many slices look like another modality than the file says, or most do."""
    if not judged:
        return {}
    is_stated = header is not None or any(p.modality != p.seen_modality for p in judged)
    modality = header or _most(p.modality for p in judged)
    others = sum(p.seen_modality != modality for p in judged)
    fact = "its slices look partly like CT and partly like MRI"
    if is_stated:
        fact = f"its header says {modality}, {others} of {len(judged)} slices look otherwise"
    return {fact: others > (1 - MIN_SAME_MODALITY) * len(judged)}


def _type(predictions: Sequence[Prediction], curve: NDArray[np.float64]) -> TypeAnswer:
    """Name the type that the strongest slices see best."""
    order = [int(k) for k in np.argsort(-curve) if np.isfinite(curve[k])]
    top = [predictions[k].type_probabilities for k in order[: top_count(len(order))]]
    top = [types for types in top if types]
    if not top:
        return "undetermined"
    means: dict[TumorType, float] = {
        name: float(np.mean([types.get(name, 0.0) for types in top])) for name in TYPES
    }
    best = max(means, key=lambda name: means[name])
    return best if means[best] >= MIN_TYPE_PROBABILITY else "undetermined"


def _most(names: Iterable[str]) -> str:
    counts = Counter(names)
    return counts.most_common(1)[0][0] if counts else ""


def answer_of(
    series: Series, predictions: Sequence[Prediction], bundle: Bundle
) -> SeriesPrediction:
    """Answer for a series from the predictions of its slices, matched by file and frame."""
    answers = {(p.path, p.frame): p for p in predictions}
    return answer_series(
        [
            answers.get((h.path, h.frame), Prediction(h.path, frame=h.frame, error="not read"))
            for h in series.slices
        ],
        positions=[header.position for header in series.slices],
        bundle=bundle,
        name=series.name,
        plane=series.plane,
        modality=series.modality,
    )


class SeriesAnswers:
    """Answers for each series whose slices have all passed."""

    def __init__(self, series: Sequence[Series], bundle: Bundle, *, all_series: bool) -> None:
        wanted = [s for s in series if s.has_usable_slices or all_series]
        self._collector = SeriesCollector(wanted, self._answer, keep=_without_heatmap)
        self._bundle = bundle
        self.found: dict[str, SeriesPrediction] = {}

    def listen(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass predictions on and keep what is needed of them; heatmaps are not."""
        return self._collector.listen(predictions)

    def _answer(self, series: Series, predictions: Sequence[Prediction]) -> None:
        if len(predictions) == len(series.slices):
            self.found[series.name] = answer_of(series, predictions, self._bundle)


def _without_heatmap(prediction: Prediction) -> Prediction:
    return replace(prediction, heatmap=None)


def series_table(
    listing: Listing,
    answers: Mapping[str, SeriesPrediction],
    *,
    name_of: Callable[[str], str] = lambda name: name,
) -> list[dict[str, object]]:
    """Return the rows of series.csv: what headers say of each series, and its answer by name.

    `name_of` returns the name under which a file or series was given.
    """
    named = tuple(
        replace(series, name=name_of(series.name),
                slices=tuple(replace(h, path=name_of(h.path)) for h in series.slices))
        for series in listing.series
    )  # fmt: skip
    rows = series_rows(replace(listing, series=named))
    for row, series in zip(rows, listing.series, strict=False):
        answer = answers.get(series.name)
        if answer:
            row.update(series_columns(answer))
    for row in rows[len(named) :]:
        row["path"] = name_of(str(row["path"]))
    return rows


def series_columns(answer: SeriesPrediction) -> dict[str, object]:
    """Return what series.csv says of an answer; what is not known is empty."""

    def number(value: float | None, digits: int = 6) -> object:
        return "" if value is None else round(value, digits)

    return {
        "decision": answer.decision,
        "score": number(answer.score),
        "probability": number(answer.probability),
        "threshold": number(answer.threshold),
        "calibrated": "yes" if answer.is_calibrated else "no",
        "maximum": number(answer.maximum),
        "peak_slice": "" if answer.peak_slice is None else answer.peak_slice,
        "longest_run_mm": number(answer.longest_run_mm, 2),
        "longest_run_slices": answer.longest_run_slices,
        "type": answer.type,
        "out_of_scope": number(answer.out_of_scope, 4),
        "judged": answer.judged,
        "reasons": "; ".join(answer.reasons),
        "bundle": answer.bundle,
    }


def describe_value(answer: SeriesPrediction) -> str:
    """Put the probability or the score, and its threshold, into words; "" without a score."""
    if answer.value is None:
        return ""
    kind = "probability" if answer.is_calibrated else "score"
    note = "" if answer.is_calibrated else ", uncalibrated"
    return f"{kind} {answer.value:.3f}{note} (threshold {answer.threshold:.3f})"


def describe_series(answer: SeriesPrediction) -> str:
    """Put an answer on one line."""
    if answer.decision == "out of scope" or answer.score is None:
        return f"{answer.decision}: {'; '.join(answer.reasons)}"
    kind = f" ({answer.type})" if answer.type else ""
    extent = (
        f"{answer.longest_run_slices} slices"
        if answer.longest_run_mm is None
        else f"{answer.longest_run_mm:.0f} mm"
    )
    against = f"; {'; '.join(answer.reasons)}" if answer.reasons else ""
    return (
        f"{answer.decision}{kind}, {describe_value(answer)}, strongest at slice "
        f"{answer.peak_slice} of {answer.slices}, longest run {extent}{against}"
    )
