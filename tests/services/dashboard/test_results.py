"""Uploads become results: bounded, in memory, one bad file never the end of the others."""

import cv2
import numpy as np
import pytest

from tumorlens.errors import CasesError
from tumorlens.images.readers import attempt, open_images_bytes, slice_headers_bytes
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Prediction, Scan
from tumorlens.services.dashboard import uploads as module
from tumorlens.services.dashboard import worklists
from tumorlens.services.dashboard.results import (
    SIDE,
    Result,
    cases_csv,
    decode_pixels,
    encode_pixels,
    tumor_series,
)
from tumorlens.services.dashboard.uploads import EXAMPLES, predict_examples, predict_files
from tumorlens.services.dashboard.worklists import joined
from tumorlens.services.store.reviews import Review
from tumorlens.settings import ReadLimits
from tumorlens.study.data.index import read_set
from tumorlens.study.phantom.volumes import draw_volume, write_dicom, write_nifti

LIMITS = ReadLimits(2**20, 2**22)


@pytest.fixture(scope="module")
def predictor(tiny_bundle) -> Predictor:
    return Predictor(tiny_bundle)


def named(*names: str) -> list[Result]:
    return [Result(name, f"digest of {name}", Prediction(name)) for name in names]


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_a_result_answers_as_the_predictor_does_for_the_file(predictor, write_image, head):
    path = write_image(head, "a.png")
    result = next(predict_files([("a.png", path.read_bytes)], predictor, limits=LIMITS))
    from_file = predictor.predict([path])[0]
    assert result.prediction.tumor_probability == from_file.tumor_probability
    assert result.slices[0].heatmap is not None


def test_files_that_cannot_be_used_keep_their_place_and_say_why(predictor, head):
    files = [
        ("text.png", lambda: b"not a picture"),
        ("good.png", lambda: png(head)),
        ("empty.png", lambda: b""),
        ("blank.png", lambda: png(np.zeros((64, 64), np.uint8))),
        ("large.png", lambda: b"x" * (LIMITS.max_bytes + 1)),
    ]
    found = list(predict_files(files, predictor, limits=LIMITS))
    assert [r.name for r in found] == [name for name, _ in files]
    assert [bool(r.prediction.error) for r in found] == [True, False, True, True, True]
    assert "is not a PNG" in found[0].prediction.error
    assert "above the cap" in found[4].prediction.error


def test_more_files_than_a_batch_are_all_answered_in_order(predictor, head, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    reported = []
    files = [(f"{i}.png", lambda i=i: png(np.roll(head, i))) for i in range(7)]
    found = list(predict_files(
        files, predictor, limits=LIMITS, progress=lambda done, total: reported.append((done, total))
    ))  # fmt: skip
    assert [r.name for r in found] == [name for name, _ in files]
    assert reported == [(3, 7), (6, 7), (7, 7)]


def test_whole_grey_levels_are_kept_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.float32)
    assert (decode_pixels(encode_pixels(pixels)) == pixels).all()


def test_deep_pixels_keep_their_order_in_16_bits():
    pixels = np.linspace(-1024, 3071, 4000, dtype=np.float32).reshape(50, 80)
    kept = decode_pixels(encode_pixels(pixels))
    assert kept.dtype == np.uint16
    assert (np.diff(kept.ravel().astype(int)) > 0).all()


def test_a_large_scan_is_kept_small():
    assert max(decode_pixels(encode_pixels(np.ones((900, 2000), np.float32))).shape) == SIDE


def test_a_flat_scan_is_kept_without_a_division_by_zero():
    assert (decode_pixels(encode_pixels(np.full((20, 20), 5000, np.float32))) == 0).all()


def test_a_queue_takes_no_more_than_it_holds_and_says_how_many_were_lost(monkeypatch):
    monkeypatch.setattr(worklists, "MAX_RESULTS", 3)
    queue, lost = joined(named("a", "b"), named("c", "d", "e"))
    assert [r.name for r in queue] == ["a", "b", "c"]
    assert lost == 2


def test_a_file_that_comes_again_keeps_its_place():
    queue, lost = joined(named("a", "b"), named("a"))
    assert [r.name for r in queue] == ["a", "b"]
    assert lost == 0


def test_the_examples_are_phantoms_of_every_class_and_all_can_be_read(predictor):
    found = predict_examples(predictor)
    assert {r.name for r in found} == {path.name for path in EXAMPLES.glob("phantom_*.png")}
    assert len(found) == 6
    assert all(r.is_example and not r.prediction.error for r in found)


def test_a_dropped_ct_slice_keeps_its_hounsfield_units_and_its_place(predictor, tmp_path):
    volume = draw_volume("ct", "healthy", seed=2, side=96)
    write_dicom(volume, tmp_path, seed=2)
    files = [(path.name, path.read_bytes) for path in sorted(tmp_path.iterdir())[8:10]]
    one, _ = predict_files(files, predictor, limits=ReadLimits())
    kept = one.slices[0]
    assert np.abs(kept.scan.pixels - volume.voxels[8]).max() < 0.05
    assert (kept.modality, kept.spacing_mm) == ("ct", pytest.approx((230 / 96, 230 / 96)))
    assert kept.orientation == (1, 0, 0, 0, 1, 0)


