"""Facts about series: what belongs together, in which order, and why one is not used."""

import random
from dataclasses import replace

import numpy as np
import pytest
from pydicom import uid
from support.broken_files import HEAD
from support.dicom_files import CORONAL, SAGITTAL, dicom_bytes, slice_dataset, write_series

from tumorlens.files import read_table
from tumorlens.images.listing import list_series
from tumorlens.images.listing import write_series as write_list
from tumorlens.images.readers import find_scans
from tumorlens.images.series import COLUMNS, group_slices, series_row
from tumorlens.images.slices import SliceHeader

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
VOLUME = np.stack([HEAD.astype(np.int16)] * 6)


def stack(count: int = 6, *, step: float = 5.0, **fields) -> list[SliceHeader]:
    """Headers of a stack, in no order and with misleading names and numbers."""
    headers = [
        SliceHeader(
            path=f"folder/{count - k:03d}.dcm", study="1", series="1.2", instance=f"1.2.{k}",
            modality="mri", storage="MR Image Storage", image_type=("ORIGINAL", "PRIMARY"),
            matrix=(96, 96), orientation=AXIAL, corner=(0.0, 0.0, step * k),
            spacing_mm=(0.5, 0.5), number=(7 * k) % count,
        )
        for k in range(count)
    ]  # fmt: skip
    headers = [replace(header, **fields) for header in headers]
    random.Random(0).shuffle(headers)
    return headers


def only(headers):
    (series,) = group_slices(headers)
    return series


def positions(series) -> list[float]:
    return [round(header.position, 3) for header in series.slices]


def test_slices_come_in_the_order_of_their_positions_whatever_their_names():
    series = only(stack())
    assert positions(series) == [0, 5, 10, 15, 20, 25]
    assert (series.plane, series.spacing_mm, series.reason) == ("axial", 5.0, "")
    assert series.is_used


@pytest.mark.parametrize(
    ("orientation", "axis", "plane"), [(CORONAL, 1, "coronal"), (SAGITTAL, 0, "sagittal")]
)
def test_order_and_plane_follow_the_normal_in_every_plane(orientation, axis, plane):
    headers = [
        replace(h, orientation=tuple(orientation), corner=tuple(np.roll(h.corner, axis + 1)))
        for h in stack()
    ]
    series = only(headers)
    assert series.plane == plane
    assert positions(series) == sorted(positions(series))
    assert series.spacing_mm == 5.0


def test_duplicates_count_once_and_are_noted():
    headers = stack()
    series = only([*headers, *(replace(h, path=f"copy/{h.path}") for h in headers[:2])])
    assert len(series.slices) == 6
    assert series.notes == ("2 duplicates left out",)


def test_missing_slices_are_tolerated_and_counted():
    headers = sorted(stack(12), key=lambda h: h.position)
    series = only([*headers[:4], *headers[5:8], *headers[10:]])
    assert series.notes == ("3 slices lack in between",)
    assert series.spacing_mm == 5.0
    assert series.is_used


def test_uneven_slices_are_tolerated_and_noted():
    lower = stack(6, step=4.0)
    upper = [replace(h, instance=h.instance + "u", corner=(0.0, 0.0, 27.0 + h.corner[2] * 7 / 4))
             for h in lower]  # fmt: skip
    series = only([*lower, *upper])
    assert series.notes == ("slices lie 4.0 to 7.0 mm apart",)
    assert series.is_used


def test_a_gantry_tilt_is_tolerated_and_noted():
    tilt = np.radians(18.5)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(-np.sin(tilt)))
    series = only(stack(orientation=orientation))
    assert series.notes == ("gantry tilt of 18.5 degrees",)
    assert series.plane == "axial"
    assert series.spacing_mm == pytest.approx(5 * np.cos(tilt))
    assert series.is_used


def test_a_localizer_inside_a_series_is_a_series_of_its_own():
    localizer = [
        replace(h, image_type=("ORIGINAL", "LOCALIZER"), instance=f"l{h.instance}")
        for h in stack(2, orientation=tuple(map(float, SAGITTAL)))
    ]
    used, other = group_slices([*stack(), *localizer])
    assert (used.name, len(used.slices), used.reason) == ("1.2", 6, "")
    assert (other.name, len(other.slices), other.reason) == ("1.2#2", 2, "is a localizer")
    assert not other.has_usable_slices


def test_a_derived_image_inside_a_series_is_a_series_of_its_own():
    derived = replace(stack()[0], image_type=("DERIVED", "PRIMARY"), instance="d")
    used, other = group_slices([*stack(), derived])
    assert (len(used.slices), used.reason) == (6, "")
    assert other.reason == "has 1 slice, fewer than 5"


@pytest.mark.parametrize(
    ("field", "value"),
    [("matrix", (128, 96)), ("kind", ("2", "", "")), ("kind", ("", "1000", "")),
     ("kind", ("", "", "2")), ("acquisition", "2"), ("image_type", ("ORIGINAL", "PRIMARY", "W")),
     ("storage", "Other"), ("orientation", (1.0, 0.0, 0.0, 0.0, 0.9, 0.436))],
    ids=["matrix", "echo", "b-value", "time", "acquisition", "fat and water", "class", "plane"],
)  # fmt: skip
def test_two_stacks_under_one_id_are_two_series(field, value):
    other = [replace(h, instance=f"o{h.instance}", **{field: value}) for h in stack()]
    found = group_slices([*stack(), *other])
    assert [(s.name, len(s.slices), s.reason) for s in found] == [("1.2", 6, ""), ("1.2#2", 6, "")]


