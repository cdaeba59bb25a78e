"""Labeled volumes become labeled slices: which slices, which label, whose, and what is left out."""

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from support.broken_files import HEAD
from support.dicom_files import CORONAL, dicom_bytes, slice_dataset, write_series
from support.nifti_files import RAS, nifti_bytes

from tumorlens.errors import CasesError
from tumorlens.images.readers import read_scan
from tumorlens.images.segmentation import read_mask
from tumorlens.inputs.prepare import InputSpec
from tumorlens.study.data.acquisition import source_of
from tumorlens.study.data.case_table import write_cases
from tumorlens.study.data.index import read_cases, read_set
from tumorlens.study.data.masks import prepared_mask
from tumorlens.study.data.volumes import (
    ABSENT_SLICES,
    BAD_MASK,
    BESIDE_TUMOR,
    DOUBLED,
    EMPTY_MASK,
    NO_MASK,
    OFF_GRID,
)

SLICES = 8
STACK = np.stack([HEAD.astype(np.int16) + np.int16(k) for k in range(SLICES)])  # slice by slice
SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def volume(path: Path, *, marked: tuple[int, ...] | None = None, affine=RAS, slices=SLICES) -> Path:
    """Write a NIfTI volume, and a mask beside it where some slices are marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.moveaxis(STACK[:slices, ::-1, ::-1], 0, 2).swapaxes(0, 1)
    path.write_bytes(nifti_bytes(np.ascontiguousarray(voxels), affine))
    if marked is not None:
        mask = np.zeros(voxels.shape, np.uint8)
        mask[40:50, 40:50, list(marked)] = 4
        path.with_name(path.name.replace(".nii", "_mask.nii")).write_bytes(
            nifti_bytes(mask, affine)
        )
    return path


def segmentation(path: Path, series: Path, marked: tuple[int, ...]) -> Path:
    """Write a DICOM segmentation of some slices of a series, by their height, in bits."""
    slices = sorted(map(dcmread, series.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = SEG_STORAGE, generate_uid()
    dataset.Modality, dataset.SegmentationType = "SEG", "BINARY"
    dataset.Rows, dataset.Columns = HEAD.shape
    dataset.NumberOfFrames, dataset.SamplesPerPixel = len(marked), 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    frames = np.zeros((len(marked), *HEAD.shape), np.uint8)
    frames[:, 40:50, 40:50] = 1
    dataset.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    groups = []
    for number in marked:
        image, derivation, group = Dataset(), Dataset(), Dataset()
        image.ReferencedSOPInstanceUID = slices[number].SOPInstanceUID
        derivation.SourceImageSequence = Sequence([image])
        group.DerivationImageSequence = Sequence([derivation])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    path.write_bytes(dicom_bytes(dataset, syntax=ExplicitVRLittleEndian))
    return path


def table(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder


def frames_of(cases, label: str) -> list[int]:
    """Return the frames of a volume's slices with a label."""
    return [int(case.path.name.rsplit("#")[-1]) for case in cases if case.label == label]


def test_slices_with_mask_pixels_have_the_label_and_those_away_from_it_are_healthy(tmp_path):
    volume(tmp_path / "set/mri_glioma/p1.nii.gz", marked=(3, 4))
    found = read_set(tmp_path / "set")
    assert frames_of(found.cases, "mri_glioma") == [3, 4]
    assert frames_of(found.cases, "mri_healthy") == [0, 1, 6, 7]
    assert dict(found.left_out) == {BESIDE_TUMOR: 2}
    assert [case.mask.name for case in found.cases if case.mask] == [
        "p1_mask.nii.gz#3",
        "p1_mask.nii.gz#4",
    ]


def test_every_slice_of_a_volume_without_a_tumor_has_its_label(tmp_path):
    volume(tmp_path / "set/healthy/p1.nii.gz")
    cases = read_cases(tmp_path / "set")
    assert frames_of(cases, "healthy") == list(range(SLICES))
    assert {case.key for case in cases} == {f"set/healthy/p1.nii.gz#{k}" for k in range(SLICES)}


