"""Facts about files without names."""

import csv
import re
import stat
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from support.broken_files import HEAD
from support.dicom_files import dicom_bytes, slice_dataset
from support.named_dicom import TRACES, named_file

from tumorlens.errors import OutputError, SettingsError
from tumorlens.images import deidentify_rules as rules
from tumorlens.images.deidentify import (
    Deidentification,
    check_paths,
    deidentify,
    every_file,
    read_key,
    write_report,
)
from tumorlens.images.readers import open_images

PIXELS = HEAD.astype(np.int16)
KEY = b"k" * 32
SET = {"PatientName", "PatientID", "PatientIdentityRemoved", "DeidentificationMethod", "PixelData",
       "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
       "CodeValue", "CodingSchemeDesignator", "CodeMeaning", *rules.EMPTIED}  # fmt: skip
PATIENT = {"PatientID": "4711", "StudyDate": "20200131", "StudyTime": "235900"}


def clean(folder: Path, *datasets: Dataset | bytes, key: bytes = KEY) -> list[Dataset]:
    """Return what is written of data sets, in their order; all must be."""
    found = treat(folder, *datasets, key=key)
    assert [item.reason for item in found.outcomes] == [""] * len(datasets)
    return [dcmread(folder / "out" / item.out) for item in found.outcomes if item.out]


def treat(folder: Path, *datasets: Dataset | bytes, key: bytes = KEY) -> Deidentification:
    (folder / "in").mkdir(parents=True)
    for number, dataset in enumerate(datasets):
        data = dataset if isinstance(dataset, bytes) else dicom_bytes(dataset)
        (folder / "in" / f"{number}").write_bytes(data)
    return deidentify(every_file([folder / "in"]), folder / "out", key=key)


def keywords(dataset: Dataset) -> set[str]:
    return {element.keyword for element in dataset.iterall()}


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> tuple[Path, Deidentification]:
    folder = tmp_path_factory.mktemp("named")
    return folder, treat(folder, named_file(PIXELS))


def test_the_file_that_is_taken_names_somebody_in_every_way(named):
    data = (named[0] / "in" / "0").read_bytes()
    assert [trace for trace in TRACES if trace not in data] == []
    assert data.count(b"PLANTED") > 1000


def test_nothing_that_was_planted_is_left_in_any_file_or_name(named):
    folder, found = named
    (written,) = (path for path in (folder / "out").rglob("*") if path.is_file())
    assert found.outcomes[0].reason == ""
    assert found.outcomes[0].out == written.relative_to(folder / "out")
    assert [trace for trace in TRACES if trace in written.read_bytes()] == []
    assert written.read_bytes()[:128] == bytes(128)
    assert re.fullmatch(r"P[0-9A-F]{16}/[0-9a-f]{16}/[0-9a-f]{16}\.dcm", str(found.outcomes[0].out))


def test_no_attribute_is_left_that_is_not_on_the_list(named):
    folder, found = named
    dataset = dcmread(folder / "out" / found.outcomes[0].out)
    assert keywords(dataset) <= rules.KEPT | SET
    (groups,) = dataset.SharedFunctionalGroupsSequence
    assert groups.PixelMeasuresSequence[0].PixelSpacing == [0.5, 0.5]
    assert not any(element.tag.is_private for element in dataset.iterall())


def test_the_report_counts_what_was_taken_out(named, tmp_path):
    _, found = named
    write_report(found, tmp_path / "r.csv", tmp_path / "c.csv")
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    counts = {(row["tag"], row["attribute"], row["action"]): int(row["count"]) for row in rows}
    assert counts["(0008,0080)", "InstitutionName", "removed"] == 1
    assert counts["(0029,1010)", "private", "removed"] == 1
    assert counts["(6000,3000)", "OverlayData", "removed"] == 1
    assert "PLANTED" not in (tmp_path / "c.csv").read_text()


