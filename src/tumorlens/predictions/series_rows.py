"""Files and the series they make become one stream of answers: a row a slice.

Slices of a series come together, in order along their normal. What is not predicted, because its
series is a localizer, a map or no slice of a head at all, has its row with the reason at the end.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tumorlens.images.listing import Listing
from tumorlens.images.series import Series
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Prediction

NOT_PREDICTED = "not predicted: its series "


def iter_predict_series(
    predictor: Predictor,
    files: Sequence[Path],
    listing: Listing,
    *,
    all_series: bool = False,
    heatmaps: bool = False,
) -> Iterator[Prediction]:
    """Predict files, each answer with its series and the number of its slice, from 1.

    `listing` is what `list_series` found in them. Only slices that can be judged are predicted,
    unless `all_series`.
    """
    slices = {
        (header.path, header.frame): (series, number)
        for series in listing.series
        for number, header in enumerate(series.slices, start=1)
    }

    def placed(answer: Prediction) -> Prediction:
        series, number = slices.get((answer.path, answer.frame), (None, None))
        if series is None:
            return answer
        if not (all_series or series.has_usable_slices):
            answer = _refusal(answer.path, answer.frame, series)
        return replace(answer, series=series.name, slice=number)

    kept, left = _in_order(files, listing, all_series)
    for answer in predictor.iter_predict(kept, heatmaps=heatmaps):
        yield placed(answer)
    for (path, frame), (series, number) in slices.items():
        if path in left:
            yield replace(_refusal(path, frame, series), series=series.name, slice=number)


class SeriesCollector:
    """Keeps the slices of each series while they pass, and hands it on when it is whole.

    What is not whole when no more comes, as where a file could not be read, is handed on then.
    `keep` says what is kept of each slice.
    """

    def __init__(
        self,
        series: Sequence[Series],
        receive: Callable[[Series, list[Prediction]], None],
        *,
        keep: Callable[[Prediction], Prediction] = lambda prediction: prediction,
    ) -> None:
        self._series = {s.name: s for s in series}
        self._held: dict[str, list[Prediction]] = {}
        self._receive, self._keep = receive, keep

    def listen(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass predictions on and keep them until their series is whole."""
        for prediction in predictions:
            series = self._series.get(prediction.series)
            if series is not None:
                held = self._held.setdefault(series.name, [])
                held.append(self._keep(prediction))
                if len(held) == len(series.slices):
                    self._receive(series, self._held.pop(series.name))
            yield prediction
        while self._held:
            name, held = self._held.popitem()
            self._receive(self._series[name], held)


def _in_order(
    files: Sequence[Path], listing: Listing, all_series: bool
) -> tuple[list[Path], set[str]]:
    """Return the files to predict, those of a series together, and those that are left out.

    A duplicate of a slice is in neither: it counted once.
    """
    of_file: dict[str, list[Series]] = {}
    for series in listing.series:
        for path in dict.fromkeys(header.path for header in series.slices):
            of_file.setdefault(path, []).append(series)
    alone = {*map(str, listing.images), *(item.path for item in listing.unreadable)}
    kept: dict[str, None] = {}
    left: set[str] = set()
    for path in map(str, files):
        usable = [s for s in of_file.get(path, ()) if all_series or s.has_usable_slices]
        if path in alone:
            kept[path] = None
        elif path in of_file and not usable:
            left.add(path)
        for series in usable if path not in kept else ():
            kept |= dict.fromkeys(header.path for header in series.slices)
    return [Path(path) for path in kept], left


def _refusal(path: str, frame: int | None, series: Series) -> Prediction:
    error = f"{NOT_PREDICTED}{series.reason}. Predict it with --all-series."
    return Prediction(path, frame=frame, error=error)
