"""Facts about the rows of series: their order, their numbers, and what is not predicted."""

import numpy as np
import pytest
from support.broken_files import HEAD, encoded
from support.dicom_files import write_series

from tumorlens.images.listing import list_series
from tumorlens.images.readers import find_scans
from tumorlens.predictions.document import from_document, table_row, to_document
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_rows import NOT_PREDICTED, SeriesCollector, iter_predict_series
from tumorlens.records import Prediction

VOLUME = np.stack([HEAD.astype(np.int16)] * 5)


@pytest.fixture
def study(tmp_path):
    """A series, a localizer, an image that stands alone and a file that is none."""
    write_series(tmp_path / "b", VOLUME)
    write_series(tmp_path / "c", VOLUME[:2], SeriesInstanceUID="5",
                 ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    (tmp_path / "a.png").write_bytes(encoded(HEAD, "PNG"))
    (tmp_path / "d.dcm").write_bytes(bytes(128) + b"DICM" + bytes(300))
    return tmp_path


@pytest.fixture
def rows(tiny_bundle, study):
    files = find_scans([study])
    listing = list_series(files)

    def predicted(**options) -> list[Prediction]:
        return list(iter_predict_series(Predictor(tiny_bundle), files, listing, **options))

    return predicted


def test_slices_of_a_series_come_in_order_with_their_number(rows, study):
    found = [row for row in rows() if row.series == "1.2.3.4"]
    assert [row.slice for row in found] == [1, 2, 3, 4, 5]
    order = [series for series in list_series(find_scans([study])).series if series.is_used]
    assert [row.path for row in found] == [header.path for header in order[0].slices]
    assert all(row.decision for row in found)


def test_an_image_that_stands_alone_has_no_series(rows, study):
    (row,) = [row for row in rows() if row.path == str(study / "a.png")]
    assert (row.series, row.slice, row.frame, row.error) == ("", None, None, "")


def test_slices_of_a_series_that_is_not_used_have_the_reason_and_no_answer(rows):
    found = [row for row in rows() if row.series == "5"]
    assert len(found) == 2
    for row in found:
        assert row.error.startswith(f"{NOT_PREDICTED}is a localizer.")
        assert "--all-series" in row.error
        assert row.decision == ""


def test_all_series_are_predicted_where_that_is_asked_for(rows):
    found = [row for row in rows(all_series=True) if row.series == "5"]
    assert [bool(row.decision) for row in found] == [True, True]


def test_every_file_has_its_row(rows, study):
    assert {row.path for row in rows()} == {str(path) for path in find_scans([study])}
    (broken,) = [row for row in rows() if row.path.endswith("d.dcm")]
    assert broken.error


def test_a_row_of_the_table_names_series_and_slice():
    row = table_row(Prediction("a.dcm", series="1.2", slice=3, frame=2))
    assert (row["series"], row["slice"]) == ("1.2", "3")


def test_documents_keep_series_slice_and_frame_and_older_ones_are_read():
    prediction = Prediction("a.dcm", series="1.2", slice=3, frame=2)
    document = to_document(prediction)
    assert from_document(document) == prediction
    older = {
        key: value for key, value in document.items() if key not in ("series", "slice", "frame")
    }
    assert from_document(older) == Prediction("a.dcm")


def test_a_series_is_handed_on_when_it_is_whole_and_a_broken_one_at_the_end(study):
    write_series(study / "e", VOLUME, SeriesInstanceUID="6")
    listing = list_series(find_scans([study / "b", study / "e"]))
    first, second = listing.series
    given = [
        Prediction(h.path, series=s.name, slice=number)
        for s in (first, second)
        for number, h in enumerate(s.slices, start=1)
    ]
    events: list[object] = []
    collector = SeriesCollector(
        listing.series, lambda s, found: events.append((s.name, len(found)))
    )
    rows = [Prediction("a.png"), *given[:5], *given[6:]]
    for row in collector.listen(rows):
        events.append(row.path)
    assert events[0] == "a.png"
    assert events.index((first.name, 5)) == 5
    assert events[-1] == (second.name, 4)
    assert [e for e in events if isinstance(e, str)] == [row.path for row in rows]
