"""Phantoms of whole heads: a stack of axial slices that fit, as a DICOM series or a NIfTI volume.

One drawn slice is scaled by the outline of a head from its base to its top, so that anatomy and
tumor go on from slice to slice; the tumor lies in as many slices as it is wide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.files import replacing, write_file
from tumorlens.images.dicom import AIR_HU
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, silent
from tumorlens.study.phantom.drawing import CLASSES, README, draw_clean, numbered_seed

if TYPE_CHECKING:
    from pydicom import Dataset

SLICES, STEP_MM = 24, 6.0
FIELD_MM = 230.0  # side of a slice
MR_SCALE = 4  # of a gray level, as scanners have more than 256


@dataclass(frozen=True)
class PhantomVolume:
    """A drawn head in axial slices from base to top; CT in Hounsfield units."""

    voxels: NDArray[np.int16]  # [slices, rows, columns]
    mask: NDArray[np.bool_]  # the same shape; the tumor without edema
    modality: str
    sequence: str
    pixel_mm: float


def draw_volume(modality: str, finding: str, *, seed: int, side: int = 192) -> PhantomVolume:
    """Draw one head; all but the tumor depends on the seed alone."""
    options = {"seed": seed, "plane": "axial", "side": side}
    ill = draw_clean(modality, finding, **options)
    # An axial slice that shows the sella passes through it: its healthy twin is drawn as such.
    well = (
        ill if finding in ("healthy", "pituitary") else draw_clean(modality, "healthy", **options)
    )
    pixel_mm = FIELD_MM / side
    rng = np.random.default_rng([seed, SLICES])
    center = float(rng.uniform(0.35, 0.65)) * SLICES
    reach = max(1.0, np.sqrt(ill.mask.sum() / np.pi) * pixel_mm / STEP_MM)
    grays, masks = [], []
    for number in range(SLICES):
        shows_tumor = abs(number - center) <= reach
        drawn = ill if shows_tumor else well
        scale = _outline(2 * number / (SLICES - 1) - 1)
        grays.append(_scaled(drawn.pixels, scale))
        masks.append(_scaled(ill.mask.astype(np.uint8) * 255 * shows_tumor, scale) > 127)
    gray = np.stack(grays)
    voxels = _hounsfield(gray) if modality == "ct" else gray.astype(np.int16) * np.int16(MR_SCALE)
    return PhantomVolume(voxels, np.stack(masks), modality, ill.sequence, pixel_mm)


def _outline(level: float) -> float:
    """Return how wide a head is from its base, -1, to its top, 1, as a share of its widest."""
    share = 0.5 if level < 0 else 0.93
    return float(np.sqrt(1 - (share * level) ** 2))


def _scaled(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    middle = (pixels.shape[0] - 1) / 2
    matrix = np.array([[scale, 0, middle * (1 - scale)], [0, scale, middle * (1 - scale)]])
    return np.asarray(cv2.warpAffine(pixels, matrix, pixels.shape[::-1]), np.uint8)


def _hounsfield(gray: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the numbers that look so through the usual window."""
    center, width = InputSpec.ct_window
    numbers = np.rint(gray * (width / 255) + center - width / 2)
    return np.where(gray == 0, AIR_HU, numbers).astype(np.int16)


def write_dicom(volume: PhantomVolume, folder: Path, *, seed: int) -> None:
    """Write a series, a file a slice, into `folder`, and its tumor as a segmentation beside it."""
    from pydicom.uid import generate_uid

    def uid(*parts: object) -> str:
        return generate_uid(entropy_srcs=["tumorlens phantom", str(seed), *map(str, parts)])

    series = []
    for number, pixels in enumerate(volume.voxels, start=1):
        dataset = slice_dataset(
            pixels, number=number, instance=uid("slice", number), series=uid("series"),
            study=uid("study"), frame=uid("frame"), modality=volume.modality,
            pixel_mm=volume.pixel_mm,
        )  # fmt: skip
        dataset.PatientID, dataset.SeriesDescription = f"phantom-{seed}", volume.sequence
        with replacing(folder / f"IM{number:04d}.dcm") as partial:
            dataset.save_as(partial, enforce_file_format=True)
        series.append(dataset)
    if volume.mask.any():
        made = _segmentation(volume, series, uid("segmentation"), uid("segmented"))
        with replacing(folder.with_name(f"{folder.name}_mask.dcm")) as partial:
            made.save_as(partial, enforce_file_format=True)


