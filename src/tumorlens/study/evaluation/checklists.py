"""What one evaluation answers of the items of reporting guidelines, which checklists.toml lists."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tumorlens.models.bundle import Bundle
from tumorlens.reports.card import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.evaluation import ChecklistRow, EvaluationResult
from tumorlens.reports.page import share

NOT_ESTABLISHED = "not established"
TABLE = Path(__file__).with_name("checklists.toml")
Fact = Callable[[EvaluationResult, Bundle], Any]  # raises LookupError where it was not recorded


@lru_cache(maxsize=1)
def read_table() -> Mapping[str, Any]:
    """Read checklists.toml: `answers` by name, `items` of each guideline."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def fill_checklists(
    result: EvaluationResult, bundle: Bundle
) -> dict[str, tuple[ChecklistRow, ...]]:
    """Return the rows of each guideline with their answers."""
    table, facts = read_table(), _Facts(result, bundle)
    answers = {name: _fill(templates, facts) for name, templates in table["answers"].items()}
    return {
        guideline: tuple(
            ChecklistRow(number, topic, answer := answers.get(name, NOT_ESTABLISHED),
                         established=NOT_ESTABLISHED not in answer)
            for number, topic, name in items
        )
        for guideline, items in table["items"].items()
    }  # fmt: skip


def _fill(templates: str | Iterable[str], facts: "_Facts") -> str:
    """Fill the first template whose facts were recorded."""
    for template in [templates] if isinstance(templates, str) else templates:
        try:
            return template.format_map(facts)
        except (LookupError, TypeError, AttributeError):  # a bundle or result that lacks them
            continue
    return NOT_ESTABLISHED


class _Facts(dict[str, Any]):
    """The facts of one evaluation, each found when a template names it."""

    def __init__(self, result: EvaluationResult, bundle: Bundle) -> None:
        self._of = result, bundle

    def __missing__(self, name: str) -> Any:
        return FACTS[name](*self._of)


def _known(value: Any) -> Any:
    """Return a fact; raises LookupError where it is empty."""
    if not value:
        raise LookupError
    return value


def _counts(found: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items())


def _trained_sets(bundle: Bundle) -> set[str]:
    return {name.split("/")[0] for name in bundle.provenance.data.cases["train"]}


def _of_sets(result: EvaluationResult, names: set[str]) -> str:
    found = result.subgroups["data set"]
    return "; ".join(f"{name}: AUC {found[name].detection.auc}" for name in sorted(names))


def _initialization(recipe: Mapping[str, Any]) -> str:
    weights = recipe["weights"]
    return f"random, seed {recipe['seed']}" if weights == "none" else str(weights)


def _deletion(result: EvaluationResult) -> Any:
    return _known(result.explanation and result.explanation.deletion).area_heatmap


FACTS: Mapping[str, Fact] = {
    "result": lambda r, _b: r,
    "bundle": lambda _r, b: b,
    "provenance": lambda _r, b: b.provenance,
    "recipe": lambda _r, b: b.provenance.recipe,
    "libraries": lambda _r, b: _known(_counts(b.provenance.environment.libraries)),
    "initialization": lambda _r, b: _initialization(b.provenance.recipe),
    "teacher": lambda _r, b: _known(b.provenance.teacher).name,
    "graph": lambda _r, b: b.graph_sha256[:12],
    "trained_sets": lambda _r, b: ", ".join(_trained_sets(b)),
    "all": lambda r, _b: r.detection["all"],
    "choice": lambda r, _b: r.threshold_choice,
    "datasets": lambda r, _b: _counts(r.datasets),
    "labels": lambda r, _b: _counts(r.labels),
    "split": lambda r, _b: _known(r.split.fingerprint),
    "split_name": lambda r, _b: r.split.fingerprint or "none",
    "leaking": lambda r, _b: share(r.split.share or 0),
    "new_sets": lambda r, b: _known(", ".join(sorted({*r.datasets} - _trained_sets(b)))),
    "internal": lambda r, b: _known(_of_sets(r, {*r.datasets} & _trained_sets(b))),
    "external": lambda r, b: _known(_of_sets(r, {*r.datasets} - _trained_sets(b))),
    "performance": lambda r, _b: "; ".join(f"{k}: AUC {d.auc}" for k, d in r.detection.items()),
    "events": lambda r, _b: "; ".join(
        f"{name}: {d.n_tumor} tumors of {d.n} scans" for name, d in r.detection.items()
    ),
    "subgroups": lambda r, _b: ", ".join(k for k, names in r.subgroups.items() if len(names) > 1),
    "conflicts": lambda r, _b: sum(kind.with_conflict for kind in r.failures.values()),
    "missed": lambda r, _b: r.failures["false_negatives"].total,
    "alarms": lambda r, _b: r.failures["false_positives"].total,
    "out_of_scope": lambda r, _b: r.decisions.get("out of scope", 0),
    "pointing": lambda r, _b: str(_known(r.localization).pointing),
    "deletion": lambda r, _b: str(_deletion(r)),
    "limits": lambda _r, _b: " ".join(KNOWN_LIMITS),
    "not_for": lambda _r, _b: NOT_FOR,
}
