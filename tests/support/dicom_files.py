"""DICOM files made for tests: a slice, its tags, any transfer syntax."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, Sequence
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
SAGITTAL = [0, 1, 0, 0, 0, -1]


def slice_dataset(pixels: NDArray[Any], *, modality: str = "MR", **tags: Any) -> Dataset:
    """Return one classic slice with the tags that scanners write; `tags` change or add some."""
    signed = pixels.dtype.kind == "i"
    bits = pixels.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.Modality = modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesDescription = "T1 axial"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelSpacing = [0.5, 0.5]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = AXIAL, [0, 0, 0]
    dataset.InstanceNumber = 1
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def enhanced_dataset(volume: NDArray[Any], **tags: Any) -> Dataset:
    """Return a file of several frames that lie in no order, each with a slope of its own."""
    frames = len(volume)
    dataset = slice_dataset(volume, NumberOfFrames=frames, **tags)
    dataset.SOPClassUID = EnhancedMRImageStorage
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = dataset.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = dataset.PixelSpacing, 4
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for frame in range(frames):
        group, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, -4.0 * ((frame + 1) % frames)]
        values.RescaleSlope, values.RescaleIntercept = 1 + frame, 0
        group.PlanePositionSequence = Sequence([position])
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    del dataset.ImageOrientationPatient, dataset.ImagePositionPatient, dataset.PixelSpacing
    return dataset


def dicom_bytes(dataset: Dataset, *, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return the whole file; its pixels are encoded where the transfer syntax compresses."""
    file = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    if UID(syntax).is_encapsulated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(syntax)
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def with_codestream(dataset: Dataset, codestream: bytes, syntax: str) -> bytes:
    """Return the whole file around pixels that were encoded elsewhere."""
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def without_preamble(dataset: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    """Return the bare data set, as old archives keep it."""
    file = io.BytesIO()
    del dataset.file_meta
    dataset.save_as(file, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return file.getvalue()


def write_series(folder: Path, volume: NDArray[Any], *, step: float = 5.0, **tags: Any) -> Path:
    """Write a volume, [slices, rows, columns], as axial slices, under names in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(0).permutation(len(volume))
    for index, pixels in enumerate(volume):
        own = {"ImagePositionPatient": [0, 0, step * index], "InstanceNumber": int(names[index])}
        dataset = slice_dataset(pixels, **{**own, **tags})
        (folder / f"IM{names[index]:04d}").write_bytes(dicom_bytes(dataset))
    return folder