def test_slices_of_a_tumor_volume_without_a_mask_are_left_out_and_counted(tmp_path):
    volume(tmp_path / "set/tumor/p1.nii.gz")
    volume(tmp_path / "set/healthy/p2.nii.gz")
    found = read_set(tmp_path / "set")
    assert {case.label for case in found.cases} == {"healthy"}
    assert dict(found.left_out) == {NO_MASK: SLICES}


def test_a_set_of_which_no_slice_has_a_label_says_what_to_do(tmp_path):
    volume(tmp_path / "set/tumor/p1.nii.gz")
    with pytest.raises(CasesError, match=r"8 of tumor volumes without a mask.*_mask\.nii\.gz"):
        read_cases(tmp_path / "set")


def _empty(path: Path) -> None:
    volume(path, marked=())


def _elsewhere(path: Path) -> None:
    volume(path, marked=(3,))
    shifted = RAS.copy()
    shifted[2, 3] = 40
    volume(path.with_name("other.nii.gz"), marked=(3,), affine=shifted)
    path.with_name("other_mask.nii.gz").replace(path.with_name("p1_mask.nii.gz"))
    path.with_name("other.nii.gz").unlink()


def _broken(path: Path) -> None:
    volume(path, marked=(3,))
    path.with_name("p1_mask.nii.gz").write_bytes(b"no mask")


@pytest.mark.parametrize(
    ("make", "reason"), [(_empty, EMPTY_MASK), (_elsewhere, OFF_GRID), (_broken, BAD_MASK)]
)
def test_a_mask_that_does_not_say_where_the_tumor_is_leaves_its_volume_out(tmp_path, make, reason):
    volume(tmp_path / "set/healthy/p2.nii.gz")
    make(tmp_path / "set/tumor/p1.nii.gz")
    assert dict(read_set(tmp_path / "set").left_out) == {reason: SLICES}


def test_a_table_may_name_the_slices_that_show_the_tumor_as_they_are_numbered(tmp_path):
    volume(tmp_path / "set/p1.nii.gz")
    table(tmp_path / "set", "path,label,modality,slices", 'p1.nii.gz,tumor,ct,"2, 4-5"')
    cases = read_cases(tmp_path / "set")
    assert frames_of(cases, "ct_tumor") == [1, 3, 4]
    assert frames_of(cases, "ct_healthy") == [6, 7]


def test_all_slices_may_be_said_to_show_the_tumor(tmp_path):
    volume(tmp_path / "set/p1.nii.gz")
    table(tmp_path / "set", "path,label,slices", "p1.nii.gz,glioma,all")
    assert frames_of(read_cases(tmp_path / "set"), "mri_glioma") == list(range(SLICES))


@pytest.mark.parametrize("named", ["the middle", "5-2", "0-3"])
def test_numbers_of_slices_that_are_none_are_refused(tmp_path, named):
    volume(tmp_path / "set/p1.nii.gz")
    table(tmp_path / "set", "path,label,slices", f"p1.nii.gz,glioma,{named}")
    with pytest.raises(CasesError, match="12-40, or all"):
        read_cases(tmp_path / "set")


def test_a_tumor_volume_without_the_slices_that_are_named_is_left_out(tmp_path):
    volume(tmp_path / "set/p1.nii.gz")
    volume(tmp_path / "set/p2.nii.gz")
    rows = ("p1.nii.gz,glioma,20-999999999999", "p2.nii.gz,mri_healthy,")
    table(tmp_path / "set", "path,label,slices", *rows)
    found = read_set(tmp_path / "set")
    assert dict(found.left_out) == {ABSENT_SLICES: SLICES}
    assert {case.path.name.split("#")[0] for case in found.cases} == {"p2.nii.gz"}


def test_a_table_may_name_a_folder_of_dicom_with_a_nifti_mask_on_its_grid(tmp_path):
    write_series(tmp_path / "set/p1", STACK, step=1.0, PixelSpacing=[1, 1], PatientID="7")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    mask = np.zeros((*HEAD.shape[::-1], SLICES), np.uint8)
    mask[40:50, 40:50, 2] = 1
    (tmp_path / "set/m.nii").write_bytes(nifti_bytes(mask, lps))
    table(tmp_path / "set", "path,label,mask", "p1,tumor,m.nii")
    cases = read_cases(tmp_path / "set")
    [ill] = [case for case in cases if case.label == "mri_tumor"]
    assert dcmread(ill.path).ImagePositionPatient[2] == 2
    assert len(cases) == SLICES - 2
    marked = read_mask(ill.mask, ill.path)
    assert marked[40:50, 40:50].all()
    assert marked.sum() == 100


