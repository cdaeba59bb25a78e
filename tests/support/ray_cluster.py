"""A small cluster of Ray on loopback, started once for all tests of a process."""

import os
import sys
from importlib.util import find_spec

import pytest

from tumorlens.executors import open_executor

WORKERS = 2


@pytest.fixture(scope="session")
def on_ray():
    """Two workers of Ray; tests are skipped where it is not installed."""
    if find_spec("ray") is None:  # importing it here would fix how it authenticates
        pytest.skip('needs Ray: pip install "tumorlens[scale]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # of its workers
        with open_executor("ray", workers=WORKERS) as executor:
            yield executor
