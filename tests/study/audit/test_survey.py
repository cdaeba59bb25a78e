"""What is measured of every file once."""

from pathlib import Path

import numpy as np
import pytest
from support.dicom_files import dicom_bytes, slice_dataset
from support.nifti_files import nifti_bytes
from support.planted import ARTIST, BURNED, head_of, with_artist, with_text, write

from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.models.engine import Engine
from tumorlens.progress import silent
from tumorlens.study.audit import survey
from tumorlens.study.audit.facts import PIXEL_FACTS, FileFacts
from tumorlens.study.audit.survey import (
    Embedder,
    HeaderOutlier,
    OodFile,
    Survey,
    header_outliers,
    ood_files,
    survey_files,
)


@pytest.fixture
def look(tiny_bundle: Bundle):
    """Survey files, each its own image unless told."""

    def go(*paths: Path, image_ids: list[int] | None = None, progress=silent) -> Survey:
        numbers = None if image_ids is None else np.array(image_ids)
        return survey_files(
            paths, tiny_bundle.spec, network=tiny_bundle, image_ids=numbers, progress=progress
        )

    return go


def test_a_good_file_has_every_figure(look, tmp_path):
    found = look(write(tmp_path / "a.png", head_of(0)))
    assert found.errors == ("",)
    assert found.facts[0]
    assert (found.facts[0].width, found.facts[0].mode) == (128, "L")
    for columns in (found.stored, found.prepared):
        assert all(np.isfinite(columns[name][0]) for name in (*PIXEL_FACTS, "bytes"))
    assert found.stored["bytes"][0] == (tmp_path / "a.png").stat().st_size
    assert 0 <= found.distance[0] <= 2


def test_columns_of_stored_files_hold_what_the_header_says(look, tmp_path):
    columns = look(
        write(tmp_path / "a.png", head_of(0)), write(tmp_path / "b.jpg", head_of(0)[:100])
    ).stored_columns()
    assert columns["width"].tolist() == [128, 128]
    assert columns["height"].tolist() == [128, 100]
    assert columns["format"].tolist() == ["PNG", "JPEG"]
    assert set(PIXEL_FACTS) | {"bytes", "mode"} < set(columns)


def test_a_slice_of_a_volume_has_every_figure_but_its_bytes(look, tmp_path):
    head = head_of(0)
    (tmp_path / "p.nii").write_bytes(nifti_bytes(np.stack([head, head], axis=-1)))
    (tmp_path / "a").write_bytes(dicom_bytes(slice_dataset(head)))
    found = look(tmp_path / "p.nii#1", tmp_path / "a")
    columns = found.stored_columns()
    assert columns["width"].tolist() == [128, 128]
    assert columns["format"].tolist() == ["NIfTI", "DICOM"]
    assert columns["bytes"].tolist() == [0, (tmp_path / "a").stat().st_size]
    assert all(np.isfinite(found.stored[name]).all() for name in PIXEL_FACTS)