@pytest.mark.parametrize("named", [True, False])
def test_a_dicom_segmentation_marks_the_slices_it_refers_to(tmp_path, named):
    series = write_series(tmp_path / "set/tumor/p1", STACK)
    seg = segmentation(tmp_path / "seg.dcm", series, (2, 3))
    if named:
        table(tmp_path / "set", "path,label,mask", f"tumor/p1,tumor,{seg}")
    else:
        seg = seg.replace(series / "seg.dcm")
    cases = [case for case in read_cases(tmp_path / "set") if case.label == "mri_tumor"]
    assert [dcmread(case.path).ImagePositionPatient[2] for case in cases] == [10, 15]
    assert {case.mask for case in cases} == {seg}
    assert read_mask(seg, cases[0].path)[40:50, 40:50].all()
    assert prepared_mask(cases[0], InputSpec(side=32)).any()


def test_pages_of_a_tiff_are_slices_of_one_volume(tmp_path):
    pages = [Image.fromarray(page.astype(np.uint8)) for page in STACK]
    masks = [
        Image.fromarray(np.uint8(255) * (page > 200) * (k == 5)) for k, page in enumerate(STACK)
    ]
    (tmp_path / "set/tumor").mkdir(parents=True)
    for name, images in (("p1", pages), ("p1_mask", masks)):
        images[0].save(tmp_path / f"set/tumor/{name}.tif", save_all=True, append_images=images[1:])
    cases = read_cases(tmp_path / "set")
    assert frames_of(cases, "tumor") == [5]
    assert frames_of(cases, "healthy") == [0, 1, 2, 3, 7]
    assert len({case.patient for case in cases}) == len({case.group for case in cases}) == 1


def test_slices_of_one_series_are_one_patient_named_by_a_hash(tmp_path):
    for name, patient in (("a", "MUELLER^4711"), ("b", "MUELLER^4711"), ("c", "ANONYMOUS")):
        tags = {"PatientID": patient, "StudyInstanceUID": f"1.{name == 'c':d}"}
        write_series(
            tmp_path / "set/healthy" / name, STACK, SeriesInstanceUID=f"1.2.{ord(name)}", **tags
        )
    cases = read_cases(tmp_path / "set")
    patients = {name: {c.patient for c in cases if f"/{name}/" in c.key} for name in "abc"}
    assert patients["a"] == patients["b"] != patients["c"]
    assert all(len(found) == 1 for found in patients.values())
    assert "4711" not in str(patients)


def test_dicom_slices_that_were_sorted_into_classes_keep_their_class(tmp_path):
    series = write_series(tmp_path / "all", STACK)
    for number, path in enumerate(sorted(series.iterdir())):
        folder = tmp_path / "set" / ("tumor" if number < 3 else "healthy")
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / path.name)
    found = read_set(tmp_path / "set")
    assert sorted(case.label for case in found.cases) == ["mri_healthy"] * 5 + ["mri_tumor"] * 3
    assert not found.left_out


