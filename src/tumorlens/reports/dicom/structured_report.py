"""The answer as a structured report (TID 1500), and the peak slice as a key object."""

from collections.abc import Sequence

import cv2
import numpy as np
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes as dicom_codes

from tumorlens import __version__
from tumorlens.predictions.document import NOTICE
from tumorlens.predictions.heatmaps import strongest_region
from tumorlens.predictions.series_answer import SeriesPrediction, describe_series
from tumorlens.reports.dicom import codes
from tumorlens.reports.dicom.source import MAKER, JudgedSeries, JudgedSlice

SIMPLIFIED_PX = 0.5  # how far an outline may lie from the edge of its region


def structured_report(series: JudgedSeries, *, types: bool = False) -> Dataset:
    """Return a Comprehensive 3D SR of the series; tumor types as codes only with `types`."""
    modality = series.slices[0].header.modality or "mri"
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(series)),
        procedure_reported=codes.PROCEDURES[modality],
        title=codes.REPORT_TITLE,
        imaging_measurements=[_series_group(series, types), *_slice_groups(series)],
    )
    return Comprehensive3DSR(
        evidence=series.datasets,
        content=report,
        is_complete=True,
        series_description=f"{MAKER} report (research use only)",
        **series.object_options("SR", 1),
    )


def key_object(series: JudgedSeries, others: Sequence[Dataset] = ()) -> Dataset:
    """Return a Key Object Selection of the peak slice, and of `others` that show it."""
    chosen = [series.peak.dataset, *others]
    description = f"Strongest evidence for a tumor: slice {series.peak.number}. {NOTICE}"
    document = KeyObjectSelectionDocument(
        evidence=chosen,
        content=KeyObjectSelection(
            document_title=codes.KEY_OBJECT_TITLE,
            referenced_objects=chosen,
            observer_device_context=_device(series),
            description=description,
        ),
        series_description=f"{MAKER} key slice (research use only)",
        **series.object_options("KO", 4),
    )
    document.copy_patient_and_study_information(series.peak.dataset)
    return document


def _device(series: JudgedSeries) -> ObserverContext:
    return ObserverContext(
        observer_type=dicom_codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=series.uid("device"),
            name=MAKER,
            manufacturer_name=MAKER,
            model_name=series.bundle.name,
            serial_number=series.bundle.sha256,
        ),
    )


def _algorithm(series: JudgedSeries, threshold: float) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=series.bundle.name,
        version=__version__,
        parameters=[f"bundle sha256 {series.bundle.sha256}", f"threshold {threshold!r}"],
    )


def _series_group(series: JudgedSeries, types: bool) -> MeasurementsAndQualitativeEvaluations:
    """Return the group of the whole series: probability, decision, type where it is coded."""
    answer = series.answer
    evaluations = [QualitativeEvaluation(codes.PRESENCE, codes.DECISIONS[answer.decision])]
    if types and answer.type in codes.TYPES:
        evaluations.append(QualitativeEvaluation(codes.TYPE, codes.TYPES[answer.type]))
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(series.uid("track", "series"), "series"),
        finding_type=codes.NEOPLASM,
        finding_sites=[FindingSite(codes.BRAIN)],
        algorithm_id=_algorithm(series, answer.threshold),
        source_images=[
            SourceImageForMeasurementGroup.from_source_image(s.dataset, s.frame_numbers)
            for s in series.slices
        ],
        measurements=_probability(answer.value if series.shows_evidence else None),
        qualitative_evaluations=evaluations,
    )
    comment = TextContentItem(codes.COMMENT, _in_words(answer), RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(comment)
    return group


def _in_words(answer: SeriesPrediction) -> str:
    """Return what no code holds: the decision as elsewhere, the type, how the figure came about."""
    return f"{describe_series(answer)}. {NOTICE}"


def _slice_groups(
    series: JudgedSeries,
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Return a group with its region for each slice that was called a tumor."""
    found = ((s, _outline(s)) for s in series.slices if s.is_positive)
    return [
        _slice_group(series, s, outline)
        for s, outline in found
        if outline is not None and series.shows_evidence
    ]


def _slice_group(
    series: JudgedSeries, judged: JudgedSlice, outline: NDArray[np.float64]
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    name = f"slice {judged.number}"
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(series.uid("track", judged.number), name),
        referenced_region=ImageRegion(
            graphic_type="POLYLINE",
            graphic_data=outline,
            source_image=SourceImageForRegion.from_source_image(
                judged.dataset, judged.frame_numbers
            ),
        ),
        finding_type=codes.NEOPLASM,
        finding_sites=[FindingSite(codes.BRAIN)],
        algorithm_id=_algorithm(series, series.bundle.threshold),
        measurements=_probability(judged.prediction.tumor_probability),
        qualitative_evaluations=[
            QualitativeEvaluation(codes.PRESENCE, codes.DECISIONS["tumor"]),
        ],
    )


def _probability(value: float | None) -> list[Measurement]:
    known = [] if value is None else [value]
    return [Measurement(codes.PROBABILITY, float(p), codes.NO_UNITS) for p in known]


def _outline(judged: JudgedSlice) -> NDArray[np.float64] | None:
    """Return a closed outline of the strongest evidence, [n, 2] as column, row; None: no place.

    DICOM counts from the corner of the first pixel, so the center of a pixel lies at a half.
    """
    region = strongest_region(judged.evidence).astype(np.uint8)
    if not region.any():
        return None
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=len)
    points = cv2.approxPolyDP(longest, SIMPLIFIED_PX, closed=True)[:, 0].astype(np.float64) + 0.5
    if len(points) < 3:  # a line of pixels: go around it
        (x0, y0), (x1, y1) = points.min(0) - 0.5, points.max(0) + 0.5
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return np.vstack([points, points[:1]])
