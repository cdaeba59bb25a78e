"""What networks answer for scans they did not learn from: one table, one way to sum it up."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.files import read_table, write_table
from tumorlens.json_records import to_json
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Estimate, Prediction
from tumorlens.settings import load_settings
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import SILENT, Listeners
from tumorlens.study.recipes import Recipe
from tumorlens.study.stats.discrimination import areas, rates
from tumorlens.study.stats.intervals import (
    RESAMPLES,
    Statistics,
    Weights,
    bootstrap,
    estimate_of,
    not_collapsed,
    share,
)

SCORES_FILE = "scores.csv"
COLUMNS = ("network", "trained_on", "repeat", "fold", "case", "label", "group",
           "tumor_probability", "threshold", *labels.ATOMS)  # fmt: skip
DETECTION = ("auc", "sensitivity", "specificity", "accuracy", "f1")
HeldOut = Sequence[tuple[Case, Prediction]]
Json = dict[str, Any]  # as a file holds it
Measure = Callable[[Sequence["Score"]], Statistics]


@dataclass(frozen=True)
class Score:
    """What one network answered for one scan that it did not learn from."""

    case: str  # "<dataset>/<path inside it>"
    label: str
    group: str
    tumor_probability: float  # calibrated; NaN where the scan could not be read
    threshold: float  # of the network
    repeat: int = 1
    fold: int = 1
    network: str = ""  # which one, where a fold has several
    trained_on: str = ""  # a data set, where others are asked too
    modality: str = ""  # that the network sees
    type: str = ""  # the likeliest, given a tumor; empty where it names none
    atoms: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_tumor(self) -> bool:
        """Whether its label is a tumor."""
        return labels.is_tumor(self.label)

    @property
    def dataset(self) -> str:
        """The data set it is from."""
        return self.case.partition("/")[0]


def train_network(
    cases: Sequence[Case],
    split: Split,
    *,
    recipe: Recipe,
    out: Path,
    cache: Path,
    name: str = "",
    weights: str = "",
    start: Path | None = None,
    steps: int = 0,
    listeners: Listeners = SILENT,
) -> Bundle:
    """Train on the cases whose `split` says train or val, or go on in `out`."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    import keras

    from tumorlens.study.training.run import Job as TrainingJob
    from tumorlens.study.training.run import train

    keras.backend.clear_session()
    job = TrainingJob(
        recipe, split, out, cache, name or out.name, weights=weights, start=start, steps=steps
    )
    return train(cases, job, callback=listeners.callback, progress=listeners.preparing,
                 extracting=listeners.extracting, resume=True)  # fmt: skip


def predict_cases(bundle: Bundle, cases: Sequence[Case]) -> list[tuple[Case, Prediction]]:
    """Ask a network for cases."""
    predictor = Predictor(bundle, load_settings())
    return list(zip(cases, predictor.predict([case.path for case in cases]), strict=True))


def scores_of(predicted: HeldOut, **place: Any) -> list[Score]:
    """Return scores of the cases that could be read; `place` is what else a Score tells."""
    return [
        Score(
            case.key, case.label, case.group_name, float(found.tumor_probability or 0),
            float(found.threshold or 0), modality=found.modality,
            type=_likeliest(found.atoms, "mri_"), atoms=found.atoms, **place,
        )
        for case, found in predicted if not found.error
    ]  # fmt: skip


def write_scores(scores: Iterable[Score], path: Path) -> None:
    """Write the table that `read_scores` reads; a class that is no atom gets its own column."""
    scores = list(scores)
    own = sorted({name for score in scores for name in score.atoms} - set(labels.ATOMS))
    rows = (
        {
            **asdict(score),
            "tumor_probability": f"{score.tumor_probability:.9g}",
            "threshold": f"{score.threshold:.9g}",
            **{name: f"{value:.6g}" for name, value in score.atoms.items()},
        }
        for score in scores
    )
    write_table(path, (*COLUMNS, *own), rows)


def read_scores(path: Path) -> list[Score]:
    """Read scores, also from predictions.csv of a cross-validation and from older tables."""
    return [_score(_of_last_version(row) if "score" in row else row) for row in read_table(path)]


def _score(row: Mapping[str, str]) -> Score:
    atoms = {name: float(row[name]) for name in labels.LABELS if row.get(name)}
    given = {name: float(row[f"p_{name}"]) for name in labels.TYPES if row.get(f"p_{name}")}
    return Score(
        case=row["case"],
        label=row["label"],
        group=row["group"],
        tumor_probability=float(row["tumor_probability"] or np.nan),
        threshold=float(row["threshold"] or np.nan),
        repeat=int(row["repeat"]),
        fold=int(row["fold"]),
        network=row.get("network", ""),
        trained_on=row.get("trained_on", ""),
        modality=row.get("modality", ""),
        type=_likeliest(given, "") or _likeliest(atoms, "mri_"),
        atoms=atoms,
    )


def _likeliest(given: Mapping[str, float], prefix: str) -> str:
    known = [name for name in labels.TYPES if prefix + name in given]
    return max(known, key=lambda name: given[prefix + name], default="")