def test_what_is_no_slice_of_a_head_and_what_is_doubled_is_left_out_with_its_reason(tmp_path):
    series = write_series(tmp_path / "set/healthy/p1", STACK)
    (series / "again.dcm").write_bytes((series / "IM0001").read_bytes())
    localizer = slice_dataset(STACK[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (series / "scout.dcm").write_bytes(dicom_bytes(localizer))
    found = read_set(tmp_path / "set")
    assert len(found.cases) == SLICES
    assert dict(found.left_out) == {
        DOUBLED: 1,
        "of series of which each is a localizer": 1,
    }


def test_axial_slices_know_their_level_and_others_do_not(tmp_path):
    write_series(tmp_path / "set/healthy/p1", STACK)
    write_series(
        tmp_path / "set/healthy/p2",
        STACK,
        ImageOrientationPatient=CORONAL,
        SeriesInstanceUID="1.2.5",
        StudyInstanceUID="1.9",
    )
    levels = {
        dcmread(case.path).ImagePositionPatient[2]: case.level
        for case in read_cases(tmp_path / "set")
        if "/p1/" in case.key
    }
    assert levels == pytest.approx({5.0 * k: k / (SLICES - 1) for k in range(SLICES)}, abs=1e-4)
    assert all(c.level is None for c in read_cases(tmp_path / "set") if "/p2/" in c.key)


def test_a_written_table_gives_the_same_slices_again(tmp_path):
    volume(tmp_path / "set/mri_glioma/p1.nii.gz", marked=(3, 4))
    write_series(tmp_path / "set/healthy/p2", STACK, PatientID="7")
    cases = read_cases(tmp_path / "set")
    write_cases(cases, tmp_path / "set/cases.csv")
    again = read_cases(tmp_path / "set")
    fields = ("key", "label", "patient", "level", "volume")
    assert [[getattr(c, f) for f in fields] for c in again] == [
        [getattr(c, f) for f in fields] for c in cases
    ]
    assert [c.mask and c.mask.name for c in again] == [c.mask and c.mask.name for c in cases]


def test_sequences_of_one_patient_are_one_patient_by_name_or_folder(tmp_path):
    for name in ("BraTS_007_flair", "BraTS_007_t1c", "pat0004/Flair_norm", "pat0004/T1c_norm"):
        volume(tmp_path / f"set/healthy/{name}.nii.gz")
    patients = {case.volume: case.patient for case in read_cases(tmp_path / "set")}
    assert sorted(patients.values()) == ["healthy/brats_007"] * 2 + ["pat0004"] * 2


def test_a_source_is_not_the_folder_of_one_patient(tmp_path):
    for number in "123":
        write_series(
            tmp_path / f"set/healthy/p{number}",
            STACK,
            PatientID=number,
            SeriesInstanceUID=f"1.{number}",
        )
    assert {source_of(case) for case in read_cases(tmp_path / "set")} == {"set/mri"}


def test_a_volume_of_several_volumes_is_one_case_that_reading_refuses(tmp_path):
    path = tmp_path / "set/healthy/p1.nii"
    path.parent.mkdir(parents=True)
    path.write_bytes(nib.Nifti1Image(np.zeros((20, 20, 6, 4), np.int16), np.eye(4)).to_bytes())
    [case] = read_cases(tmp_path / "set")
    assert case.path == path


def test_a_slice_is_named_twice_by_itself_and_with_its_folder(tmp_path):
    write_series(tmp_path / "set/p1", STACK)
    table(tmp_path / "set", "path,label", "p1,healthy", "p1/IM0001,tumor")
    with pytest.raises(CasesError, match="twice"):
        read_cases(tmp_path / "set")


@pytest.mark.parametrize(
    ("slices", "labels"),
    [("2-3", {"mri_tumor": 2, "mri_healthy": SLICES - 4}), ("all", {"mri_tumor": SLICES})],
)
def test_a_table_may_name_a_series_by_one_of_its_files_with_the_slices_that_show_it(
    tmp_path, slices, labels
):
    for name, series in (("a", "1.2.3"), ("b", "1.2.4")):
        write_series(tmp_path / name, STACK, SeriesInstanceUID=series)
        for path in (tmp_path / name).iterdir():
            path.rename(tmp_path / f"{name}{path.name}")
        (tmp_path / name).rmdir()
    table(tmp_path, "path,label,slices", f"aIM0003,tumor,{slices}")
    cases = read_cases(tmp_path)
    assert Counter(case.label for case in cases) == labels
    assert {case.path.name[0] for case in cases} == {"a"}
    assert {(case.volume, case.group) for case in cases} == {("aIM0003", "aIM0003")}


def test_a_volume_whose_slices_are_unknown_waits_for_who_knows_them(tmp_path):
    write_series(tmp_path / "set/p1", STACK)
    table(tmp_path / "set", "path,label,slices", "p1/IM0001,tumor,unknown")
    with pytest.raises(CasesError, match=f"{SLICES} of tumor volumes without a mask"):
        read_cases(tmp_path / "set")


def test_a_series_in_two_parts_of_a_published_split_stays_in_both(tmp_path):
    for part in ("train", "test"):
        write_series(tmp_path / "set" / part / "healthy/p1", STACK)
    cases = read_cases(tmp_path / "set")
    assert sorted(case.split for case in cases) == ["test"] * SLICES + ["train"] * SLICES
    assert len({case.patient for case in cases}) == 1


def test_copies_of_a_slice_that_a_table_names_one_by_one_are_all_kept(tmp_path):
    data = dicom_bytes(slice_dataset(HEAD))
    for name in "ab":
        (tmp_path / f"{name}.dcm").write_bytes(data)
    table(tmp_path, "path,label", "a.dcm,tumor", "b.dcm,healthy")
    assert [case.label for case in read_cases(tmp_path)] == ["mri_tumor", "mri_healthy"]


def test_the_mask_of_a_folder_may_stand_beside_it(tmp_path):
    series = write_series(tmp_path / "set/tumor/p1", STACK)
    segmentation(tmp_path / "set/tumor/p1_mask.dcm", series, (4,))
    found = read_set(tmp_path / "set")
    assert sum(case.label == "mri_tumor" for case in found.cases) == 1
    assert dict(found.passed_over) == {"mask": 1}


def four_dimensional(path: Path, *, volumes: int = 3) -> Path:
    """Write a file of several volumes, each brighter by 20 than the last, and a mask."""
    volume(path, marked=(3, 4))
    one = nib.load(path).get_fdata().astype(np.int16)
    whole = np.stack([one + np.int16(20 * v) * (one > 0) for v in range(volumes)], axis=-1)
    path.write_bytes(nifti_bytes(whole))
    return path


def test_a_table_names_a_volume_of_a_file_with_several(tmp_path):
    four_dimensional(tmp_path / "p.nii")
    rows = ["p.nii,glioma,mri,0,p_mask.nii", "p.nii,glioma,mri,2,p_mask.nii"]
    text = "\n".join(["path,label,modality,volume,mask", *rows])
    (tmp_path / "cases.csv").write_text(text)
    cases = read_cases(tmp_path)
    ill = {case.key.split("#")[1]: case for case in cases if case.label == "mri_glioma"}
    assert sorted(ill, key=int) == ["3", "4", str(2 * SLICES + 3), str(2 * SLICES + 4)]
    assert {case.group for case in cases} == {"p.nii"}
    low, high = (read_scan(ill[name].path).pixels for name in ("3", str(2 * SLICES + 3)))
    np.testing.assert_array_equal(high - low, 40 * (low > 0))
    assert read_mask(ill["4"].mask, ill["4"].path).any()


def test_a_table_of_slices_of_a_volume_of_several_is_read_back(tmp_path):
    four_dimensional(tmp_path / "p.nii")
    (tmp_path / "cases.csv").write_text("path,label,modality,volume\np.nii,healthy,mri,1\n")
    cases = read_cases(tmp_path)
    assert len(cases) == SLICES
    write_cases(cases, tmp_path / "slices.csv")
    again = read_cases(tmp_path / "slices.csv")
    assert [case.path for case in again] == [case.path for case in cases]


@pytest.mark.parametrize("named", ["3", "second", "-1"])
def test_a_volume_that_is_not_there_is_an_error_that_says_so(tmp_path, named):
    four_dimensional(tmp_path / "p.nii")
    (tmp_path / "cases.csv").write_text(f"path,label,volume\np.nii,glioma,{named}\n")
    with pytest.raises(CasesError, match="no volume"):
        read_cases(tmp_path)


def test_a_column_volume_of_other_files_is_theirs(tmp_path):
    Image.fromarray(HEAD).save(tmp_path / "a.png")
    (tmp_path / "cases.csv").write_text("path,label,volume\na.png,yes,12.5 ml\n")
    assert [case.label for case in read_cases(tmp_path)] == ["tumor"]
