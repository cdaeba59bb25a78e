"""What a de-identified DICOM file keeps, and how each kept value is cleaned.

A keep-list: what is not named here goes, at any depth, known or private. No kept value is passed
on as it stands: numbers must be numbers, texts keep words of imaging alone, unique ids become
keyed hashes, and dates move by a keyed offset of the patient. PS3.15 Table E.1-1 is the
cross-check.
"""

import hashlib
import hmac
import math
import re
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tumorlens.errors import ImageError
from tumorlens.images.dicom_header import MODALITY_OF_STORAGE, diffusion_b_value, parsing

if TYPE_CHECKING:
    from pydicom import Dataset

MIN_KEY_BYTES = 32
MIN_SHIFT_DAYS, MAX_SHIFT_DAYS = 365, 3650  # back in time
METHOD = "tumorlens keep-list; keyed ids; dates shifted"
# PS3.16 CID 7050: the profile, and the options whose rules are kept to.
METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NUMBERS = _names(
    """
    SeriesNumber AcquisitionNumber InstanceNumber
    KVP XRayTubeCurrent ExposureTime Exposure GantryDetectorTilt ReconstructionDiameter
    DataCollectionDiameter SpiralPitchFactor
    RepetitionTime EchoTime EffectiveEchoTime InversionTime FlipAngle EchoTrainLength EchoNumbers
    NumberOfAverages MagneticFieldStrength PixelBandwidth SpacingBetweenSlices AcquisitionMatrix
    DiffusionBValue DiffusionGradientOrientation
    TemporalPositionIdentifier NumberOfTemporalPositions TemporalPositionIndex
    InStackPositionNumber DimensionIndexValues DimensionIndexPointer FunctionalGroupPointer
    FrameAcquisitionNumber FrameAcquisitionDuration
    ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SliceLocation
    SamplesPerPixel Rows Columns NumberOfFrames BitsAllocated BitsStored HighBit
    PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit RescaleIntercept RescaleSlope
    WindowCenter WindowWidth LossyImageCompressionRatio LUTDescriptor LUTData
    """
)
CODES = _names(  # a value is one of TERMS
    """
    Modality ImageType FrameType ComplexImageComponent BodyPartExamined PatientPosition
    ScanningSequence SequenceVariant ScanOptions MRAcquisitionType AcquisitionContrast
    InPlanePhaseEncodingDirection PhotometricInterpretation PixelPresentation
    VolumetricProperties VolumeBasedCalculationTechnique RescaleType ModalityLUTType
    VOILUTFunction LossyImageCompression LossyImageCompressionMethod BurnedInAnnotation
    """
)
TEXTS = _names(  # free text, of which the TERMS stay
    "SeriesDescription ProtocolName SequenceName Manufacturer ConvolutionKernel"
)
UIDS = _names(
    """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID
    DimensionOrganizationUID
    """
)
TIMES = {  # each date with its time of day; a time alone says nothing once its day is gone
    "StudyDate": "StudyTime",
    "SeriesDate": "SeriesTime",
    "AcquisitionDate": "AcquisitionTime",
    "ContentDate": "ContentTime",
}
MOMENTS = _names("AcquisitionDateTime FrameAcquisitionDateTime FrameReferenceDateTime")
SEQUENCES = _names(
    """
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence
    PlanePositionSequence PlaneOrientationSequence PixelValueTransformationSequence
    FrameVOILUTSequence FrameContentSequence MRImageFrameTypeSequence CTImageFrameTypeSequence
    MREchoSequence MRAveragesSequence MRDiffusionSequence DiffusionGradientDirectionSequence
    MRTimingAndRelatedParametersSequence DimensionOrganizationSequence DimensionIndexSequence
    ModalityLUTSequence
    """
)
SHORT_TEXTS = frozenset({"SequenceName", "ConvolutionKernel"})  # of 16 characters
STACK = "StackID"  # a text that is a small number, or goes
CONTRAST = "ContrastBolusAgent"  # that there was one is kept, its text is not
# Attributes that CT and MR images must have, and that stay without a value.
EMPTIED = ("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "AccessionNumber",
           "StudyID", "PositionReferenceIndicator")  # fmt: skip
