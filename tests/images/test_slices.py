"""Geometry of slices in the axes of the patient."""

import pytest

from tumorlens.images.slices import side_letters


@pytest.mark.parametrize(("orientation", "named"), [
    ((1, 0, 0, 0, 1, 0), "RLAP"), ((1, 0, 0, 0, 0, -1), "RLHF"), ((0, 1, 0, 0, 0, -1), "APHF"),
])  # fmt: skip
def test_sides_are_named_by_the_patients(orientation, named):
    found = side_letters(orientation)
    assert "".join(found[side] for side in ("left", "right", "top", "bottom")) == named
