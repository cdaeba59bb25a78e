"""A slice of the figshare set keeps its values, mask, type and patient as PNG and cases."""

import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from support.public_sets import mat_bytes, phantom, zip_bytes

from tumorlens.errors import ArchiveError, ImageError, InvalidPixelsError, UnreadableImageError
from tumorlens.images.readers import read_scan
from tumorlens.study.data.case_table import write_cases
from tumorlens.study.data.datasets import figshare
from tumorlens.study.data.datasets.figshare import read_slice, write_slices
from tumorlens.study.data.index import read_cases

TALL = np.arange(20 * 32, dtype=np.int16).reshape(32, 20) * 50


def written(tmp_path, files, **options):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes(files))
    return write_slices([path], tmp_path / "out", dataset="figshare", **options)


def test_a_slice_is_not_turned():
    assert (read_slice(mat_bytes(TALL), source="1.mat").pixels == TALL).all()


def test_the_mask_lies_in_the_grid_of_the_slice():
    mask = np.zeros(TALL.shape, np.uint8)
    mask[3:5, 11:19] = 1
    assert (read_slice(mat_bytes(TALL, mask=mask), source="1.mat").mask == mask).all()


@pytest.mark.parametrize(
    ("label", "name"), [(1, "mri_meningioma"), (2, "mri_glioma"), (3, "mri_pituitary")]
)
def test_the_number_of_the_label_names_the_type(label, name):
    assert read_slice(mat_bytes(label=label), source="1.mat").label == name


def test_16_bits_come_back_from_the_png_without_loss(tmp_path):
    cases, _ = written(tmp_path, {"7.mat": mat_bytes(TALL)})
    assert (read_scan(cases[0].path).pixels == TALL).all()


def test_negative_values_are_raised_as_a_whole():
    found = read_slice(mat_bytes(TALL - 300), source="1.mat").pixels
    assert (found == TALL).all()


def test_the_mask_on_disk_is_black_and_white(tmp_path):
    cases, _ = written(tmp_path, {"7.mat": mat_bytes()})
    assert cases[0].mask is not None
    assert set(np.unique(np.asarray(Image.open(cases[0].mask)))) == {0, 255}


@pytest.mark.parametrize(
    ("patient", "group"), [("MR017260F", "MR017260"), ("100360", "100360"), ("ABC", "ABC")]
)
def test_series_of_one_head_share_a_group_and_keep_their_patient(tmp_path, patient, group):
    cases, _ = written(tmp_path, {"1.mat": mat_bytes(patient=patient)})
    assert (cases[0].patient, cases[0].group) == (patient, group)


def test_cases_come_back_from_the_table_with_mask_patient_and_group(tmp_path):
    cases, _ = written(tmp_path, {"1.mat": mat_bytes(), "2.mat": mat_bytes(label=1)})
    write_cases(cases, tmp_path / "out" / "cases.csv")
    found = {case.path.stem: case for case in read_cases(tmp_path / "out")}
    assert (found["1"].patient, found["1"].group) == ("MR017260F", "MR017260")
    assert found["2"].label == "mri_meningioma"
    assert all(case.mask is not None and case.mask.is_file() for case in found.values())


def broken(**changes):
    """Rewrite one dataset of a whole slice; None takes it away."""
    memory = io.BytesIO(mat_bytes())
    with h5py.File(memory, "r+") as file:
        record = file["cjdata"]
        assert isinstance(record, h5py.Group)
        for name, value in changes.items():
            del record[name]
            if value is not None:
                record[name] = value
    return memory.getvalue()


