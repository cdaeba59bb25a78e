"""Uploads become results: bounded, in memory, one bad file never the end of the others."""

import cv2
import numpy as np
import pytest

from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Prediction, Scan
from tumorlens.services.dashboard import results as module
from tumorlens.services.dashboard.results import (
    EXAMPLES,
    SIDE,
    Result,
    add_results,
    decode_pixels,
    encode_pixels,
    predict_examples,
    predict_files,
)
from tumorlens.settings import ReadLimits
from tumorlens.study.phantom.volumes import draw_volume, write_dicom

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
    assert result.prediction.heatmap is not None


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
    monkeypatch.setattr(module, "MAX_RESULTS", 3)
    queue, lost = add_results(named("a", "b"), named("c", "d", "e"))
    assert [r.name for r in queue] == ["a", "b", "c"]
    assert lost == 2


def test_a_file_that_comes_again_keeps_its_place():
    queue, lost = add_results(named("a", "b"), named("a"))
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
    one, two = predict_files(files, predictor, limits=ReadLimits())
    assert np.abs(one.scan.pixels - volume.voxels[8]).max() < 0.05
    assert (one.modality, one.scan.spacing_mm) == ("ct", pytest.approx((230 / 96, 230 / 96)))
    assert one.series == two.series != ""
    assert two.position - one.position == pytest.approx(6.0)


def test_evidence_lies_over_the_image_that_is_kept_of_a_large_one(predictor, head):
    large = cv2.resize(head, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    (kept,) = predict_files([("a.png", lambda: png(large))], predictor, limits=ReadLimits())
    (whole,) = predictor.predict_scans([Scan(large.astype(np.float32), "a")], heatmaps=True)
    middle = np.array([256.0, 256.0, 1.0])
    at = kept.prediction.heatmap.matrix @ middle
    assert at == pytest.approx(whole.heatmap.matrix @ np.array([512.0, 512.0, 1.0]))
