"""The reviewed history as a table, for spreadsheets: the only writer of it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from tumorlens.files import table_text
from tumorlens.predictions.document import COLUMNS, table_row
from tumorlens.services.store.database import Store
from tumorlens.services.store.history import StoredPrediction
from tumorlens.services.store.reviews import Review, latest_reviews

REVIEW_COLUMNS = ("review", "reviewed_at", "reviewed_decision", "reviewed_type", "review_reason")
HISTORY_COLUMNS = (
    "created_at", "id", "owner", "source", *COLUMNS, "input_sha256", *REVIEW_COLUMNS,
)  # fmt: skip


def history_table(
    store: Store, predictions: Iterable[StoredPrediction], *, names: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield a CSV table of stored predictions in pieces, each row with its latest review.

    `names` are paths by input_sha256, for whoever knows them where the store keeps none.
    """
    yield table_text(HISTORY_COLUMNS, ())
    remaining = iter(predictions)
    while page := list(islice(remaining, 500)):
        reviews = latest_reviews(store, [stored.id for stored in page])
        rows = (_row(stored, reviews.get(stored.id), names or {}) for stored in page)
        yield table_text(HISTORY_COLUMNS, rows, head=False)


def _row(
    stored: StoredPrediction, review: Review | None, names: Mapping[str, str]
) -> dict[str, str]:
    reviewed = ("",) * len(REVIEW_COLUMNS)
    if review is not None:
        reviewed = (review.verdict, review.created_at, review.decision, review.type, review.reason)
    row = table_row(stored.prediction)
    return row | {
        "created_at": stored.created_at,
        "id": stored.id,
        "owner": stored.owner,
        "source": stored.source,
        "path": names.get(stored.input_sha256, row["path"]),
        "input_sha256": stored.input_sha256,
        **dict(zip(REVIEW_COLUMNS, reviewed, strict=True)),
    }