BROKEN = {
    "cut short": lambda: mat_bytes()[:3000],
    "not HDF5": lambda: b"MATLAB 5.0 MAT-file" + bytes(600),
    "empty": lambda: b"",
    "no image": lambda: broken(image=None),
    "no label": lambda: broken(label=None),
    "unknown label": lambda: broken(label=np.array([[4.0]])),
    "label not a number": lambda: broken(label=np.array([[np.nan]])),
    "no patient": lambda: broken(PID=np.array([[32]], np.uint16)),
    "mask of another size": lambda: broken(tumorMask=np.zeros((5, 5), np.uint8)),
    "one pixel": lambda: broken(image=np.zeros((1, 1)), tumorMask=np.zeros((1, 1))),
    "three axes": lambda: broken(image=np.zeros((20, 20, 3)), tumorMask=np.zeros((20, 20, 3))),
    "not finite": lambda: broken(image=np.full(phantom().shape, np.nan)),
    "fractions": lambda: broken(image=np.full(phantom().shape, 0.5)),
    "32 bits": lambda: broken(image=np.full(phantom().shape, 2**20)),
    "text": lambda: broken(image="picture"),
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_slice_is_an_error_that_names_it(make):
    with pytest.raises(ImageError, match=r"12\.mat"):
        read_slice(make(), source="12.mat")


def test_values_above_16_bits_are_an_error_of_their_own():
    with pytest.raises(InvalidPixelsError, match="16 bits"):
        read_slice(broken(image=np.full(phantom().shape, 2**20)), source="12.mat")


def test_a_slice_that_declares_too_many_pixels_is_refused_before_it_is_read():
    memory = io.BytesIO(mat_bytes())
    with h5py.File(memory, "r+") as file:
        del file["cjdata/image"]
        file["cjdata"].create_dataset("image", (10**6, 10**6), "i2", chunks=(512, 512))
    with pytest.raises(UnreadableImageError, match="values"):
        read_slice(memory.getvalue(), source="12.mat")


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual"])
def test_a_slice_cannot_lead_to_other_files(tmp_path, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["image"] = np.full((64, 64), 9, np.int16)
    memory = io.BytesIO(mat_bytes())
    with h5py.File(memory, "r+") as file:
        record = file["cjdata"]
        assert isinstance(record, h5py.Group)
        del record["image"]
        if kind == "external link":
            record["image"] = h5py.ExternalLink(str(secret), "/image")
        elif kind == "external storage":
            where = [(os.fsencode(secret), 0, 64 * 64)]
            record.create_dataset("image", (64, 64), "u1", external=where)
        else:
            layout = h5py.VirtualLayout((64, 64), "i2")
            layout[:] = h5py.VirtualSource(str(secret), "image", (64, 64))
            record.create_virtual_dataset("image", layout)
    with pytest.raises(UnreadableImageError, match="another file"):
        read_slice(memory.getvalue(), source="12.mat")


def test_a_broken_slice_is_counted_and_the_others_are_kept(tmp_path):
    files = {"1.mat": mat_bytes(), "2.mat": b"broken", "3.mat": mat_bytes()}
    cases, left_out = written(tmp_path, files)
    assert [case.path.stem for case in cases] == ["1", "3"]
    assert left_out == {figshare.UNREADABLE: 1}


def test_files_that_are_not_slices_are_counted(tmp_path):
    files = {"1.mat": mat_bytes(), "cvind.mat": b"folds", "README.txt": b"", "x/1.mat": b"again"}
    cases, left_out = written(tmp_path, files)
    assert len(cases) == 1
    assert left_out == {figshare.NOT_A_SLICE: 2, figshare.TWICE: 1}


def test_archives_without_a_slice_are_an_error(tmp_path):
    with pytest.raises(ArchiveError, match="no slice"):
        written(tmp_path, {"1.mat": b"broken"})


def test_progress_counts_the_slices_of_all_archives(tmp_path):
    told: list[tuple[int, int]] = []
    written(tmp_path, {"1.mat": mat_bytes(), "2.mat": mat_bytes()},
            progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told == [(1, 2), (2, 2)]


@pytest.mark.skipif("TUMORLENS_DATA" not in os.environ, reason="TUMORLENS_DATA is not set")
def test_real_slices_come_back_as_they_were(tmp_path):
    folder = Path(os.environ["TUMORLENS_DATA"]) / "figshare"
    for number, case in enumerate(read_cases(folder)[::700]):
        pixels = read_scan(case.path).pixels.astype(np.int16) * 100
        mask = (read_scan(case.mask or "").pixels > 0).astype(np.uint8)
        (tmp_path / str(number)).mkdir()
        made, _ = written(tmp_path / str(number), {"5.mat": mat_bytes(pixels, mask=mask)})
        assert (read_scan(made[0].path).pixels == pixels).all()
        assert (read_scan(made[0].mask or "").pixels > 0).tolist() == mask.astype(bool).tolist()
