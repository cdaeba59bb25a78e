"""The same slice as PNG, DICOM and NIfTI is prepared alike and gets the same answer."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.dicom_files import dicom_bytes, slice_dataset
from support.nifti_files import nifti_bytes

from tumorlens.images.listing import list_series
from tumorlens.images.readers import find_scans, read_scan, read_scan_bytes
from tumorlens.inputs.prepare import apply_window, prepare
from tumorlens.labels import given_modality, tumor_probability
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.records import Modality, Scan
from tumorlens.study.phantom import draw_phantom

MAX_GRAY, MAX_PROBABILITY = 1, 0.01
REAL = Path(os.environ.get("TUMORLENS_DATA", "/nowhere")) / "dicom"
KINDS: list[tuple[Modality, str]] = [
    (modality, finding) for modality in ("ct", "mri") for finding in ("healthy", "glioma")
]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("tumorlens-small")


def drawn(modality: Modality, finding: str, seed: int) -> NDArray[np.int16]:
    """Draw a head in the units of a scanner: HU with noise, or values of MR."""
    gray = draw_phantom(modality, finding, seed=seed, side=256).pixels.astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 3, gray.shape)
    values = np.where(gray < 8, -1000, gray / 255 * 80) if modality == "ct" else gray * 9
    return np.rint(np.clip(values + noise, -1024 if modality == "ct" else 0, None)).astype(np.int16)


def as_png(values: NDArray[np.int16], modality: Modality) -> bytes:
    """Export CT through the window, in 8 bits, and MR as it is, in 16."""
    file = io.BytesIO()
    seen = apply_window(Scan(values.astype(np.float32), "a", modality)).pixels
    Image.fromarray(seen.astype(np.uint8 if modality == "ct" else np.uint16)).save(file, "PNG")
    return file.getvalue()


def forms(values: NDArray[np.int16], modality: Modality) -> Iterator[Scan]:
    """Yield the slice as it is read from a PNG, a DICOM and a NIfTI file."""
    dataset = slice_dataset(values, modality="CT" if modality == "ct" else "MR")
    volume = values.T[::-1, ::-1, None]  # in RAS, of one slice
    files = {
        "a.png": as_png(values, modality),
        "a.dcm": dicom_bytes(dataset),
        "a.nii": nifti_bytes(np.ascontiguousarray(volume)),
    }
    for name, data in files.items():
        yield read_scan_bytes(data, source=name)


def check(predictor: Predictor, values: NDArray[np.int16], modality: Modality) -> None:
    scans = list(forms(values, modality))
    squares = [prepare(scan, predictor.bundle.spec).pixels.astype(int) for scan in scans]
    assert max(np.abs(square - squares[0]).max() for square in squares) <= MAX_GRAY
    answers = predictor.predict_scans(scans)
    png = np.array([answers[0].atoms[atom] for atom in predictor.bundle.atoms])
    for scan, answer in zip(scans, answers, strict=True):
        # A PNG does not say what DICOM and Hounsfield units say.
        expected = tumor_probability(given_modality(png, scan.modality))
        assert answer.tumor_probability == pytest.approx(float(expected), abs=MAX_PROBABILITY)


@pytest.mark.parametrize(("modality", "finding"), KINDS)
def test_a_drawn_slice_is_the_same_in_every_format(predictor, modality, finding):
    for seed in range(2):
        check(predictor, drawn(modality, finding, seed), modality)


@pytest.mark.skipif(not REAL.is_dir(), reason="TUMORLENS_DATA names no scans")
@pytest.mark.parametrize(("folder", "modality"), [("ge_head_ct", "ct"), ("brain_t1", "mri")])
def test_a_real_slice_is_the_same_in_every_format(predictor, folder, modality):
    (series,) = list_series(find_scans([REAL / folder])).series
    for header in series.slices[2:-2:6]:
        values = read_scan(header.path, frame=header.frame).pixels
        assert (values == np.rint(values)).all()
        check(predictor, values.astype(np.int16), modality)
