"""What a service does for its store once an hour, whichever kind of service it is."""

import time
from collections.abc import Callable
from pathlib import Path

from tumorlens.services.store.audit_log import days_ago, export_head, get_head
from tumorlens.services.store.database import Store
from tumorlens.services.store.history import expire_predictions
from tumorlens.settings import Settings

HOUR = 3600.0  # seconds


class HourlyUpkeep:
    """Removes what is older than retention allows, and carries the end of the trail outside."""

    def __init__(self, store: Store, settings: Settings, log: Callable[..., None]) -> None:
        self._store, self._settings, self._log = store, settings, log
        self._done_at = -HOUR

    def run_if_due(self) -> None:
        """Do it, unless it was done within the hour."""
        if time.monotonic() - self._done_at < HOUR:
            return
        self._done_at = time.monotonic()
        days = self._settings.retention_days
        if days and (count := expire_predictions(self._store, before=days_ago(days))):
            self._log("expired", predictions=count)
        file = self._settings.audit_heads
        head = export_head(self._store, Path(file)) if file else get_head(self._store)
        self._log("audit head", head=str(head), signature=head.signature)
