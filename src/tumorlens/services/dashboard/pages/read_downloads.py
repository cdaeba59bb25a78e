"""What a reader takes home of the scan that is shown and of the queue."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

import streamlit as st

from tumorlens.predictions.table import COLUMNS, table_row
from tumorlens.records import Prediction
from tumorlens.reports.scan.report import Examined, scan_html, scan_pdf
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.results import Reading
from tumorlens.services.dashboard.texts import Say


def show(reading: Reading, say: Say) -> None:
    """Draw the buttons; files are made when they are asked for."""
    readings, bundle = session.queue(), session.load_shared().predictor.bundle
    examined = [Examined(reading.prediction, reading.scan)]
    stem = f"tumorlens-{reading.key}"
    with st.container(horizontal=True):
        st.download_button(
            say("read.report_pdf"),
            lambda: scan_pdf(examined, bundle, made=datetime.now(UTC)),
            file_name=f"{stem}.pdf", mime="application/pdf", key="pdf",
            icon=":material/picture_as_pdf:", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            say("read.report_html"),
            lambda: scan_html(examined, bundle, made=datetime.now(UTC)),
            file_name=f"{stem}.html", mime="text/html", key="html",
            icon=":material/description:", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            say("read.batch_csv"),
            lambda: predictions_csv(item.prediction for item in readings),
            file_name="tumorlens-queue.csv", mime="text/csv", key="queue-csv",
            icon=":material/table:", on_click="ignore",
        )  # fmt: skip


def predictions_csv(predictions: Iterable[Prediction]) -> bytes:
    """Write predictions.csv in memory, as UTF-8 that spreadsheets read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(table_row, predictions))
    return text.getvalue().encode("utf-8-sig")