def test_each_kept_attribute_that_the_profile_names_is_changed_as_it_says():
    """Table E.1-1 of PS3.15, 2024b: X remove, Z empty, D dummy, U another unique id."""
    table = csv.DictReader(Path(__file__).with_name("ps3_15_table_e1_1.csv").open())
    profile = {row["keyword"]: row["action"] for row in table if row["keyword"]}
    assert len(profile) > 600
    dates = {*rules.TIMES, *rules.TIMES.values(), *rules.MOMENTS}
    for keyword in rules.KEPT & profile.keys():
        if profile[keyword] == "U":
            assert keyword in rules.UIDS
        else:  # its options: modified dates, clean descriptors
            assert keyword in dates | rules.TEXTS | {rules.CONTRAST}, keyword
    assert {keyword: profile[keyword][0] for keyword in rules.EMPTIED if keyword in profile} == {
        keyword: "Z" for keyword in rules.EMPTIED if keyword in profile
    }


def test_a_file_says_what_was_done_to_it(tmp_path):
    (written,) = clean(tmp_path, slice_dataset(PIXELS))
    assert written.PatientIdentityRemoved == "YES"
    assert written.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [(c.CodeValue, c.CodingSchemeDesignator) for c in written[0x00120064].value]
    assert codes == [("113100", "DCM"), ("113105", "DCM"), ("113107", "DCM")]


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
def test_pixels_are_as_they_were(tmp_path, syntax):
    pixels = PIXELS.astype(np.uint16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}
    data = dicom_bytes(slice_dataset(pixels, **tags), **({"syntax": syntax} if syntax else {}))
    found = treat(tmp_path, data)
    (before,) = open_images(tmp_path / "in" / "0")
    (after,) = open_images(tmp_path / "out" / found.outcomes[0].out)
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert (after.position, after.plane, after.spacing_mm) == (0.0, "axial", (0.5, 0.5))


def test_what_hides_in_unused_bits_of_pixels_goes(tmp_path):
    pixels = PIXELS.astype(np.uint16) & 0x0FFF
    drawn = slice_dataset(pixels | 0x8000, BitsStored=12, HighBit=11)
    (written,) = clean(tmp_path, drawn)
    np.testing.assert_array_equal(np.frombuffer(written.PixelData, "<u2"), pixels.ravel())


def test_ids_are_the_same_again_with_the_same_key_only(tmp_path):
    dataset = slice_dataset(PIXELS, **PATIENT)
    (first,) = clean(tmp_path / "a", dataset)
    (again,) = clean(tmp_path / "b", dataset)
    (other,) = clean(tmp_path / "c", dataset, key=b"o" * 32)
    names = ("PatientID", "PatientName", "StudyInstanceUID", "SOPInstanceUID", "StudyDate")
    assert [again[name].value for name in names] == [first[name].value for name in names]
    assert not any(other[name].value == first[name].value for name in names)


def test_files_of_one_series_stay_together(tmp_path):
    slices = [slice_dataset(PIXELS, FrameOfReferenceUID="1.9", **PATIENT) for _ in range(2)]
    one, two = clean(tmp_path, *slices)
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert one[name].value == two[name].value != slices[0].get(name)
    assert one.SOPInstanceUID != two.SOPInstanceUID


def test_dates_of_a_patient_move_together_and_into_the_past(tmp_path):
    later = {**PATIENT, "StudyDate": "20200302", "StudyTime": "000100.5"}
    one, two = clean(tmp_path, slice_dataset(PIXELS, **PATIENT), slice_dataset(PIXELS, **later))
    moments = [
        datetime.strptime(f"{d.StudyDate}{d.StudyTime}", "%Y%m%d%H%M%S.%f") for d in (one, two)
    ]
    assert moments[1] - moments[0] == timedelta(days=30, minutes=2, seconds=0.5)
    assert datetime(2010, 1, 1) < moments[0] < datetime(2019, 2, 1)


def test_a_date_without_a_time_stays_on_the_day_of_its_study(tmp_path):
    (written,) = clean(tmp_path, slice_dataset(PIXELS, SeriesDate="20200131", **PATIENT))
    assert written.SeriesDate == written.StudyDate


def test_other_patients_move_by_other_days(tmp_path):
    one, two = clean(tmp_path, *(slice_dataset(PIXELS, **{**PATIENT, "PatientID": name})
                                 for name in ("4711", "4712")))  # fmt: skip
    assert (one.StudyDate, one.StudyTime) != (two.StudyDate, two.StudyTime)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("T1_MPRAGE sag Dr.Miller 12.3.1945", "T1 MPRAGE sag"),
        ("Miller J", None),
        ("t2_tse_tra FLAIR +C Jane", "t2 tse tra FLAIR"),
    ],
)
def test_of_descriptions_the_words_of_imaging_stay(tmp_path, given, kept):
    (written,) = clean(tmp_path, slice_dataset(PIXELS, SeriesDescription=given))
    assert written.get("SeriesDescription") == kept


