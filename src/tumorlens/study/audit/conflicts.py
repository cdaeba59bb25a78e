"""One picture under two labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from tumorlens.labels import LABELS, UNLABELED
from tumorlens.study.audit.duplicates.copies import SAME, Link


@dataclass(frozen=True)
class Conflict:
    """A link between files whose labels differ."""

    link: Link
    kind: str  # "contradictory" | "refining"


def find_conflicts(labels: Sequence[str], links: Sequence[Link]) -> list[Conflict]:
    """List copies under different labels, contradictory ones first.

    *Refining*: every atom of one label belongs to the other (a tumor without a recorded type,
    and a meningioma), so both may be right. *Contradictory*: at least one is wrong.
    """
    found = [
        Conflict(link, _kind(labels[link.a], labels[link.b]))
        for link in links
        if link.kind in SAME and _differ(labels[link.a], labels[link.b])
    ]
    return sorted(found, key=lambda c: (c.kind, c.link.a, c.link.b))


def _differ(one: str, other: str) -> bool:
    return one != other and UNLABELED not in (one, other)


def _kind(one: str, other: str) -> str:
    a, b = LABELS[one], LABELS[other]
    return "refining" if a <= b or b <= a else "contradictory"
