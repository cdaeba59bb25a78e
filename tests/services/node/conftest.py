"""One Orthanc and one answered series for all tests here."""

import pytest
from support.answered_series import Answered, answered_series
from support.orthanc import Orthanc, running_orthanc

from tumorlens.models.bundle import Bundle


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory):
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(_running: Orthanc) -> Orthanc:
    """Return a PACS that holds nothing."""
    _running.clear()
    return _running


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Answered:
    return answered_series(tmp_path_factory.mktemp("series"), tiny_bundle)
