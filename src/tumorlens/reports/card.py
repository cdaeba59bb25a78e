"""The model card of a bundle, from its own data and, where there is one, from an evaluation.

Text after Mitchell et al. (2019); the block on top is the metadata that the Hugging Face hub reads.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tumorlens.models.bundle import SHIPPED_DEFAULT, Bundle
from tumorlens.reports.limits import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import figure, share

_NEEDED = ("recipe", "parameters", "validation", "created", "data")
_METRICS = {"auc": ("roc_auc", "n"), "sensitivity": ("recall", "n_tumor"),
            "specificity": ("specificity", "n_healthy"), "f1": ("f1", "n"),
            "accuracy": ("accuracy", "n")}  # fmt: skip


def says_where_from(bundle: Bundle) -> bool:
    """Tell whether a bundle holds what a card is written from."""
    return all(name in bundle.details for name in _NEEDED)


def write_card(bundle: Bundle, evaluation: Mapping[str, Any] | None = None) -> str:
    """Give the text of card.md; `evaluation` is evaluation.json of this bundle.

    Raises jinja2.UndefinedError for a bundle that does not say where it comes from.
    """
    environment = Environment(
        loader=PackageLoader("tumorlens.reports"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, and every value is our own
    )
    environment.filters |= {"figure": figure, "share": share}
    return environment.get_template("card.md").render(
        bundle=bundle,
        limits=KNOWN_LIMITS,
        not_for=NOT_FOR,
        license="apache-2.0" if bundle.name == SHIPPED_DEFAULT else "unknown",
        evaluation=evaluation,
        results=list(_results(evaluation)) if evaluation else [],
        **bundle.details,
    )


def _results(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give each figure that could be measured as the hub wants it, named with interval and n."""
    for modality, found in evaluation["detection"].items():
        for name, (kind, n) in _METRICS.items():
            if found.get(name) is not None:
                shown = figure(found, name, n)
                yield {
                    "task": f"tumor on a slice, {modality}",
                    "type": kind,
                    "value": round(found[name], 4),
                    "name": f"{name} {shown[shown.index('(') :]}",
                }
    if evaluation["type"]:
        yield {
            "task": "type of an MRI tumor",
            "type": "accuracy",
            "value": round(evaluation["type"]["accuracy"], 4),
            "name": f"accuracy {figure(evaluation['type'], 'accuracy').split(' ', 1)[1]}",
        }