def slice_dataset(
    pixels: NDArray[np.int16 | np.uint16],
    *,
    number: int,
    instance: str,
    series: str,
    study: str,
    frame: str,
    modality: str = "mri",
    pixel_mm: float = 1.0,
) -> "Dataset":
    """Return an axial slice, [rows, columns], as DICOM holds it, uncompressed; `number` from 1.

    Instance, series, study and frame of reference are unique identifiers.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

    is_ct = modality == "ct"
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage if is_ct else MRImageStorage
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = instance, series
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = study, frame
    dataset.Modality, dataset.ImageType = "CT" if is_ct else "MR", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.InstanceNumber = "PHANTOM^", "phantom", number
    dataset.PixelSpacing, dataset.SliceThickness = [pixel_mm, pixel_mm], STEP_MM
    edges = (-pixel_mm * (side - 1) / 2 for side in reversed(pixels.shape))
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [*edges, STEP_MM * (number - 1)]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if is_ct:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.add_new("PixelData", "OW", pixels.tobytes())
    return dataset


def _segmentation(
    volume: PhantomVolume, series: "list[Dataset]", series_uid: str, instance_uid: str
) -> "Dataset":
    """Return the tumor as it was drawn, as a DICOM segmentation of the slices."""
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    segment = SegmentDescription(
        segment_number=1,
        segment_label="Tumor",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type="MANUAL",
    )
    for dataset in series:  # what a segmentation copies
        for name in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientSex",
                     "PatientBirthDate", "ReferringPhysicianName"):  # fmt: skip
            setattr(dataset, name, "")
    return Segmentation(
        source_images=series,
        pixel_array=volume.mask.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=series_uid,
        series_number=2,
        sop_instance_uid=instance_uid,
        instance_number=1,
        manufacturer="Tumorlens",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="1",
        series_description="Tumor as drawn",
    )


def write_nifti(volume: PhantomVolume, path: Path) -> None:
    """Write a volume as .nii.gz, and its mask beside it if there is a tumor."""
    import nibabel as nib

    affine = np.diag([-volume.pixel_mm, -volume.pixel_mm, STEP_MM, 1.0])
    affine[:3, 3] = np.array([-1.0, -1.0, 1.0]) * _first_pixel(volume)
    _save(nib.Nifti1Image(volume.voxels.T, affine), path)
    if volume.mask.any():
        mask = path.with_name(path.name.replace(".nii.gz", "_mask.nii.gz"))
        _save(nib.Nifti1Image(volume.mask.T.astype(np.uint8), affine), mask)


def _save(image: object, path: Path) -> None:
    import gzip

    write_file(path, gzip.compress(image.to_bytes(), mtime=0))  # type: ignore[attr-defined]


def _first_pixel(volume: PhantomVolume) -> NDArray[np.float64]:
    """Return the center of the first pixel, in mm to the left, back and head."""
    edge = -volume.pixel_mm * (volume.voxels.shape[1] - 1) / 2
    return np.array([edge, edge, 0.0])


def _write_series(volume: PhantomVolume, stem: Path, seed: int) -> None:
    write_dicom(volume, stem, seed=seed)


def _write_file(volume: PhantomVolume, stem: Path, _seed: int) -> None:
    write_nifti(volume, stem.with_name(f"{stem.name}.nii.gz"))


WRITERS: dict[str, Callable[[PhantomVolume, Path, int], None]] = {
    "dicom": _write_series,
    "nifti": _write_file,
}


def write_volumes(
    out: Path,
    *,
    form: str,
    per_class: int = 40,
    seed: int = 0,
    side: int = 192,
    progress: Progress = silent,
) -> Path:
    """Write `per_class` heads of each class in class folders; `form` is a row of WRITERS."""
    total = per_class * len(CLASSES)
    for done in range(total):
        label, number = CLASSES[done // per_class], done % per_class + 1
        own_seed, modality, finding = numbered_seed(label, number, seed=seed)
        volume = draw_volume(modality, finding, seed=own_seed, side=side)
        WRITERS[form](volume, out / label / f"{label}_{number:04d}", own_seed)
        progress(done + 1, total)
    write_file(out / "README.txt", README)
    return out
