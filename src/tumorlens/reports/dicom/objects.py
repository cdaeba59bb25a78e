"""All objects of one series: which there are, and how they are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, uid

from tumorlens.files import replacing
from tumorlens.images.dicom_header import parsing
from tumorlens.images.series import Series
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.series_answer import SeriesPrediction, answer_of
from tumorlens.records import Prediction
from tumorlens.reports.dicom import DEFAULT_KINDS
from tumorlens.reports.dicom.images import captures, parametric_map, segmentations
from tumorlens.reports.dicom.source import JudgedSeries, judge_series
from tumorlens.reports.dicom.structured_report import key_object, structured_report
from tumorlens.settings import ReadLimits

_NAMES: dict[str, str] = {
    uid.Comprehensive3DSRStorage: "report",
    uid.ParametricMapStorage: "map",
    uid.SecondaryCaptureImageStorage: "capture",
    uid.KeyObjectSelectionDocumentStorage: "key",
    uid.SegmentationStorage: "regions",
}


@dataclass(frozen=True)
class ObjectOptions:
    """Which objects a series gets."""

    kinds: tuple[str, ...] = DEFAULT_KINDS  # of KINDS
    all_series: bool = False  # also those that are not used as a whole, where that can be
    types: bool = False  # tumor types by SNOMED CT codes: see codes.SNOMED_LICENCE
    limits: ReadLimits = ReadLimits()


def why_no_objects(series: Series, options: ObjectOptions = ObjectOptions()) -> str:
    """Return why a series gets no objects; empty: it gets some."""
    first = series.slices[0]
    positions = [s.position for s in series.slices]
    if first.modality is None or not first.instance or not first.study or not first.series:
        return "is no DICOM series of CT or MR with unique ids"
    if not options.all_series or any(position is None for position in positions):
        return series.reason
    if not first.spacing_mm:
        return "does not say how large its pixels are"
    return "" if len({*positions}) == len(positions) else series.reason


def result_objects(
    series: Series,
    predictions: Sequence[Prediction],
    *,
    bundle: Bundle,
    answer: SeriesPrediction | None = None,
    options: ObjectOptions = ObjectOptions(),
) -> list[Dataset]:
    """Return the objects of a series, ready to be written or sent; empty where it gets none.

    `predictions` are of its slices, with heatmaps, in any order; headers and the pixels of the
    slices that are drawn are read from the files that `series` names. The same series and bundle
    give the same UIDs. Raises an ImageError where a file is no longer there, or where its header
    cannot be copied from.
    """
    if why_no_objects(series, options):
        return []
    answer = answer or answer_of(series, predictions, bundle)
    judged = judge_series(
        series,
        predictions,
        answer,
        bundle=bundle,
        variant="types by SNOMED CT" if options.types else "",
        limits=options.limits,
    )
    if not judged.slices:
        return []
    with parsing(series.slices[0].path):  # highdicom would print names that it finds odd
        made = _made(judged, options)
    return [dataset for kind in options.kinds for dataset in made.get(kind, ())]


def _made(judged: JudgedSeries, options: ObjectOptions) -> dict[str, list[Dataset]]:
    """Return the objects by kind; without an answer only a report and a capture that say so."""
    kinds, shown = {*options.kinds}, judged.shows_evidence
    made: dict[str, list[Dataset]] = {}
    if "sr" in kinds:
        made["sr"] = [structured_report(judged, types=options.types)]
    if "sc" in kinds:
        made["sc"] = captures(judged, limits=options.limits)
    if "pm" in kinds and shown:
        made["pm"] = [parametric_map(judged)]
    if "ko" in kinds and shown:
        made["ko"] = [key_object(judged, made.get("sc", [])[:1])]
    if "seg" in kinds and shown:
        made["seg"] = segmentations(judged)
    return made


def write_objects(objects: Iterable[Dataset], folder: Path) -> list[tuple[Path, bool]]:
    """Write objects under names made of their UIDs; return which are new.

    One that stands there already, from an earlier run over the same series, stays as it is.
    """
    written = []
    for dataset in objects:
        number = str(dataset.SOPInstanceUID).rpartition(".")[2]
        path = folder / f"{_NAMES[dataset.SOPClassUID]}-{number}.dcm"
        is_new = not path.exists()
        if is_new:
            with replacing(path) as partial:
                dataset.save_as(partial, enforce_file_format=True)
        written.append((path, is_new))
    return written
