"""The series that was answered for: headers to copy from, evidence on its own pixels, ids.

Highdicom wants headers that the standard calls complete. Many archives' are not: what may be
empty is added empty, and what no program could read is left out.
"""

import hashlib
import io
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from tumorlens import __version__
from tumorlens.images.dicom_header import inflated, parsing
from tumorlens.images.series import Series
from tumorlens.images.slices import SliceHeader
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.heatmaps import evidence_of
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Prediction
from tumorlens.settings import ReadLimits

MAKER = "Tumorlens"
FORMAT = 1  # raised when the objects change: other content must not come under the same UID
BODY_PART = "HEAD"  # where the source does not say
CHARACTERS = "ISO_IR 192"  # UTF-8 holds the names of every source
_DATES = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
_AGE = re.compile(r"\d{3}[DWMY]")
_METHODS = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
          "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")  # fmt: skip


@dataclass(frozen=True)
class JudgedSlice:
    """A slice, its header without pixels, and its answer."""

    header: SliceHeader
    dataset: Dataset
    prediction: Prediction
    number: int  # along the normal, from 1

    @property
    def frame_numbers(self) -> list[int] | None:
        """The number of its frame as DICOM counts, from 1; None in a file of one image."""
        return None if self.header.frame is None else [self.header.frame + 1]

    @property
    def evidence(self) -> NDArray[np.float32]:
        """Where the evidence stood, on its own pixels, [rows, columns]; 0 where there is none."""
        return evidence_of(self.prediction, self.header.matrix)

    @property
    def is_positive(self) -> bool:
        """Whether it was called a tumor."""
        return self.prediction.decision == "tumor"


@dataclass(frozen=True)
class JudgedSeries:
    """A series with all that its objects are made of."""

    slices: tuple[JudgedSlice, ...]  # in order along the normal; those that were read
    answer: SeriesPrediction
    bundle: Bundle
    key: str  # what its UIDs are made of

    @property
    def datasets(self) -> list[Dataset]:
        """The headers of its files, each once."""
        return list({str(s.dataset.SOPInstanceUID): s.dataset for s in self.slices}.values())

    @property
    def peak(self) -> JudgedSlice:
        """The slice with the strongest answer, or the middle one where none was judged."""
        wanted = self.answer.peak_slice
        middle = self.slices[len(self.slices) // 2]
        return next((s for s in self.slices if s.number == wanted), middle)

    @property
    def shows_evidence(self) -> bool:
        """Whether there is an answer whose evidence can be shown."""
        return self.answer.decision != "out of scope" and self.answer.score is not None

    def uid(self, *parts: object) -> UID:
        """Return an id that is the same whenever the same series meets the same bundle."""
        return _uid_of("\n".join([self.key, *map(str, parts)]))

    def object_options(self, kind: str, number: int, *, instance: int = 1) -> dict[str, Any]:
        """Return what every object says of itself: `kind` in a series of its own."""
        return {
            "series_instance_uid": self.uid(kind, "series"),
            "series_number": 9000 + number,
            "sop_instance_uid": self.uid(kind, instance),
            "instance_number": instance,
            "manufacturer": MAKER,
            "manufacturer_model_name": self.bundle.name[:64],
            "software_versions": f"{__version__} {self.bundle.version}"[:64],
            "device_serial_number": self.bundle.sha256[:64],
            "specific_character_set": CHARACTERS,
        }


def _uid_of(text: str) -> UID:
    """Return a unique id in the arc of UUIDs (PS3.5 B.2) that is always the same for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def judge_series(
    series: Series,
    predictions: Sequence[Prediction],
    answer: SeriesPrediction,
    *,
    bundle: Bundle,
    variant: str = "",
    limits: ReadLimits = ReadLimits(),
) -> JudgedSeries:
    """Read the headers that objects copy from; predictions are matched by file and frame.

    Objects of another `variant` get other UIDs.
    """
    answers = {(p.path, p.frame): p for p in predictions}
    headers: dict[str, Dataset] = {}
    slices = []
    for number, header in enumerate(series.slices, start=1):
        found = answers.get((header.path, header.frame))
        if found is None or found.error:
            continue
        if header.path not in headers:
            dataset = headers[header.path] = read_header(header.path, limits=limits)
            if not dataset.get("SliceThickness"):
                dataset.SliceThickness = series.spacing_mm
        slices.append(JudgedSlice(header, headers[header.path], found, number))
    inputs = sorted(f"{h.instance}:{h.frame}" for h in series.slices)
    key = "\n".join([MAKER, str(FORMAT), bundle.sha256, variant, *inputs])
    return JudgedSeries(tuple(slices), answer, bundle, key)


def read_header(path: str | Path, *, limits: ReadLimits = ReadLimits()) -> Dataset:
    """Read a file without its pixels, and complete it; raises an ImageError."""
    source = str(path)
    with parsing(source):
        data = inflated(Path(path).read_bytes(), source, limits)
        dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        dataset.decode()
        return _completed(dataset)


def _completed(dataset: Dataset) -> Dataset:
    for name in _EMPTY:
        if name not in dataset:
            setattr(dataset, name, "")
    for name, kind in _DATES.items():
        try:
            kind(dataset.get(name) or None)
        except (ValueError, TypeError):
            setattr(dataset, name, "")
    if not dataset.get("BodyPartExamined"):
        dataset.BodyPartExamined = BODY_PART
    if dataset.PatientSex not in ("M", "F", "O"):
        dataset.PatientSex = ""
    if not _AGE.fullmatch(str(dataset.get("PatientAge", ""))):
        dataset.pop("PatientAge", None)
    is_anonymous = dataset.get("PatientIdentityRemoved") == "YES"
    if is_anonymous and not any(dataset.get(name) for name in _METHODS):
        dataset.DeidentificationMethod = "Not stated by the source"
    if not dataset.get("FrameOfReferenceUID"):
        dataset.FrameOfReferenceUID = _uid_of(f"frame {dataset.SeriesInstanceUID}")
    return dataset
