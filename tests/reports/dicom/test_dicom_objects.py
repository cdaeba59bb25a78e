"""Facts about the DICOM objects of a series: values, geometry, identity, what validators say."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from support.answered_series import PATIENT, PROBABILITIES, answered_series
from support.dicom_tools import dciodvfy_errors, output_of, pixelmed_report, program

from tumorlens.files import write_file
from tumorlens.predictions.heatmaps import evidence_on_scan
from tumorlens.reports.dicom import KINDS
from tumorlens.reports.dicom.codes import TYPES
from tumorlens.reports.dicom.images import BURNED_IN
from tumorlens.reports.dicom.objects import (
    ObjectOptions,
    result_objects,
    why_no_objects,
    write_objects,
)


def items(report, name: str, kind: str) -> list:
    """Return the content items of a name and value type, wherever they stand in a report."""
    found = []
    for item in report.ContentSequence:
        names = item.get("ConceptNameCodeSequence")
        if names and names[0].CodeMeaning == name and item.ValueType == kind:
            found.append(item)
        if "ContentSequence" in item:
            found += items(item, name, kind)
    return found


def numbers(report) -> list[float]:
    values = [item.MeasuredValueSequence[0] for item in items(report, "Probability", "NUM")]
    return [float(v.get("FloatingPointValue", v.NumericValue)) for v in values]


@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_finds_no_error_in_an_object(answered, tmp_path, kind):
    for path, _ in write_objects(answered.objects[kind], tmp_path):
        assert dciodvfy_errors(path) == []


def test_the_report_is_a_valid_tid_1500(answered, tmp_path):
    ((path, _),) = write_objects(answered.objects["sr"], tmp_path)
    said = pixelmed_report(path)
    assert "Found Root Template TID_1500 (MeasurementReport)" in said
    assert "Error" not in said


def test_another_program_reads_the_report(answered, tmp_path):
    ((path, _),) = write_objects(answered.objects["sr"], tmp_path)
    said = output_of(program("dsrdump", "Debian dcmtk"), "+Pc", path)
    assert '(122157,DCM,"Probability")="0.987654321987" (1,UCUM,"no units")' in said
    assert "SCOORD" in said


def test_the_report_holds_the_answer_and_each_positive_slice_to_the_last_digit(answered):
    (report,) = answered.objects["sr"]
    assert numbers(report) == [answered.answer.score, PROBABILITIES[2], PROBABILITIES[3]]
    presence = items(report, "Presence of property", "CODE")
    assert [i.ConceptCodeSequence[0].CodeValue for i in presence] == ["121053"] * 3
    parameters = {i.TextValue for i in items(report, "Algorithm Parameters", "TEXT")}
    assert f"bundle sha256 {answered.bundle.sha256}" in parameters
    assert f"threshold {answered.answer.threshold!r}" in parameters
    (comment,) = items(report, "Comment", "TEXT")
    assert "uncalibrated" in comment.TextValue


def test_regions_lie_on_their_slice_around_the_strongest_evidence(answered):
    (report,) = answered.objects["sr"]
    regions = items(report, "Image Region", "SCOORD")
    assert len(regions) == 2
    for region, number in zip(regions, (2, 3), strict=True):
        header = answered.series.slices[number]
        (source,) = region.ContentSequence
        assert source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == header.instance
        outline = np.reshape(region.GraphicData, (-1, 2))
        assert (outline[0] == outline[-1]).all()
        evidence = evidence_on_scan(answered.predictions[number].heatmap, header.matrix)
        row, column = np.unravel_index(evidence.argmax(), evidence.shape)
        low, high = outline.min(0), outline.max(0)
        assert (low <= [column + 0.5, row + 0.5]).all()
        assert (high >= [column + 0.5, row + 0.5]).all()


def test_the_map_gives_the_evidence_back_on_the_planes_of_the_slices(answered, tmp_path):
    ((path, _),) = write_objects(answered.objects["pm"], tmp_path)
    found = dcmread(path)
    shared = found.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    values = found.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    expected = np.stack(
        [evidence_on_scan(p.heatmap, h.matrix)
         for p, h in zip(answered.predictions, answered.series.slices, strict=True)]
    )  # fmt: skip
    assert np.ptp(expected) > 0
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (quantity.CodeValue, quantity.CodeMeaning) == ("130402", "Class activation")
    frames = found.PerFrameFunctionalGroupsSequence
    for header, value in zip(answered.series.slices, expected, strict=True):
        (number,) = (
            k for k, f in enumerate(frames)
            if tuple(map(float, f.PlanePositionSequence[0].ImagePositionPatient)) == header.corner
        )  # fmt: skip
        (source,) = frames[number].DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == header.instance
        assert np.abs(values[number] - value).max() <= 0.51 * mapping.RealWorldValueSlope


def test_captures_show_the_peak_first_and_say_that_they_are_for_research(answered, monkeypatch):
    captures = answered.objects["sc"]
    shown = [c.SourceImageSequence[0].ReferencedSOPInstanceUID for c in captures]
    assert shown == [answered.series.slices[k].instance for k in (2, 3)]
    height, width = captures[0].pixel_array.shape[:2]
    assert height > 512
    assert width >= 1024
    monkeypatch.setattr("tumorlens.reports.dicom.images.BURNED_IN", "")
    (other,) = answered.make(kinds=("sc",))[:1]
    differs = (other.pixel_array != captures[0].pixel_array).any(axis=(1, 2))
    assert differs[-52:].any(), BURNED_IN
    assert not differs[:-52].any()


def test_the_key_object_names_the_peak_slice(answered):
    (key,) = answered.objects["ko"]
    named = {e.value for e in key.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    drawn = answered.objects["sc"][0].SOPInstanceUID
    assert named == {answered.series.slices[2].instance, drawn}


def test_the_segment_covers_positive_slices_alone(answered):
    (segment,) = answered.objects["seg"]
    positions = {
        float(f.PlanePositionSequence[0].ImagePositionPatient[2])
        for f in segment.PerFrameFunctionalGroupsSequence
    }
    assert positions == {answered.series.slices[k].corner[2] for k in (2, 3)}
    assert segment.pixel_array.any(axis=(1, 2)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_identity_is_that_of_the_source_in_any_alphabet(answered, tmp_path, kind):
    path, _ = write_objects(answered.objects[kind], tmp_path)[0]
    found = dcmread(path)
    for name, value in PATIENT.items():
        if name not in ("SpecificCharacterSet", "SliceThickness", "FrameOfReferenceUID"):
            assert str(found[name].value) == value, name
    assert found.StudyInstanceUID == answered.series.slices[0].study
    assert found.SeriesInstanceUID != answered.series.slices[0].series


def test_a_second_run_replaces_nothing_and_doubles_nothing(answered, tmp_path):
    first = write_objects(answered.make(), tmp_path)
    before = {path: path.read_bytes() for path, _ in first}
    second = write_objects(answered.make(), tmp_path)
    assert [path for path, _ in second] == [path for path, _ in first]
    assert not any(is_new for _, is_new in second)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_bundle_or_other_codes_give_other_ids(answered):
    def ids(**changes: object) -> set[str]:
        given = {"bundle": answered.bundle, "options": ObjectOptions(kinds=("sr", "sc")), **changes}
        made = result_objects(answered.series, answered.predictions, **given)
        return {str(d.SOPInstanceUID) for d in made} | {str(d.SeriesInstanceUID) for d in made}

    first = ids()
    assert len(first) == 2 + 3
    assert not first & ids(bundle=replace(answered.bundle, sha256="0" * 64))
    assert not first & ids(options=ObjectOptions(kinds=("sr", "sc"), types=True))


def test_types_have_codes_only_on_request(answered):
    def codes(**options: object) -> set[str]:
        (report,) = result_objects(
            answered.series,
            answered.predictions,
            bundle=answered.bundle,
            answer=replace(answered.answer, type="meningioma"),
            options=ObjectOptions(kinds=("sr",), **options),
        )
        return {e.value for e in report.iterall() if e.keyword == "CodeValue"}

    assert TYPES["meningioma"].value in codes(types=True)
    assert not {code.value for code in TYPES.values()} & codes()


def test_out_of_scope_gives_a_report_and_a_capture_without_a_figure(answered):
    outside = [replace(p, decision="out of scope") for p in answered.predictions]
    made = result_objects(answered.series, outside, bundle=answered.bundle)
    assert [d.Modality for d in made] == ["SR", "OT"]
    assert numbers(made[0]) == []
    (presence,) = items(made[0], "Presence of property", "CODE")
    assert presence.ConceptCodeSequence[0].CodeMeaning == "Not Evaluated"


def test_a_slice_that_cannot_be_read_is_left_out(answered):
    broken = list(answered.predictions)
    broken[0] = replace(broken[0], error="damaged", heatmap=None, tumor_probability=None)
    report, parametric_map, *_ = result_objects(answered.series, broken, bundle=answered.bundle)
    assert numbers(report)[1:] == [PROBABILITIES[2], PROBABILITIES[3]]
    assert parametric_map.NumberOfFrames == len(PROBABILITIES) - 1


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "tags",
    [
        {"PatientName": "Only"},
        {"PatientName": None, "PatientID": None, "StudyDate": None, "AccessionNumber": None},
        {"PatientSex": "unknown", "PatientBirthDate": "1961-02", "StudyTime": "soon"},
        {
            "FrameOfReferenceUID": None,
            "SliceThickness": None,
            "PatientAge": "42",
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "",
        },
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
    ],
)
def test_headers_of_archives_are_completed(tags, tmp_path, tiny_bundle, caplog):
    made = answered_series(tmp_path / "in", tiny_bundle, **tags)
    name = {**PATIENT, **tags}["PatientName"] or ""
    for dataset in (made.objects[kind][0] for kind in KINDS):
        ((path, _),) = write_objects([dataset], tmp_path / "out")
        assert dciodvfy_errors(path) == []
        assert str(dcmread(path).PatientName) == name
    assert "Only" not in caplog.text


def test_a_series_that_is_not_used_says_why(answered):
    assert why_no_objects(answered.series) == ""
    short = replace(answered.series, reason="has 2 slices, fewer than 5")
    assert why_no_objects(short) == short.reason
    assert why_no_objects(short, ObjectOptions(all_series=True)) == ""
    nameless = tuple(replace(s, instance="") for s in answered.series.slices)
    assert "no DICOM series" in why_no_objects(replace(answered.series, slices=nameless))


def test_a_file_that_is_not_ours_is_an_error_of_that_series(answered, tmp_path):
    from tumorlens.errors import ImageError

    write_file(tmp_path / "a.dcm", b"x" * 500)
    slices = tuple(replace(s, path=str(tmp_path / "a.dcm")) for s in answered.series.slices)
    moved = [replace(p, path=str(tmp_path / "a.dcm")) for p in answered.predictions]
    with pytest.raises(ImageError):
        result_objects(replace(answered.series, slices=slices), moved, bundle=answered.bundle)


def test_frames_of_an_enhanced_file_are_named_by_their_numbers(tmp_path, tiny_bundle):
    made = answered_series(tmp_path / "in", tiny_bundle, is_enhanced=True)
    frames = [h.frame + 1 for h in made.series.slices]
    assert frames != sorted(frames)
    regions = items(made.objects["sr"][0], "Image Region", "SCOORD")
    found = [r.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber for r in regions]
    assert found == [frames[2], frames[3]]
    for dataset in (made.objects[kind][0] for kind in KINDS):
        ((path, _),) = write_objects([dataset], tmp_path / "out")
        assert dciodvfy_errors(path) == []