def test_that_there_was_contrast_stays_and_its_text_goes(tmp_path):
    one, two = clean(tmp_path, slice_dataset(PIXELS, ContrastBolusAgent="Gadovist for Miller"),
                     slice_dataset(PIXELS, ContrastBolusAgent="NONE"))  # fmt: skip
    assert (one.ContrastBolusAgent, two.get("ContrastBolusAgent")) == ("CONTRAST", None)


def test_a_private_b_value_becomes_the_standard_one(tmp_path):
    dataset = slice_dataset(PIXELS)
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1000")
    (written,) = clean(tmp_path, dataset)
    assert written.DiffusionBValue == 1000
    assert 0x0019100C not in written


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "is Secondary Capture Image Storage"),
        ({"SOPClassUID": BasicTextSRStorage}, "is Basic Text SR Storage"),
        ({"SOPClassUID": EncapsulatedPDFStorage}, "is Encapsulated PDF Storage"),
        ({"BurnedInAnnotation": "YES"}, "says that text is burned in"),
        ({"ImageType": ["DERIVED", "PRIMARY", "SCREEN SAVE"]}, "is a copy of a screen"),
        ({"ConversionType": "WSD"}, "is a secondary capture"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "is secondary"),
        ({"PixelData": None}, "holds no pixels"),
    ],
)
def test_what_may_show_a_name_is_left_out_with_its_reason(tmp_path, tags, reason):
    found = treat(tmp_path, slice_dataset(PIXELS, **tags))
    (outcome,) = found.outcomes
    assert outcome.out is None
    assert outcome.reason.startswith(reason)
    assert not outcome.is_damaged
    assert not (tmp_path / "out").exists()


def test_every_file_is_written_or_left_out(tmp_path):
    whole = slice_dataset(PIXELS)
    found = treat(tmp_path, whole, whole, dicom_bytes(whole)[:-9], b"Miller's letter")
    assert [bool(item.out) for item in found.outcomes] == [True, False, False, False]
    assert [item.is_damaged for item in found.outcomes] == [False, False, True, False]
    assert found.outcomes[1].reason.endswith("0, which was written")


def test_names_of_files_are_not_passed_on(tmp_path):
    folder = tmp_path / "in" / "MILLER^JANE"
    folder.mkdir(parents=True)
    (folder / "miller.dcm").write_bytes(dicom_bytes(slice_dataset(PIXELS)))
    deidentify(every_file([tmp_path / "in"]), tmp_path / "out", key=KEY)
    assert not any("miller" in str(path).lower() for path in (tmp_path / "out").rglob("*"))


def test_outside_of_the_head_is_air(tmp_path):
    head = np.zeros(PIXELS.shape, bool)
    head[20:60, 20:60] = True
    (tmp_path / "in").write_bytes(
        dicom_bytes(slice_dataset(PIXELS, modality="CT", RescaleIntercept=-24))
    )
    found = deidentify([tmp_path / "in"], tmp_path, key=KEY, find_head=lambda _: head)
    (scan,) = open_images(tmp_path / found.outcomes[0].out)
    assert (scan.pixels[~head] == -1000).all()
    np.testing.assert_array_equal(scan.pixels[head], PIXELS[head] - 24)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    key = read_key(tmp_path / "key")
    assert len(key) == 64
    assert read_key(tmp_path / "key") == key
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("mode", "size", "fact"), [(0o644, 64, "by others"), (0o600, 8, "8 bytes")]
)
def test_a_key_that_protects_nothing_is_refused(tmp_path, mode, size, fact):
    (tmp_path / "key").write_bytes(b"k" * size)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(SettingsError, match=fact):
        read_key(tmp_path / "key")


def test_what_is_written_lies_apart_from_what_is_read_and_from_the_key(tmp_path):
    with pytest.raises(OutputError, match="which is read"):
        check_paths(tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(OutputError, match="passed on with it"):
        check_paths(tmp_path / "in", tmp_path / "out", private=[tmp_path / "out" / "key"])