def broken(root: Path) -> dict[str, Path]:
    """Files that cannot be used, by what is wrong with them."""
    whole = write(root / "whole.png", head_of(1)).read_bytes()
    made = {name: root / f"{name.replace(' ', '_')}.png" for name in ("empty", "text", "cut short")}
    for path, data in zip(made.values(), (b"", b"no picture", whole[: len(whole) // 2]),
                          strict=True):  # fmt: skip
        path.write_bytes(data)
    made["black"] = write(root / "black.png", np.zeros((64, 64), np.uint8))
    made["missing"] = root / "nowhere.png"
    made["folder"] = root / "folder.png"
    made["folder"].mkdir()
    return made


def test_a_file_that_cannot_be_used_is_a_row_with_its_reason(look, tmp_path):
    files = broken(tmp_path)
    good = write(tmp_path / "good.png", head_of(0))
    found = look(*files.values(), good)
    reasons = dict(zip(files, found.errors, strict=False))
    assert all(reasons.values()), reasons
    assert found.errors[-1] == ""
    assert np.isnan(found.prepared["mean"][:-1]).all()
    assert np.isnan(found.distance[:-1]).all()
    assert np.isfinite(found.distance[-1])


def test_a_black_picture_keeps_what_was_measured_before_it_failed(look, tmp_path):
    found = look(write(tmp_path / "black.png", np.zeros((64, 64), np.uint8)))
    assert found.facts[0]
    assert found.stored["black_share"][0] == 1


def test_text_is_told_by_its_place(look, tmp_path):
    found = look(write(tmp_path / "a.png", with_text(head_of(0))))
    [box] = found.text[0]
    assert (box.y + box.height < 40, box.over_head) == (True, False)
    assert BURNED not in repr(found)


def test_fields_that_name_people_are_told_by_name_alone(look, tmp_path):
    image, exif = with_artist(head_of(0))
    found = look(write(tmp_path / "a.jpg", image, exif=exif))
    assert found.facts[0]
    assert found.facts[0].exif == ("Artist",)
    assert ARTIST not in repr(found)


def test_the_network_is_asked_once_for_each_picture(look, tmp_path, monkeypatch):
    asked = []
    run = Embedder.run
    monkeypatch.setattr(
        Embedder, "run", lambda self, batch: asked.append(len(batch)) or run(self, batch)
    )
    paths = [write(tmp_path / f"{i}.png", head_of(i // 2)) for i in range(4)]
    found = look(*paths, image_ids=[4, 4, 9, 9])
    assert asked == [2]
    assert found.distance[0] == found.distance[1]
    assert found.distance[2] == found.distance[3]


def test_rows_keep_the_order_of_the_files_over_many_batches(look, tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "BATCH", 2)
    paths = [write(tmp_path / f"{i}.png", head_of(0)[: 60 + i]) for i in range(11)]
    told: list[tuple[int, int]] = []
    found = look(*paths, progress=lambda done, total: told.append((done, total)))
    assert [fact.height if fact else 0 for fact in found.facts] == list(range(60, 71))
    assert told == [*((done, 11) for done in range(2, 11, 2)), (11, 11)]


def test_a_batch_of_unreadable_files_alone_is_no_stop(look, tmp_path):
    files = broken(tmp_path)
    found = look(files["empty"], files["text"])
    assert len(found.errors) == 2
    assert np.isnan(found.distance).all()


def fact(width=224, height=224, *, mode="L", kind="JPEG") -> FileFacts:
    return FileFacts(width, height, mode, kind, bytes=9000, exif=())


def test_files_that_are_all_alike_are_no_outliers():
    assert header_outliers([fact()] * 50) == []


@pytest.mark.parametrize(
    ("other", "reasons"),
    [
        (fact(mode="RGBA"), ("mode RGBA, where 98 % are L",)),
        (fact(kind="PNG"), ("format PNG, where 98 % are JPEG",)),
        (fact(2048, 2048), ("size 2048 x 2048, far from the usual 224 x 224",)),
        (fact(64, 64), ("size 64 x 64, far from the usual 224 x 224",)),
        (fact(400, 125), ("shape 400 x 125, far from the usual 224 x 224",)),
        (fact(900, 300, mode="P"), (
            "mode P, where 98 % are L",
            "size 900 x 300, far from the usual 224 x 224",
            "shape 900 x 300, far from the usual 224 x 224",
        )),
    ],
)  # fmt: skip
def test_a_file_unlike_its_set_is_an_outlier_and_says_why(other, reasons):
    assert header_outliers([*[fact()] * 30, other, *[fact()] * 19]) == [HeaderOutlier(30, reasons)]


@pytest.mark.parametrize("other", [fact(225, 223), fact(256, 256), fact(300, 224)])
def test_a_few_pixels_more_make_no_outlier(other):
    assert header_outliers([*[fact()] * 49, other]) == []


def test_a_mode_that_many_files_share_is_no_outlier():
    assert header_outliers([fact()] * 90 + [fact(mode="RGB")] * 10) == []


def test_sizes_of_a_set_that_varies_are_no_outliers():
    sizes = [150 + 17 * i for i in range(40)]
    assert header_outliers([fact(side, side) for side in sizes]) == []


def test_each_data_set_has_its_own_usual():
    facts = [fact()] * 40 + [fact(512, 512, mode="RGB", kind="PNG")] * 2
    assert [found.position for found in header_outliers(facts)] == [40, 41]
    assert header_outliers(facts, ["a"] * 40 + ["b"] * 2) == []


def test_files_without_facts_keep_their_place_and_are_left_out():
    facts = [None, *[fact()] * 40, None, fact(mode="CMYK")]
    assert [found.position for found in header_outliers(facts)] == [42]
    assert header_outliers([None, None]) == header_outliers([]) == []


def test_the_farthest_file_comes_first():
    found = ood_files([0.3, 0.1, float("nan"), 0.9, 0.2], limit=0.2)
    assert found == [OodFile(3, 0.9), OodFile(0, 0.3)]


def test_no_files_are_out_of_distribution():
    assert ood_files([], limit=0.2) == []


@pytest.mark.parametrize("name", ["tumorlens-tiny", "tumorlens-base"])
def test_the_part_of_a_graph_that_embeds_gives_what_the_whole_gives(name):
    bundle = load_bundle(name)
    side = bundle.spec.side
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side), np.uint8)
    np.testing.assert_array_equal(
        Embedder(bundle).run(pixels), Engine(bundle).run(pixels).embedding
    )
