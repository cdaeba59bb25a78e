"""What people had split over train and test without knowing stays together, or they are told."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import Run, command_runner

from tumorlens.files import read_table
from tumorlens.study.phantom import draw_phantom


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    """Run `tumorlens ...` in this process."""
    return command_runner(monkeypatch, capsys)


def write_head(path: Path, seed: int) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = draw_phantom("mri", "glioma", seed=seed, plane="axial", side=128).pixels
    cv2.imwrite(str(path), pixels)
    return pixels


def augmented(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As the best-known recipe of this field does: rotation, shift, flips, brightness."""
    matrix = cv2.getRotationMatrix2D((63.5, 63.5), rng.uniform(-10, 10), 1)
    matrix[:, 2] += rng.uniform(-12.8, 12.8, 2)
    moved = cv2.warpAffine(pixels, matrix, (128, 128), borderMode=cv2.BORDER_REPLICATE)
    flipped = moved[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    return (flipped * rng.uniform(0.4, 1)).astype(np.uint8)


def parts_of(table: Path, source_of) -> dict[str, set[str]]:
    """Return the parts in which each source stands."""
    parts: dict[str, set[str]] = {}
    for row in read_table(table):
        parts.setdefault(source_of(Path(row["path"])), set()).add(row["split"])
    return parts


def test_copies_augmented_before_the_split_do_not_part(run, tmp_path):
    """Their names say nothing; what they show does."""
    rng = np.random.default_rng(0)
    for head in range(6):
        pixels = write_head(tmp_path / "heads" / f"{head}.png", 500 + head)
        for number in range(4):
            name = tmp_path / "aug/yes" / f"{(head * 4 + number) * 7 % 24}.{head}.jpg"
            name.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(name), np.ascontiguousarray(augmented(pixels, rng)))
    ended = run("split", tmp_path / "aug", "--out", tmp_path / "s.csv")
    parts = parts_of(tmp_path / "s.csv", lambda path: path.stem.split(".")[1])
    assert "24 scans, 6 distinct images" in ended.err
    assert [len(found) for found in parts.values()] == [1] * 6


def test_folders_inside_the_classes_are_patients_and_the_rest_is_told(run, tmp_path):
    for number in range(24):
        label, patient = ("yes", "no")[number % 2], f"P{number % 8}"
        write_head(tmp_path / "scans" / label / patient / f"{number}.png", 600 + number)
    ended = run("split", tmp_path / "scans", "--out", tmp_path / "s.csv")
    parts = parts_of(tmp_path / "s.csv", lambda path: path.parent.name)
    assert "8 folders inside the classes (P0, P1, P2, ...) are taken as patients" in ended.err
    assert [len(found) for found in parts.values()] == [1] * 8
    assert "no test scan has a copy, a look-alike neighbor or a recorded patient" in ended.err
    assert "looked for: copies (also mirrored, rotated, shifted, scaled, cropped" in ended.err
    assert "a patient is recorded for 0 of 24 scans" in ended.err
    assert "cannot be known: patients that nobody recorded" in ended.err
