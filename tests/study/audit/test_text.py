"""Likely text is found, located and never read."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import find_head
from tumorlens.records import Scan
from tumorlens.study.audit.text import Box, find_text
from tumorlens.study.phantom import FINDINGS, draw_phantom, drawing

DATA = os.environ.get("TUMORLENS_DATA", "")


def search(pixels: np.ndarray) -> list[Box]:
    return find_text(pixels, find_head(Scan(pixels.astype(np.float32), "drawn")))


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """An axial head without marks on a dark ground, [256, 256]."""
    return draw_phantom("mri", "glioma", seed=3, plane="axial", side=256).pixels


def written(pixels: np.ndarray, word: str, at: tuple[int, int], *, size=0.8, level=220) -> Box:
    """Write into a picture, and give where the word stands; `at` is its lower left corner."""
    font = cv2.FONT_HERSHEY_PLAIN
    cv2.putText(pixels, word, at, font, size, [level], 1, cv2.LINE_AA)
    (width, height), _ = cv2.getTextSize(word, font, size, 1)
    return Box(at[0], at[1] - height, width, height)


def overlap(found: Box, box: Box) -> float:
    """The share of a box that was found."""
    wide = min(found.x + found.width, box.x + box.width) - max(found.x, box.x)
    high = min(found.y + found.height, box.y + box.height) - max(found.y, box.y)
    return max(0, wide) * max(0, high) / (box.width * box.height)


@pytest.mark.parametrize("size", [0.6, 0.8, 1.1, 1.6])
@pytest.mark.parametrize("level", [100, 170, 255])
@pytest.mark.parametrize("corner", [(3, 18), (150, 18), (3, 250), (150, 250)])
def test_a_word_in_a_corner_is_found_where_it_stands(clean, size, level, corner):
    picture = np.zeros_like(clean)
    picture[48:208, 48:208] = cv2.resize(clean, (160, 160))
    box = written(picture, "AB 123", corner, size=size, level=level)
    found = search(picture)
    assert len(found) == 1
    assert overlap(found[0], box) > 0.6
    assert not found[0].over_head


def test_lines_are_told_one_by_one(clean):
    picture = np.zeros((384, 384), np.uint8)
    picture[100:356, 100:356] = clean
    boxes = [written(picture, "NAME 01", (4, 16 + 16 * line)) for line in range(4)]
    found = search(picture)
    assert len(found) == 4
    for box in boxes:
        assert max(overlap(other, box) for other in found) > 0.6


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.uint8, 1), (np.uint16, 200), (np.float32, 1), (np.float32, 200), (np.float32, 1 / 255)],
)
def test_text_is_found_in_any_range_of_values(clean, dtype, scale):
    picture = np.pad(clean, ((40, 0), (0, 0)))
    written(picture, "AB 123", (4, 18))
    assert len(search(picture.astype(dtype) * dtype(scale))) == 1


def test_dark_text_on_paper_is_found(clean):
    picture = np.full((400, 400), 255, np.uint8)
    picture[90:346, 90:346] = clean
    written(picture, "AB 123", (4, 40), size=1.2, level=0)
    assert len(search(picture)) == 1


def test_boxes_of_a_large_picture_are_in_its_own_pixels(clean):
    picture = np.zeros((1400, 1200), np.uint8)
    picture[300:1100, 200:1000] = cv2.resize(clean, (800, 800))
    box = written(picture, "NAME 01", (700, 1380), size=3)
    found = search(picture)
    assert len(found) == 1
    assert overlap(found[0], box) > 0.6


def test_a_word_over_the_head_is_found_and_marked_as_such(clean):
    picture = clean.copy()
    box = written(picture, "NAME 0123", (70, 130), size=1.2, level=255)
    found = [row for row in search(picture) if overlap(row, box) > 0.6]
    assert len(found) == 1
    assert found[0].over_head


@pytest.mark.parametrize("word", ["L", "R", "AB"])
def test_one_or_two_letters_are_not_listed(clean, word):
    picture = np.pad(clean, ((40, 0), (0, 0)))
    written(picture, word, (4, 18), size=1.1)
    assert search(picture) == []


def test_a_scale_bar_is_no_text(clean):
    picture = np.pad(clean, ((0, 0), (0, 40)))
    cv2.line(picture, (280, 60), (280, 200), [230], 1)
    for y in range(60, 201, 14):
        cv2.line(picture, (274, y), (280, y), [230], 1)
    assert search(picture) == []


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((1, 1), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.full((16, 300), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8),
        np.kron(np.indices((60, 60)).sum(0) % 2 * 255, np.ones((5, 5))).astype(np.float32),
    ],
    ids=["one pixel", "black", "white", "noise", "checkers"],
)
@pytest.mark.parametrize("inside", [False, True])
def test_what_is_no_scan_has_no_text_and_raises_nothing(picture, inside):
    assert find_text(picture, np.full(picture.shape, inside)) == []


def share_with_text(monkeypatch: pytest.MonkeyPatch, *, marked: float) -> float:
    """The share of 40 phantoms with text, where that share is marked by words of three letters."""
    monkeypatch.setattr(drawing, "SHARE", marked)
    monkeypatch.setattr(drawing, "_WORDS", ("A12", "S 07", "W80", "IM 41"))
    kinds = [(modality, finding) for modality in ("ct", "mri") for finding in FINDINGS]
    pictures = [
        draw_phantom(*kinds[seed % len(kinds)], seed=seed, side=(192, 256)[seed % 2]).pixels
        for seed in range(40)
    ]
    return float(np.mean([bool(search(picture)) for picture in pictures]))


def test_marks_of_phantoms_are_found(monkeypatch):
    assert share_with_text(monkeypatch, marked=1.0) >= 0.95


def test_phantoms_without_marks_hardly_ever_have_text(monkeypatch):
    assert share_with_text(monkeypatch, marked=0.0) <= 0.05


@pytest.mark.skipif(not DATA, reason="set TUMORLENS_DATA to a folder with the public sets")
@pytest.mark.parametrize(
    ("folder", "least", "most"),
    [
        ("figshare/glioma", 0, 0.03),
        ("bohaju/test/mri-tumor", 0, 0.03),
        ("multimodal/test/ct_healthy", 0, 0.06),
        ("multimodal/test/ct_tumor", 0.7, 1),  # names and dates: counted, never shown
    ],
)
def test_text_is_counted_where_public_scans_carry_it(folder, least, most):
    paths = sorted((Path(DATA) / folder).glob("*"))[:150]
    if not paths:
        pytest.skip(f"{folder} is not in TUMORLENS_DATA")
    scans = [read_scan(path) for path in paths]
    share = float(np.mean([bool(find_text(scan.pixels, find_head(scan))) for scan in scans]))
    assert least <= share <= most