def test_evidence_lies_over_the_image_that_is_kept_of_a_large_one(predictor, head):
    large = cv2.resize(head, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    (kept,) = predict_files([("a.png", lambda: png(large))], predictor, limits=ReadLimits())
    (whole,) = predictor.predict_scans([Scan(large.astype(np.float32), "a")], heatmaps=True)
    middle = np.array([256.0, 256.0, 1.0])
    at = kept.slices[0].matrix @ middle
    assert at == pytest.approx(whole.heatmap.matrix @ np.array([512.0, 512.0, 1.0]))


def test_the_slices_of_a_series_have_one_answer_and_are_one_row(predictor, tmp_path):
    write_dicom(draw_volume("ct", "healthy", seed=2, side=96), tmp_path, seed=2)
    files = [(path.name, path.read_bytes) for path in sorted(tmp_path.iterdir())]
    found = list(predict_files([("a.png", lambda: b"no image"), *files[::-1]], predictor,
                               limits=ReadLimits()))  # fmt: skip
    assert [one.name for one in found] == ["a.png", found[1].name]
    series = found[1]
    assert series.answer.slices == len(series.slices) == 24
    assert [one.prediction.slice for one in series.slices] == list(range(1, 25))
    assert series.prediction.decision == series.answer.decision
    assert series.prediction.tumor_probability == series.answer.probability


@pytest.mark.parametrize("decision", ["tumor", "no tumor"])
def test_loose_files_of_two_series_are_two_cases_that_the_bench_reads(
    predictor, tmp_path, decision
):
    for seed in (2, 3):
        volume = draw_volume("ct", "healthy", seed=seed, side=96)
        write_dicom(volume, tmp_path / str(seed), seed=seed)
        for path in sorted((tmp_path / str(seed)).iterdir()):
            path.rename(tmp_path / f"{seed}-{path.name}")
        (tmp_path / str(seed)).rmdir()
    files = [(path.name, path.read_bytes) for path in sorted(tmp_path.iterdir())]
    found = list(predict_files(files, predictor, limits=ReadLimits()))
    seen = {one.digest: Review("id", "me", "correct", decision, "", "seen") for one in found}
    (tmp_path / "cases.csv").write_bytes(cases_csv(found, seen))
    assert [len(one.slices) for one in found] == [24, 24]
    assert tumor_series(found, seen) == (found if decision == "tumor" else [])
    if decision == "tumor":
        with pytest.raises(CasesError, match="48 of tumor volumes without a mask"):
            read_set(tmp_path)
    else:
        cases = read_set(tmp_path).cases
        assert (len(cases), {case.label for case in cases}) == (48, {"ct_healthy"})
        assert len({case.volume for case in cases}) == 2


def test_the_case_of_a_loose_series_says_what_is_true_of_it_when_it_is_dropped_again(
    predictor, tmp_path
):
    write_dicom(draw_volume("ct", "healthy", seed=2, side=96), tmp_path, seed=2)
    files = [(path.name, path.read_bytes) for path in sorted(tmp_path.iterdir())]
    table = f"path,label,modality,slices\n{files[0][0]},tumor,ct,3\n".encode()
    given = [*files, ("cases.csv", lambda: table)]
    (found,) = predict_files(given, predictor, limits=ReadLimits())
    assert found.truth == "ct_tumor"


class _Reader:
    """Stands for the process that reads files: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def slice_headers(self, data: bytes, *, source: str):
        self.asked.append(("headers", source))
        return attempt(slice_headers_bytes, data, source=source)

    def open_images(self, data: bytes, *, source: str):
        self.asked.append(("images", source))
        return attempt(open_images_bytes, data, source=source)


def test_no_file_from_outside_is_read_in_the_process_of_the_page(predictor, head, monkeypatch):
    data, asked = png(head), _Reader()
    for name in ("open_images_bytes", "slice_headers_bytes"):
        monkeypatch.setattr(module, name, None)
    (found,) = predict_files([("a.png", lambda: data)], predictor, limits=LIMITS, reader=asked)
    assert not found.prediction.error
    assert asked.asked == [("headers", "a.png"), ("images", "a.png")]


def test_a_nifti_volume_is_answered_as_a_series_from_memory(predictor, tmp_path):
    write_nifti(draw_volume("mri", "glioma", seed=3, side=96), tmp_path / "v.nii.gz")
    data = (tmp_path / "v.nii.gz").read_bytes()
    (found,) = predict_files([("v.nii.gz", lambda: data)], predictor, limits=ReadLimits())
    assert (found.name, len(found.slices)) == ("v.nii.gz", found.answer.slices)
    assert all(one.pixels for one in found.slices)


def test_a_folder_says_what_is_true_and_its_masks_are_no_scans(predictor, head):
    marked = np.zeros_like(head, dtype=np.uint8)
    marked[60:80, 60:80] = 255
    files = [
        ("set/yes/one.png", lambda: png(head)),
        ("set/yes/one_mask.png", lambda: png(marked)),
        ("set/two.png", lambda: png(head[::-1])),
        ("set/cases.csv", lambda: b"path,label,modality\ntwo.png,no tumor,mri\n"),
    ]
    one, two = predict_files(files, predictor, limits=ReadLimits())
    assert (one.truth, two.truth) == ("tumor", "mri_healthy")
    assert (decode_pixels(one.slices[0].mask) == marked).all()