def _of_last_version(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row of the first scores.csv, which named sets instead of labels."""
    finding = "tumor" if row["is_tumor"] == "1" else "healthy"
    modality = row["tested_on"].rpartition(" ")[2].lower()
    is_known = modality in labels.MODALITIES
    return {
        **row,
        "network": "augmented" if row["augmented"] == "1" else "plain",
        "trained_on": row["trained_on"].rpartition(" ")[0] if is_known else row["trained_on"],
        "repeat": "1",
        "label": f"{modality}_{finding}" if is_known else finding,
        "tumor_probability": row["score"],
        "threshold": "",
    }


@dataclass(frozen=True)
class Summary:
    """Figures of scores, each with its interval and with what it is in each fold."""

    n: int  # distinct cases
    n_tumor: int
    n_groups: int
    repeats: int
    figures: Mapping[str, Estimate]
    folds: Mapping[str, Sequence[float | None]]  # None where its scans could not show it

    def to_json(self) -> Json:
        """Return counts, figures beside their bounds, and under `folds` their spread."""
        return {
            "n": self.n,
            "n_tumor": self.n_tumor,
            "n_groups": self.n_groups,
            **{key: found.value for key, found in self.figures.items()},
            **{f"{key}_{end}": getattr(found, end)
               for key, found in self.figures.items() for end in ("low", "high")},
            "folds": {key: self.spread(key) for key in self.folds},
        }  # fmt: skip

    def spread(self, name: str) -> Json:
        """Return the values of a figure over folds, their mean and deviation."""
        known = [value for value in self.folds[name] if value is not None]
        return {
            "n": len(known),
            "mean": float(np.mean(known)) if known else None,
            "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
            "values": list(self.folds[name]),
        }


def summarize(
    scores: Sequence[Score],
    measure: Measure,
    *,
    over: Callable[[Score], Any] = lambda score: score.repeat,
    resamples: int = RESAMPLES,
) -> Summary:
    """Return figures that are means over repeats, with intervals by bootstrap over groups.

    So a case that was predicted five times does not count as five; `over` says what counts as a
    repeat. A figure that no resample moves gets Wilson's interval of as many cases as groups.
    """
    each = [(rows, measure([scores[i] for i in rows])) for rows in _positions(scores, over)]

    def mean(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = [statistics(weights[:, rows]) for rows, statistics in each]
        return {name: np.mean([row[name] for row in found], axis=0) for name in found[0]}

    groups = np.array([score.group for score in scores])
    found = bootstrap(mean, groups, resamples=resamples)
    names = [name for name in found if not name.endswith(("_low", "_high"))]
    tumors, healthy = ([s for s in scores if s.is_tumor is side] for side in (True, False))
    # A figure is a share of these; pairs of an area count as the rarer class.
    rarer = min(tumors, healthy, key=lambda side: _distinct(side, "group"))
    shares = {"sensitivity": tumors, "specificity": healthy, "f1": tumors, "auc": rarer}
    independent = {name: _distinct(shares.get(name, scores), "group") for name in names}
    found = not_collapsed(found, independent)
    counted = {name: shares[name] for name in ("sensitivity", "specificity")}
    return Summary(
        n=_distinct(scores, "case"),
        n_tumor=_distinct(tumors, "case"),
        n_groups=len(np.unique(groups)),
        repeats=len(each),
        figures={
            name: estimate_of(found, name, _distinct(counted.get(name, scores), "case"))
            for name in names
        },
        folds=_over_folds(scores, measure),
    )


def _over_folds(scores: Sequence[Score], measure: Measure) -> dict[str, list[float | None]]:
    found = [
        measure(rows)(np.ones((1, len(rows))))
        for rows in together(scores, lambda score: (score.repeat, score.fold))
    ]
    return {name: [to_json(row[name][0]) for row in found] for name in found[0]}


def _distinct(scores: Sequence[Score], name: str) -> int:
    return len({getattr(score, name) for score in scores})


def together(scores: Sequence[Score], key: Callable[[Score], Any]) -> list[list[Score]]:
    """Return the scores of each key, in the order of keys."""
    return [[scores[i] for i in rows] for rows in _positions(scores, key)]


def _positions(scores: Sequence[Score], key: Callable[[Score], Any]) -> list[list[int]]:
    found: dict[Any, list[int]] = {}
    for position, score in enumerate(scores):
        found.setdefault(key(score), []).append(position)
    return [found[name] for name in sorted(found)]


def detection(scores: Sequence[Score], flagged: NDArray[np.bool_] | None = None) -> Statistics:
    """Measure how tumors are told from healthy scans; flagged by each network's own threshold."""
    truth, found = truth_of(scores), probabilities_of(scores)
    above = found >= np.array([score.threshold for score in scores]) if flagged is None else flagged
    return lambda weights: {
        name: value
        for name, value in (areas(truth, found, weights) | rates(truth, above, weights)).items()
        if name in DETECTION
    }


def area(scores: Sequence[Score]) -> Statistics:
    """Measure the area under the ROC curve."""
    truth, found = truth_of(scores), probabilities_of(scores)
    return lambda weights: {"auc": areas(truth, found, weights)["auc"]}


def type_accuracy(scores: Sequence[Score]) -> Statistics:
    """Measure how often the likeliest type is the recorded one; no type counts as wrong."""
    return accuracy(np.array([score.type == labels.type_of(score.label) for score in scores]))


def accuracy(right: NDArray[np.bool_]) -> Statistics:
    """Measure the share of what is right."""
    return lambda weights: {"accuracy": share(weights @ right, weights.sum(1))}


def truth_of(scores: Sequence[Score]) -> NDArray[np.bool_]:
    """Return which are tumors, [n]."""
    return np.array([score.is_tumor for score in scores], bool)


def probabilities_of(scores: Sequence[Score]) -> NDArray[np.float64]:
    """Return tumor probabilities, [n]."""
    return np.array([score.tumor_probability for score in scores])
