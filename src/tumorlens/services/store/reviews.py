"""What readers say of answers: agree, or correct with a decision and a reason."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import insert, select

from tumorlens.errors import ReviewError
from tumorlens.labels import TYPES
from tumorlens.services.store.audit_log import (
    REVIEWED,
    Event,
    append,
    lock_head,
    now,
    row_details,
)
from tumorlens.services.store.database import ReviewRow, Store
from tumorlens.services.store.history import get_prediction

VERDICTS = ("agree", "correct")
DECISIONS = ("tumor", "no tumor", "uncertain", "out of scope")
MAX_REASON = 2000  # characters


@dataclass(frozen=True)
class Review:
    """A reader's judgment; `decision` and `type` are the reader's own, filled in for "agree"."""

    prediction_id: str
    reader: str
    verdict: str
    decision: str = ""
    type: str = ""
    reason: str = ""
    created_at: str = ""  # given by the store
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def save_review(store: Store, review: Review, *, owner: str | None = None) -> Review:
    """Write a review and its trail entry; gives it with what the store filled in.

    With `owner`, only a prediction of that owner's history may be reviewed. Raises ReviewError
    and NotStoredError.
    """
    answer = get_prediction(store, review.prediction_id, owner=owner).prediction
    given = (review.decision, review.type)
    if review.verdict == "agree":
        given = (review.decision or answer.decision, review.type or answer.type)
        if given != (answer.decision, answer.type):
            raise ReviewError("review", "agrees, and names something else", 'Use "correct".')
    _check(review, *given)
    if review.verdict == "correct" and given == (answer.decision, answer.type):
        raise ReviewError("review", "corrects to the answer that was given", 'Use "agree".')
    reason = review.reason.replace("\x00", "").strip()  # PostgreSQL keeps no such text
    saved = replace(review, decision=given[0], type=given[1], reason=reason)
    names = ("prediction_id", "verdict", "decision", "tumor_type")  # what outlives the row
    with store.writing() as connection:
        head = lock_head(connection)
        saved = replace(saved, created_at=now())
        row = {"tumor_type" if key == "type" else key: value for key, value in vars(saved).items()}
        query = insert(ReviewRow).returning(ReviewRow.number)
        row["number"] = connection.execute(query, row).scalar_one()
        details = row_details(ReviewRow, row, **{name: row[name] for name in names})
        event = Event(saved.reader, REVIEWED, saved.id, details)
        append(connection, head, [event], at=saved.created_at)
    return saved


def reviews_of(store: Store, prediction_id: str) -> list[Review]:
    """List the reviews of one answer, oldest first."""
    return reviews_by_prediction(store, [prediction_id]).get(prediction_id, [])


def reviews_by_prediction(store: Store, prediction_ids: Sequence[str]) -> dict[str, list[Review]]:
    """List the reviews of each answer that has some, oldest first, by the answer's id."""
    query = select(ReviewRow.__table__).where(ReviewRow.prediction_id.in_(prediction_ids))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(ReviewRow.number)).all()
    found: dict[str, list[Review]] = {}
    for row in rows:
        found.setdefault(row.prediction_id, []).append(_review(row))
    return found


def latest_reviews(store: Store, prediction_ids: Sequence[str]) -> dict[str, Review]:
    """Return the last review of each answer that has one, by the answer's id."""
    found = reviews_by_prediction(store, prediction_ids)
    return {id: reviews[-1] for id, reviews in found.items()}


def _check(review: Review, decision: str, tumor_type: str) -> None:
    corrects, types = review.verdict == "correct", (*TYPES, "undetermined", "")
    wrong = {
        f"has a verdict that is none of {', '.join(VERDICTS)}": review.verdict not in VERDICTS,
        f"has a decision that is none of {', '.join(DECISIONS)}": decision not in DECISIONS,
        f"has a type that is none of {', '.join(TYPES)}": tumor_type not in types,
        "names a type without a tumor": corrects and decision == "no tumor" and bool(tumor_type),
        "corrects without a reason": corrects and not review.reason.strip(),
        f"has a reason above {MAX_REASON} characters": len(review.reason) > MAX_REASON,
    }
    for fact, is_so in wrong.items():
        if is_so:
            raise ReviewError("review", fact, "Change it and send it again.")


def _review(row: Any) -> Review:
    return Review(
        row.prediction_id, row.reader, row.verdict, row.decision, row.tumor_type, row.reason,
        created_at=row.created_at, id=row.id,
    )  # fmt: skip