KEPT = (
    NUMBERS
    | CODES
    | TEXTS
    | UIDS
    | MOMENTS
    | SEQUENCES
    | {CONTRAST, STACK, *TIMES, *TIMES.values()}
)
_REPLACED = {**dict.fromkeys(EMPTIED, "emptied"), "PatientName": "hashed", "PatientID": "hashed"}
_NO_CONTRAST = frozenset({"", "NO", "NONE", "N", "WITHOUT", "UNENHANCED"})
TERMS = _names(
    """
    CT MR MONOCHROME1 MONOCHROME2 YES NO 00 01 LINEAR LINEAR_EXACT SIGMOID HU US COLOR MIXED
    MONOCHROME ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15
    ORIGINAL DERIVED PRIMARY SECONDARY AXIAL SAGITTAL CORONAL OBLIQUE LOCALIZER OTHER NORM DIS2D
    DIS3D ND FM FFE SE GR IR EP RM FR TFE TSE M_SE M_FFE M_IR M_TSE M_TFE M P R I MAGNITUDE PHASE
    REAL IMAGINARY PROJECTION MIP MINIP MPR MOSAIC ADC FA PHASE_MAP ADD AVERAGE VOLUME SAMPLED
    DISTORTED MAXIMUM_IP MINIMUM_IP NONE UNKNOWN T1 T2 T2* PD FLAIR STIR DIFFUSION PROTON_DENSITY
    FLUID_ATTENUATED TOF BOLD SWI SWAN PERFUSION DWI DTI TRACE TRACEW ASL CBF CBV
    HEAD BRAIN SKULL NECK HEADNECK HFS HFP HFDR HFDL FFS FFP FFDR FFDL
    SK SP OSP SS MP MTC TRSS 2D 3D 4D PER RG CG PPG FC PFF PFP FS ROW COL
    AX TRA TRANS TRANSVERSE TRANSVERSAL SAG COR OBL T1W T2W PDW T1C T1CE T1GD T1WI T2WI T2STAR CE
    GD POST PRE CONTRAST ENHANCED UNENHANCED NATIVE FATSAT FAT SAT WATER IN OUT MPRAGE SPGR BRAVO
    FSPGR VIBE SPACE CUBE VISTA FSE FLASH GRE EPI TIR TIRM DARK FLUID ISO WB WHOLE HEMO HAEMO
    ANAT SCOUT SURVEY SPIRAL SEQUENTIAL HELICAL BONE SOFT TISSUE STANDARD STD STD+ DETAIL LUNG
    SMOOTH BLOOD TUMOR THIN THICK AXIALS CCT NCCT CTA MRA
    GE MEDICAL SYSTEMS SIEMENS HEALTHINEERS HEALTHCARE PHILIPS TOSHIBA CANON HITACHI HYPERFINE
    FUJIFILM SHIMADZU UIH NEUSOFT MINDRAY ESAOTE BRUKER
    """
)
# Names of kernels and of pulse sequences as makers form them: H31s, FC68, tfl3d1, b1000.
_MADE_NAME = re.compile(
    r"[A-Z]{1,2}\d{2}[a-z]?|\*?(tfl|tse|tir|spc|se|fl|ep|gr)[23]d\d{0,2}|b\d{1,4}"
)
_DATE = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6}))?")
_MOMENT = re.compile(r"(\d{8})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?(?:[+-]\d{4})?")


@dataclass(frozen=True)
class Pseudonyms:
    """What stands for ids and dates: keyed hashes, the same for the same key."""

    key: bytes = field(repr=False)

    def _digest(self, purpose: str, value: str) -> bytes:
        return hmac.digest(self.key, f"{purpose}\0{value}".encode(), hashlib.sha256)

    def uid(self, value: str) -> str:
        """Return a unique id in the arc of UUIDs (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', value)[:16], version=4).int}"

    def patient(self, identity: str) -> str:
        """Return the name and id of a patient."""
        return f"P{self._digest('patient', identity).hex()[:16].upper()}"

    def name(self, value: str) -> str:
        """Return part of a file's name."""
        return self._digest("name", value).hex()[:16]

    def shift(self, identity: str) -> timedelta:
        """Return how far all dates of a patient move, to the second; always back."""
        span = (MAX_SHIFT_DAYS - MIN_SHIFT_DAYS) * 86400
        seconds = int.from_bytes(self._digest("dates", identity)[:8], "big") % span
        return -timedelta(days=MIN_SHIFT_DAYS, seconds=seconds)


@dataclass(frozen=True)
class Change:
    """What was done to the values of one attribute; private ones have no keyword."""

    tag: str
    keyword: str
    action: str  # removed, emptied, cleaned, hashed, shifted


