"""Planes are told from outline and symmetry: measured on phantoms and on slices looked at."""

import numpy as np
import pytest

from tumorlens.inputs.prepare import prepare
from tumorlens.records import Scan
from tumorlens.study.evaluation.planes import (
    NOT_TOLD,
    PHANTOM,
    PLANES,
    estimate_planes,
    plane_features,
    read_examples,
    teach_planes,
)
from tumorlens.study.phantom import draw_phantom

FINDINGS = ("healthy", "meningioma", "glioma")


def prepared_phantom(plane: str, seed: int) -> np.ndarray:
    drawn = draw_phantom("mri", FINDINGS[seed % 3], seed=seed, plane=plane, side=96)
    return prepare(Scan(drawn.pixels.astype(np.float32), "phantom")).pixels


def told(pictures) -> list[str]:
    return estimate_planes(np.array([plane_features(picture) for picture in pictures]))


def test_planes_of_phantoms_not_learned_from_are_told():
    truth = [plane for plane in PLANES for _ in range(15)]
    pictures = [prepared_phantom(p, 900 + i) for i, p in enumerate(truth)]
    right = [a == b for a, b in zip(told(pictures), truth, strict=True)]
    assert np.mean(right) > 0.75


def test_each_half_of_the_slices_looked_at_tells_the_planes_of_the_other():
    examples = read_examples()
    phantoms = [e for e in examples if e.key.startswith(PHANTOM)]
    looked_at = [e for e in examples if not e.key.startswith(PHANTOM)]
    assert len(looked_at) == 192
    halves = looked_at[:96], looked_at[96:]
    right = []
    for own, other in (halves, halves[::-1]):
        model = teach_planes([*own, *phantoms])
        found = model.predict(np.array([e.features for e in other]))
        right += [e.plane == plane for e, plane in zip(other, found, strict=True)]
    assert np.mean(right) == pytest.approx(0.906, abs=0.02)  # as the documentation says


def test_every_plane_is_among_the_examples_with_finite_features():
    examples = read_examples()
    assert {e.plane for e in examples} == set(PLANES)
    assert np.isfinite([e.features for e in examples]).all()


def test_a_picture_of_nothing_still_has_an_answer_and_no_pictures_have_none():
    assert told([np.zeros((64, 64), np.uint8)])[0] in (*PLANES, NOT_TOLD)
    assert estimate_planes(np.zeros((0, 6))) == []


def test_a_mirrored_slice_keeps_its_plane():
    picture = prepared_phantom("sagittal", 5)
    a, b = plane_features(picture), plane_features(np.ascontiguousarray(picture[:, ::-1]))
    assert a == pytest.approx(b, abs=0.05)
