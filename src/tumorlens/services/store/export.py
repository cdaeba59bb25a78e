"""The history as a table, for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tumorlens.predictions.table import COLUMNS, table_row
from tumorlens.services.store.database import Store
from tumorlens.services.store.history import StoredPrediction
from tumorlens.services.store.reviews import Review, latest_reviews

HISTORY_COLUMNS = ("id", "created_at", "reader", "source", *COLUMNS, "input_sha256",
                   "review", "reviewed_decision", "reviewed_type", "review_reason")  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = ("path", "reader", "error", "review_reason")


def iter_csv(store: Store, found: Iterable[StoredPrediction]) -> Iterator[str]:
    """Give the table of stored answers in pieces, with the last review of each."""
    yield _written([HISTORY_COLUMNS])
    remaining = iter(found)
    while page := list(islice(remaining, 500)):
        yield _page(store, page)


def _page(store: Store, page: Sequence[StoredPrediction]) -> str:
    reviews = latest_reviews(store, [stored.id for stored in page])
    rows = [history_row(stored, reviews.get(stored.id)) for stored in page]
    return _written([[row[name] for name in HISTORY_COLUMNS] for row in rows])


def history_row(stored: StoredPrediction, review: Review | None) -> dict[str, str]:
    """Give the columns of one answer; text that a spreadsheet would run is quoted."""
    row = {
        **table_row(stored.prediction),
        "id": stored.id,
        "created_at": stored.created_at,
        "reader": stored.reader,
        "source": stored.source,
        "input_sha256": stored.input_sha256,
        "review": review.verdict if review else "",
        "reviewed_decision": review.decision if review else "",
        "reviewed_type": review.type if review else "",
        "review_reason": review.reason if review else "",
    }
    quoted = {name: f"'{row[name]}" for name in _TEXTS if row[name].startswith(_FORMULA)}
    return row | quoted


def _written(rows: Sequence[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
