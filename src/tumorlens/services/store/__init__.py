"""The memory of the services: predictions, reviews, keys, jobs and the audit trail.

    store = open_store()                      # SQLite in the user's data folder, or a URL
    ids = save_predictions(store, [NewPrediction(prediction, input_sha256=..., ...)])
    page = find_predictions(store, Selection(owner="session-7"), limit=50)
    save_review(store, Review(ids[0], reader="session-7", verdict="agree"))

It knows nothing of HTTP, and other services use it alike.
"""

from tumorlens.services.store.audit_log import Head, get_head
from tumorlens.services.store.database import Store, open_store
from tumorlens.services.store.history import (
    NewPrediction,
    Selection,
    StoredPrediction,
    expire_predictions,
    find_predictions,
    get_prediction,
    heatmap_of,
    iter_predictions,
    save_predictions,
)
from tumorlens.services.store.reviews import Review, latest_reviews, reviews_of, save_review
from tumorlens.services.store.series import (
    NewSeries,
    StoredSeries,
    find_series,
    read_series_prediction,
    save_series,
)
from tumorlens.services.store.verification import Verdict, verify

__all__ = [
    "Head",
    "NewPrediction",
    "NewSeries",
    "Review",
    "Selection",
    "Store",
    "StoredPrediction",
    "StoredSeries",
    "Verdict",
    "expire_predictions",
    "find_predictions",
    "find_series",
    "get_head",
    "get_prediction",
    "heatmap_of",
    "iter_predictions",
    "latest_reviews",
    "open_store",
    "read_series_prediction",
    "reviews_of",
    "save_predictions",
    "save_review",
    "save_series",
    "verify",
]
