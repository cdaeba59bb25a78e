"""What a list of files holds: series, images that stand alone, and what cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.files import write_table
from tumorlens.images.readers import attempt, slice_headers
from tumorlens.images.series import COLUMNS, Series, group_slices, series_row
from tumorlens.images.slices import SliceHeader
from tumorlens.progress import Progress, silent
from tumorlens.records import Unusable
from tumorlens.settings import ReadLimits


@dataclass(frozen=True)
class Listing:
    """What files hold, known from their headers."""

    series: tuple[Series, ...]
    images: tuple[Path, ...]  # of no series; reading them tells whether they are images
    unreadable: tuple[Unusable, ...]  # with a header that cannot be read


def list_series(
    files: Sequence[Path], *, limits: ReadLimits = ReadLimits(), progress: Progress = silent
) -> Listing:
    """Read the header of every file and group what belongs together."""
    headers: list[SliceHeader] = []
    images: list[Path] = []
    unreadable: list[Unusable] = []
    for done, path in enumerate(files, start=1):
        found = attempt(slice_headers, path, limits=limits)
        if isinstance(found, Unusable):
            unreadable.append(found)
        elif found:
            headers.extend(found)
        else:
            images.append(path)
        progress(done, len(files))
    return Listing(tuple(group_slices(headers)), tuple(images), tuple(unreadable))


def series_rows(listing: Listing) -> list[dict[str, object]]:
    """Return the rows of series.csv: a row a series, and one a header that cannot be read."""
    unread: list[dict[str, object]] = [
        {"path": item.path, "slices": 0, "used": "no", "reason": item.reason}
        for item in listing.unreadable
    ]
    return [*map(series_row, listing.series), *unread]


def write_series(listing: Listing, out: Path) -> None:
    """Write series.csv whole, or leave what stood there."""
    write_table(out, COLUMNS, series_rows(listing))