Changes = Counter[Change]


def patient_identity(dataset: "Dataset") -> str:
    """Return what tells a patient apart: the id, else the name, else the study."""
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        if text := str(_value(dataset, keyword) or "").strip():
            return f"{keyword} {text}"
    return ""


def cleaned(dataset: "Dataset", pseudonyms: Pseudonyms, changes: Changes) -> "Dataset":
    """Return the data set that is kept of a CT or MR image, without its pixels.

    `changes` counts what was done. The data set itself is left as it is.
    """
    identity = patient_identity(dataset)
    kept = _kept(dataset, _Cleaning(pseudonyms, pseudonyms.shift(identity), changes))
    b_value = diffusion_b_value(dataset)
    if b_value is not None and "DiffusionBValue" not in kept:
        kept.DiffusionBValue = b_value  # makers keep it in attributes of their own
    kept.PatientName = kept.PatientID = pseudonyms.patient(identity)
    for keyword in EMPTIED:
        setattr(kept, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "Manufacturer"):
        if keyword not in kept:
            setattr(kept, keyword, "")
    _state_method(kept)
    return kept


def _state_method(kept: "Dataset") -> None:
    """Note in the file what was done to it (PS3.15 E.1.1)."""
    from pydicom import Dataset

    kept.PatientIdentityRemoved = "YES"
    kept.DeidentificationMethod = METHOD
    kept.LongitudinalTemporalInformationModified = "MODIFIED"
    codes: list[Dataset] = []
    for value, meaning in METHOD_CODES:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    kept.DeidentificationMethodCodeSequence = codes


@dataclass(frozen=True)
class _Cleaning:
    pseudonyms: Pseudonyms
    shift: timedelta
    changes: Changes

    def count(self, tag: Any, action: str) -> None:
        from pydicom.datadict import keyword_for_tag

        keyword = "" if tag.is_private else keyword_for_tag(tag)
        self.changes[Change(str(tag).replace(" ", "").upper(), keyword, action)] += 1


def _kept(dataset: "Dataset", cleaning: _Cleaning) -> "Dataset":
    """Return one level of a data set, cleaned; items of kept sequences by the same rules."""
    from pydicom import Dataset
    from pydicom.datadict import keyword_for_tag

    kept = Dataset()
    _shift_times(dataset, kept, cleaning)
    for tag in dataset.keys():  # noqa: SIM118 -- iterating would parse what goes anyway
        keyword = "" if tag.is_private else keyword_for_tag(tag)
        if keyword in TIMES or keyword in TIMES.values() or keyword == "PixelData":
            continue
        value = _value(dataset, tag) if keyword in KEPT else None
        if keyword in SEQUENCES:
            setattr(kept, keyword, [_kept(item, cleaning) for item in value or []])
            continue
        clean = _cleaner(keyword, cleaning)
        if clean and value in (None, ""):
            _set(kept, dataset, keyword, None)  # some attributes must be there, if without a value
            continue
        new = clean(value) if clean else None
        if new is None or not _set(kept, dataset, keyword, new):
            cleaning.count(tag, _REPLACED.get(keyword, "removed"))
        elif keyword in UIDS and new != value:
            cleaning.count(tag, "hashed")
        elif keyword in MOMENTS:
            cleaning.count(tag, "shifted")
        elif keyword in CODES | TEXTS | {CONTRAST} and _joined(new) != _joined(value):
            cleaning.count(tag, "cleaned")
    return kept


def _cleaner(keyword: str, cleaning: _Cleaning) -> Callable[[Any], Any] | None:
    """Return what cleans the values of an attribute; None: nothing of it is kept."""
    rows: tuple[tuple[frozenset[str], Callable[[Any], Any]], ...] = (
        (NUMBERS, _numbers),
        (CODES, _codes),
        (TEXTS, lambda value: _words(value, 16 if keyword in SHORT_TEXTS else 64)),
        (frozenset({STACK}), _short_number),
        (UIDS, lambda value: _mapped_uid(keyword, str(value), cleaning.pseudonyms)),
        (MOMENTS, lambda value: _shifted_moment(str(value), cleaning.shift)),
        (frozenset({CONTRAST}), _contrast),
    )
    return next((clean for keywords, clean in rows if keyword in keywords), None)


def _value(dataset: "Dataset", name: Any) -> Any:
    """Return the value of an element; None where it lacks or is malformed."""
    try:
        with parsing(str(name)):
            return dataset[name].value if name in dataset else None
    except ImageError:
        return None


