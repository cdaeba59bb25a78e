"""The evidence as images: parametric map, segmentation, and captures for every viewer."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from highdicom import (
    AlgorithmIdentificationSequence,
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
    VOILUTTransformation,
)
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sc import SCImage
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.uid import ExplicitVRLittleEndian

from tumorlens import __version__
from tumorlens.images.readers import read_scan
from tumorlens.images.slices import side_letters
from tumorlens.inputs.prepare import apply_window
from tumorlens.predictions.heatmaps import colored_evidence, strongest_region
from tumorlens.predictions.series_answer import describe_value
from tumorlens.reports.dicom import codes
from tumorlens.reports.dicom.source import MAKER, JudgedSeries, JudgedSlice
from tumorlens.reports.scan.content import gray_levels
from tumorlens.settings import ReadLimits

MAX_STORED = 2**16 - 1
MAX_CAPTURES = 3
MIN_CAPTURE_PX = 512  # of the longer side of a slice in a capture
MIN_WORDS_PX = 640  # width that the words need
BAND_PX, TEXT_SCALE = 26, 0.5
BURNED_IN = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"


def parametric_map(series: JudgedSeries) -> Dataset:
    """Return the evidence on the pixels of the slices, in logits by its real-world mapping."""
    stored, slope, intercept = _as_whole_numbers([s.evidence for s in series.slices])
    neutral = min(max(-intercept / slope, 0.0), MAX_STORED - 1.0)  # no evidence: black
    mapping = RealWorldValueMapping(
        lut_label="EVIDENCE",
        lut_explanation="Evidence for a tumor, in logits",
        unit=codes.NO_UNITS,
        value_range=(0, MAX_STORED),
        slope=slope,
        intercept=intercept,
        quantity_definition=codes.CLASS_ACTIVATION,
    )
    image = ParametricMap(
        source_images=series.datasets,
        pixel_array=stored,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            VOILUTTransformation(
                window_center=(neutral + MAX_STORED) / 2, window_width=MAX_STORED - neutral
            )
        ],
        content_label="EVIDENCE",
        content_description="Class activation: evidence for a tumor. Research use only.",
        series_description=f"{MAKER} evidence map (research use only)",
        **_geometry(series.slices),
        **series.object_options("PM", 2),
    )
    image.BodyPartExamined = series.slices[0].dataset.BodyPartExamined
    return image


def segmentations(series: JudgedSeries) -> list[Dataset]:
    """Return the regions of the positive slices as one binary segment; none without such slices.

    A region holds at least half of the strongest evidence. It is no outline of a tumor.
    """
    kept = [s for s in series.slices if s.is_positive and (s.evidence > 0).any()]
    if not kept:
        return []
    algorithm = AlgorithmIdentificationSequence(
        name=series.bundle.name,
        family=dicom_codes.DCM.ArtificialIntelligence,
        version=__version__,
    )
    segment = SegmentDescription(
        segment_number=1,
        segment_label="Region of evidence",
        segmented_property_category=codes.ABNORMAL,
        segmented_property_type=codes.NEOPLASM,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=series.uid("track", "segment"),
        tracking_id="region of evidence",
        anatomic_regions=[codes.BRAIN],
    )
    regions = np.stack([strongest_region(s.evidence) for s in kept])
    made = Segmentation(
        source_images=series.datasets,
        pixel_array=regions.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        content_label="EVIDENCE",
        content_description="Region of evidence, no outline of a tumor. Research use only.",
        series_description=f"{MAKER} regions (research use only)",
        **_geometry(kept),
        **series.object_options("SEG", 5),
    )
    return [made]


def captures(series: JudgedSeries, *, limits: ReadLimits = ReadLimits()) -> list[Dataset]:
    """Return images of the peak and of the next strongest positive slices, drawn and lettered."""
    others = sorted(
        (s for s in series.slices if s.is_positive and s is not series.peak),
        key=lambda s: -(s.prediction.tumor_probability or 0.0),
    )
    chosen = [series.peak, *others[: MAX_CAPTURES - 1]] if series.shows_evidence else [series.peak]
    return [
        _capture(series, judged, number, limits) for number, judged in enumerate(chosen, start=1)
    ]


def _capture(series: JudgedSeries, judged: JudgedSlice, number: int, limits: ReadLimits) -> Dataset:
    assert judged.header.orientation is not None
    sides = side_letters(judged.header.orientation)
    image = SCImage.from_ref_dataset(
        ref_dataset=judged.dataset,
        pixel_array=draw_capture(series, judged, limits=limits),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=(sides["right"], sides["bottom"]),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=f"{MAKER} captures (research use only)",
        **series.object_options("SC", 3, instance=number),
    )
    image.copy_patient_and_study_information(judged.dataset)
    image.BodyPartExamined = judged.dataset.BodyPartExamined
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    image.DerivationDescription = "Slice with the evidence for a tumor drawn over it"
    image.SourceImageSequence = [_reference(judged)]
    return image


def _reference(judged: JudgedSlice) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = judged.dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = judged.dataset.SOPInstanceUID
    if judged.frame_numbers:
        item.ReferencedFrameNumber = judged.frame_numbers
    return item


def draw_capture(
    series: JudgedSeries, judged: JudgedSlice, *, limits: ReadLimits = ReadLimits()
) -> NDArray[np.uint8]:
    """Draw a slice beside itself under its evidence, with words above and below: [h, w, 3] RGB."""
    scan = read_scan(judged.header.path, frame=judged.header.frame, limits=limits)
    gray = gray_levels(apply_window(scan, series.bundle.spec).pixels)
    size = _capture_size(gray.shape, judged.header.spacing_mm or (1.0, 1.0))
    plain = cv2.cvtColor(cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    if not series.shows_evidence:
        return _lettered(np.asarray(plain, np.uint8), series, judged)
    region = strongest_region(judged.evidence).astype(np.uint8)
    over = colored_evidence(gray, judged.evidence)
    over = cv2.cvtColor(cv2.resize(over, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB)
    outline, _ = cv2.findContours(
        cv2.resize(region, size, interpolation=cv2.INTER_NEAREST),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
    )
    cv2.drawContours(over, outline, -1, (255, 255, 255), 1)
    return _lettered(np.hstack([plain, over]).astype(np.uint8), series, judged)


def _capture_size(shape: Sequence[int], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """Return width and height with square pixels, and so large that words can be read."""
    height, width = shape[0] * spacing_mm[0], shape[1] * spacing_mm[1]
    scale = max(MIN_CAPTURE_PX, *shape) / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _lettered(
    image: NDArray[np.uint8], series: JudgedSeries, judged: JudgedSlice
) -> NDArray[np.uint8]:
    """Add two lines of words above an image, and two below; a narrow one is put in the middle."""
    lacking = max(0, MIN_WORDS_PX - image.shape[1])
    image = np.pad(image, ((0, 0), (lacking // 2, lacking - lacking // 2), (0, 0)))
    above, below = _words(series, judged), [BURNED_IN, f"{MAKER} {series.bundle.version}"]
    bands = [np.zeros((BAND_PX * 2, image.shape[1], 3), np.uint8) for _ in range(2)]
    for band, lines in zip(bands, (above, below), strict=True):
        for row, line in enumerate(lines):
            place = (8, BAND_PX * row + 18)
            cv2.putText(
                band, line, place, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, (255, 255, 255), 1,
                cv2.LINE_AA,
            )  # fmt: skip
    return np.vstack([bands[0], image, bands[1]])


def _words(series: JudgedSeries, judged: JudgedSlice) -> list[str]:
    answer = series.answer
    if not series.shows_evidence:
        return ["Series out of scope: no answer", "; ".join(answer.reasons)[:90]]
    kind = f" ({answer.type})" if answer.type else ""
    own = judged.prediction.tumor_probability
    known = "" if own is None else f", tumor probability {own:.3f}"
    return [
        f"Series: {answer.decision}{kind}, {describe_value(answer)}",
        f"Slice {judged.number} of {answer.slices}{known}; right: evidence for a tumor",
    ]


def _geometry(slices: Sequence[JudgedSlice]) -> dict[str, Any]:
    """Return where slices lie, for highdicom: as their headers say, one plane a slice."""
    first = slices[0].header
    assert first.spacing_mm is not None
    assert first.orientation is not None
    thickness = float(slices[0].dataset.SliceThickness)
    return {
        "pixel_measures": PixelMeasuresSequence(first.spacing_mm, slice_thickness=thickness),
        "plane_orientation": PlaneOrientationSequence("PATIENT", first.orientation),
        "plane_positions": [
            PlanePositionSequence("PATIENT", s.header.corner or ()) for s in slices
        ],
    }


def _as_whole_numbers(
    images: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.uint16], float, float]:
    """Return images as 16 bits, with the slope and intercept that bring their values back."""
    low, high = min(float(i.min()) for i in images), max(float(i.max()) for i in images)
    slope = (high - low) / MAX_STORED or 1.0
    whole = np.empty((len(images), *images[0].shape), np.uint16)
    for number, image in enumerate(images):
        whole[number] = np.clip(np.rint((image.astype(np.float64) - low) / slope), 0, MAX_STORED)
    return whole, slope, low
