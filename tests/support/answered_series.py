"""A small series of DICOM slices with answers, and the objects made of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import uid
from support.broken_files import HEAD
from support.dicom_files import dicom_bytes, enhanced_dataset, write_series

from tumorlens.files import write_file
from tumorlens.images.listing import list_series
from tumorlens.images.series import Series
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import SeriesPrediction, answer_of
from tumorlens.records import Prediction
from tumorlens.reports.dicom import KINDS
from tumorlens.reports.dicom.objects import ObjectOptions, result_objects
from tumorlens.settings import Settings

PATIENT = {
    "PatientName": "Grün^Änne",
    "PatientID": "4711",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyID": "7",
    "StudyDate": "20260102",
    "StudyTime": "101112",
    "AccessionNumber": "A1",
    "StudyDescription": "Schädel",
    "ReferringPhysicianName": "Haus^Greta",
    "FrameOfReferenceUID": "1.2.3.5",
    "SliceThickness": 4,
}
CLASSES = {
    "sr": uid.Comprehensive3DSRStorage,
    "pm": uid.ParametricMapStorage,
    "sc": uid.SecondaryCaptureImageStorage,
    "ko": uid.KeyObjectSelectionDocumentStorage,
    "seg": uid.SegmentationStorage,
}
PROBABILITIES = (0.12, 0.32, 0.987654321987, 0.91, 0.21, 0.11)


@dataclass(frozen=True)
class Answered:
    """A series, its predictions and the objects of every kind."""

    series: Series
    predictions: list[Prediction]
    answer: SeriesPrediction
    bundle: Bundle
    objects: dict[str, list]

    def make(self, **options: object) -> list:
        return result_objects(
            self.series, self.predictions, bundle=self.bundle, options=ObjectOptions(**options)
        )


def answered_series(
    folder: Path, bundle: Bundle, *, is_enhanced: bool = False, **tags: object
) -> Answered:
    """Write a series and answer for it; two of its slices are called a tumor."""
    volume = np.stack([HEAD.astype(np.int16)] * len(PROBABILITIES))
    known = {name: value for name, value in {**PATIENT, **tags}.items() if value is not None}
    if is_enhanced:
        write_file(folder / "IM0001", dicom_bytes(enhanced_dataset(volume, **known)))
    else:
        write_series(folder, volume, **known)
    (series,) = list_series(sorted(folder.iterdir())).series
    predictor = Predictor(bundle, Settings(workers=1))
    files = list(dict.fromkeys(h.path for h in series.slices))
    found = predictor.predict(files, heatmaps=True)
    given = [
        replace(p, tumor_probability=value, decision="tumor" if value > 0.5 else "no tumor",
                series=series.name, slice=number)
        for number, (p, value) in enumerate(zip(found, PROBABILITIES, strict=True), start=1)
    ]  # fmt: skip
    answer = answer_of(series, given, bundle)
    made = result_objects(series, given, bundle=bundle, options=ObjectOptions(kinds=KINDS))
    objects = {kind: [d for d in made if d.SOPClassUID == CLASSES[kind]] for kind in KINDS}
    return Answered(series, given, answer, bundle, objects)
