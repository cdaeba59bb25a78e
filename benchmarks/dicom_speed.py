"""Slices per second of DICOM files, from file to answer, and the time of a scan of headers.

    python benchmarks/dicom_speed.py [--slices 200] [--side 512] [--headers 10000]

Drawn CT slices of 16 bits, one file each, in every transfer syntax that can be written here. In
one run on this machine, each way after ten slices to warm up:

- `predict`: from file to answer (`Predictor.predict`, two threads);
- `pydicom`: `dcmread(...).pixel_array` in a loop, the pixels alone and no answer;
- the last row: the same slices as PNG of 8 bits, through `predict`.

The column `ms` is the processor time of a slice in `predict`, which other work on the machine
changes less than the clock.

Then the headers of many small files: `list_series` (what `tumorlens dicom list` does) beside
`dcmread(stop_before_pixels=True)` in a loop. JPEG lossless is written by dcmtk's `dcmcjpeg`, where
that is installed; nothing here writes HTJ2K.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, uid
from pydicom.dataset import FileMetaDataset

from tumorlens.images.listing import list_series
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.settings import Settings
from tumorlens.study.phantom import draw_phantom

THREADS = 2
WARM = 10
KINDS = 8  # different heads; each slice has noise of its own
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
ENCODED = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless)


def main() -> None:
    """Time all ways and print two tables."""
    chosen = _arguments()
    predictor = load_predictor(chosen.bundle, Settings(workers=THREADS))
    print(f"bundle {predictor.bundle.version}, {THREADS} threads of {os.cpu_count()} cores; load "
          f"{os.getloadavg()[0]:.1f}, which should be below 0.5")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        _time_slices(predictor, Path(scratch), chosen.slices + WARM, side=chosen.side)
        _time_headers(Path(scratch) / "headers", chosen.headers)


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--slices", type=int, default=200)
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--headers", type=int, default=10_000)
    arguments.add_argument("--bundle", default="")
    return arguments.parse_args()


def _time_slices(predictor: Predictor, scratch: Path, count: int, *, side: int) -> None:
    slices = list(_slices(count, side))
    print(f"\n{count - WARM} slices of {side} x {side}, 16 bits")
    print(f"{'':34} {'predict/s':>10} {'ms':>6} {'pydicom/s':>10}")
    for name, files in _written(slices, scratch):
        answered, ms = _rate(lambda paths: _answer(predictor, paths), files)
        is_dicom = files[0].suffix == ".dcm"
        read = f"{_rate(_read_alone, files)[0]:10.1f}" if is_dicom else ""
        print(f"{name[:34]:34} {answered:10.1f} {ms:6.1f} {read}", flush=True)


def _slices(count: int, side: int) -> Iterator[NDArray[np.int16]]:
    """Yield drawn heads in HU, with the noise of a scanner."""
    random = np.random.default_rng(0)
    heads = [draw_phantom("ct", "healthy", seed=k, plane="axial", side=side) for k in range(KINDS)]
    for k in range(count):
        gray = heads[k % KINDS].pixels.astype(np.float32)
        values = np.where(gray < 8, -1000, gray / 255 * 80) + random.normal(0, 4, gray.shape)
        yield np.rint(values).astype(np.int16)


def _written(
    slices: Sequence[NDArray[np.int16]], scratch: Path
) -> Iterator[tuple[str, list[Path]]]:
    """Yield each format with its files, one after the other: they need not fit all at once."""
    for syntax in (*NATIVE, *ENCODED):
        yield syntax.name, [_write(k, slices[k], scratch, syntax) for k in range(len(slices))]
    if shutil.which("dcmcjpeg"):
        yield (
            uid.JPEGLosslessSV1.name,
            [_to_jpeg(k, slices[k], scratch) for k in range(len(slices))],
        )
    yield "PNG, 8 bits", [_write_png(k, slices[k], scratch) for k in range(len(slices))]


def _dataset(number: int, pixels: NDArray[np.int16]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.CTImageStorage, f"1.2.3.4.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = "PHANTOM", "PHANTOM"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation, dataset.PixelSpacing = 1, [0.5, 0.5]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, number], number + 1
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _write(number: int, pixels: NDArray[np.int16], folder: Path, syntax: uid.UID) -> Path:
    path, dataset = folder / f"{number:04d}.dcm", _dataset(number, pixels)
    if syntax in ENCODED:
        dataset.compress(syntax)
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def _to_jpeg(number: int, pixels: NDArray[np.int16], folder: Path) -> Path:
    path = _write(number, pixels, folder, uid.ExplicitVRLittleEndian)
    subprocess.run(["dcmcjpeg", "+un", path, path], check=True)
    return path


def _write_png(number: int, pixels: NDArray[np.int16], folder: Path) -> Path:
    path = folder / f"{number:04d}.png"
    cv2.imwrite(str(path), np.clip(pixels * (255 / 80), 0, 255).astype(np.uint8))
    return path


def _answer(predictor: Predictor, paths: Sequence[Path]) -> None:
    errors = [answer.error for answer in predictor.predict(paths) if answer.error]
    assert not errors, errors[0]


def _read_alone(paths: Sequence[Path]) -> None:
    for path in paths:
        assert dcmread(path).pixel_array.size


def _rate(work: Callable[[Sequence[Path]], object], files: list[Path]) -> tuple[float, float]:
    """Return files per second and ms of processor time a file, after some to warm up."""
    work(files[:WARM])
    started, used = time.perf_counter(), time.process_time()
    work(files[WARM:])
    count = len(files[WARM:])
    seconds, busy = time.perf_counter() - started, time.process_time() - used
    return count / seconds, 1000 * busy / count


def _time_headers(folder: Path, count: int) -> None:
    folder.mkdir()
    files = [_write(k, np.zeros((64, 64), np.int16), folder, NATIVE[1]) for k in range(count)]
    ways: dict[str, Callable[[], object]] = {
        "tumorlens dicom list": lambda: list_series(files),
        "pydicom, stop_before_pixels": lambda: [
            dcmread(path, stop_before_pixels=True) for path in files
        ],
    }
    print(f"\nheaders of {count:,} files")
    for name, work in ways.items():
        started, used = time.perf_counter(), time.process_time()
        work()
        seconds, busy = time.perf_counter() - started, time.process_time() - used
        print(f"{name:34} {seconds:10.2f} s, processor {busy:.2f} s", flush=True)


if __name__ == "__main__":
    main()
