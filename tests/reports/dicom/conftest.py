"""A small series of DICOM slices with answers, and the objects made of it."""

import pytest
from support.answered_series import Answered, answered_series

from tumorlens.models.bundle import Bundle


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Answered:
    return answered_series(tmp_path_factory.mktemp("series"), tiny_bundle)