def _set(kept: "Dataset", dataset: "Dataset", keyword: str, value: Any) -> bool:
    """Set a value under the type that the standard gives it; tell whether it fits."""
    from pydicom import DataElement
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    tag, vr = Tag(keyword), dictionary_VR(keyword)
    if " or " in vr:  # of whichever type the pixels are
        own = dataset[keyword].VR
        vr = (
            own if own in vr.split(" or ") else "SS" if dataset.get("PixelRepresentation") else "US"
        )
    try:
        with parsing(keyword):
            kept[keyword] = DataElement(tag, vr, value)
    except ImageError:
        return False
    return True


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _joined(value: Any) -> str:
    return "\\".join(str(part) for part in _several(value))


def _numbers(value: Any) -> Any:
    """Return numbers as they were written; None where one is none."""
    if isinstance(value, bytes):  # a table of gray values
        return value
    values = _several(value)
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in values):
        return None
    # Decimal strings of more than 16 characters are common, and not allowed.
    short = [number if len(str(number)) <= 16 else _shortened(number) for number in values]
    return short if len(short) > 1 else short[0]


def _shortened(number: float) -> Any:
    from pydicom.valuerep import DSfloat

    return DSfloat(float(number), auto_format=True) if isinstance(number, DSfloat) else number


def _codes(value: Any) -> list[str] | None:
    """Return the values that are terms of imaging, in their order."""
    return [code for code in map(str, _several(value)) if code.strip().upper() in TERMS] or None


def _words(value: Any, max_chars: int) -> str | None:
    """Return the words of a free text that are terms of imaging; a letter alone may be a name's."""
    words = [word for word in re.split(r"[^\w+*]+|_", _joined(value)) if len(word) > 1]
    known = [word for word in words if word.upper() in TERMS or _MADE_NAME.fullmatch(word)]
    return " ".join(known)[:max_chars].strip() or None


def _contrast(value: Any) -> str | None:
    return None if str(value).strip().upper() in _NO_CONTRAST else "CONTRAST"


def _short_number(value: Any) -> str | None:
    return str(value) if str(value).isdecimal() and len(str(value)) <= 3 else None


def _mapped_uid(keyword: str, value: str, pseudonyms: Pseudonyms) -> str:
    is_class = keyword == "SOPClassUID" and value in MODALITY_OF_STORAGE
    return value if is_class else pseudonyms.uid(value.strip())


def _shift_times(dataset: "Dataset", kept: "Dataset", cleaning: _Cleaning) -> None:
    """Move each date together with its time of day."""
    from pydicom.tag import Tag

    for date, time in TIMES.items():
        day, clock = str(_value(dataset, date) or ""), str(_value(dataset, time) or "")
        # Without a time of its own a date moves as the study's does: they stay on one day.
        moment = _moment(day, clock or str(_value(dataset, "StudyTime") or ""), cleaning.shift)
        with_time = moment is not None and _TIME.fullmatch(clock.strip()) is not None
        if moment is not None:
            setattr(kept, date, f"{moment:%Y%m%d}")
        if moment is not None and with_time:
            setattr(kept, time, f"{moment:%H%M%S.%f}")
        for keyword, is_kept in ((date, moment is not None), (time, with_time)):
            if keyword in dataset:
                cleaning.count(Tag(keyword), "shifted" if is_kept else "removed")


def _moment(day: str, clock: str, shift: timedelta) -> datetime | None:
    """Return a date, and its time of day where there is one, moved; None where it is none."""
    date = _DATE.fullmatch(day.strip())
    time = _TIME.fullmatch(clock.strip())
    if date is None:
        return None
    hours, minutes, seconds, fraction = time.groups() if time else (0, 0, 0, None)
    micros = int((fraction or "0").ljust(6, "0"))
    try:
        year, month, number = map(int, date.groups())
        start = datetime(year, month, number, int(hours), int(minutes or 0), int(seconds or 0))
        moved = start + timedelta(microseconds=micros) + shift
    except (ValueError, OverflowError):
        return None
    return moved if moved.year >= 1000 else None


def _shifted_moment(text: str, shift: timedelta) -> str | None:
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    day, *clock, fraction = found.groups()
    moment = _moment(day, "".join(part or "00" for part in clock) + f".{fraction or 0}", shift)
    return None if moment is None else f"{moment:%Y%m%d%H%M%S.%f}"