def test_an_id_that_two_studies_share_is_two_series_with_names_of_their_own():
    other = [replace(h, study="another", instance=f"o{h.instance}") for h in stack()]
    found = group_slices([*stack(), *other, other[0]])
    assert [(s.name, len(s.slices)) for s in found] == [("1.2", 6), ("1.2#2", 6)]
    assert [s.notes for s in found] == [(), ("1 duplicate left out",)]


def test_acquisitions_that_repeat_no_position_stay_one_series():
    headers = [replace(h, acquisition=str(k)) for k, h in enumerate(stack())]
    assert len(only(headers).slices) == 6


def test_several_images_at_one_position_are_not_used_as_a_whole():
    again = [replace(h, instance=f"a{h.instance}") for h in stack()]
    series = only([*stack(), *again])
    assert series.reason == "holds several images at one position"
    assert series.has_usable_slices


def test_slices_with_an_id_of_a_series_each_are_joined():
    headers = [replace(h, series=f"9.{h.instance}", study=h.instance) for h in stack()]
    series = only(headers)
    assert positions(series) == [0, 5, 10, 15, 20, 25]
    assert "joined by geometry" in series.notes[0]


def test_single_images_that_make_no_stack_are_not_joined():
    headers = [replace(h, series=f"9.{h.instance}", corner=(0.0, 0.0, 0.0)) for h in stack()]
    assert len(group_slices(headers)) == 6


@pytest.mark.parametrize(
    ("fields", "reason", "has_usable_slices"),
    [({"modality": None, "storage": "RT Dose Storage"},
      "is RT Dose Storage, not a CT or MR image", False),
     *[({"image_type": ("DERIVED", word)}, reason, False) for word, reason in (
         ("SECONDARY", "is secondary: made from other images"), ("MIP", "is a projection (MIP)"),
         ("PROJECTION IMAGE", "is a projection"), ("MPR", "was reformatted (MPR)"),
         ("SCREEN SAVE", "is a copy of a screen"), ("P", "is a phase image"),
         ("PHASE", "is a phase image"), ("ADC", "is a map of diffusion (ADC)"),
         ("FA", "is a map of diffusion (FA)"))],
     ({"corner": None}, "does not say where its slices lie", True),
     ({"orientation": None}, "does not say where its slices lie", True)],
)  # fmt: skip
def test_a_series_that_is_not_used_has_its_reason(fields, reason, has_usable_slices):
    series = only(stack(**fields))
    assert (series.reason, series.has_usable_slices) == (reason, has_usable_slices)


def test_without_positions_slices_come_as_they_are_numbered():
    series = only(stack(corner=None))
    assert [header.number for header in series.slices] == list(range(6))
    assert series.spacing_mm is None


@pytest.mark.parametrize(("count", "reason"), [(1, "has 1 slice, fewer than 5"), (5, "")])
def test_five_slices_are_enough(count, reason):
    series = only(stack(count))
    assert (series.reason, series.has_usable_slices) == (reason, True)


def test_files_are_listed_with_order_plane_and_spacing_from_their_positions(tmp_path):
    write_series(tmp_path / "a", VOLUME, SpacingBetweenSlices=-1, SliceThickness=99)
    (tmp_path / "a" / "report").write_bytes(
        dicom_bytes(slice_dataset(HEAD, SOPClassUID=uid.BasicTextSRStorage, SeriesInstanceUID="9"))
    )
    (tmp_path / "a" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(300))
    (tmp_path / "a" / "photo.png").write_bytes(b"not one either")
    found = list_series(find_scans([tmp_path]))
    whole, report = sorted(found.series, key=lambda series: -len(series.slices))
    assert (whole.plane, whole.spacing_mm, whole.reason) == ("axial", 5.0, "")
    assert positions(whole) == [0, 5, 10, 15, 20, 25]
    assert report.reason == "is Basic Text SR Storage, not a CT or MR image"
    assert [item.path for item in found.unreadable] == [str(tmp_path / "a" / "broken.dcm")]
    assert found.images == (tmp_path / "a" / "photo.png",)


def test_every_series_and_every_broken_header_is_a_row_of_the_table(tmp_path):
    write_series(tmp_path / "a", VOLUME[:3])
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(300))
    write_list(list_series(find_scans([tmp_path])), tmp_path / "series.csv")
    rows = read_table(tmp_path / "series.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [(row["slices"], row["used"]) for row in rows] == [("3", "no"), ("0", "no")]
    assert rows[0]["reason"] == "has 3 slices, fewer than 5"
    assert rows[0]["path"] == str(tmp_path / "a")
    assert rows[1]["path"] == str(tmp_path / "broken.dcm")
    assert rows[1]["reason"]


def test_a_row_says_what_is_known_and_leaves_the_rest_empty():
    row = series_row(only(stack(spacing_mm=None, orientation=None)))
    assert set(row) == set(COLUMNS)
    assert (row["plane"], row["spacing_mm"], row["row_mm"]) == ("", "", "")
