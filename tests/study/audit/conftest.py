"""One audit of the two planted sets, for all tests that only look at it."""

from pathlib import Path

import pytest
from support.planted import audit_of, plant

from tumorlens.models.bundle import Bundle
from tumorlens.study.audit.run import Audit


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A folder with the sets hospital and register, and the cache of their audit."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="session")
def audit(root, tiny_bundle: Bundle) -> Audit:
    return audit_of(plant(root), tiny_bundle, cache=root / "cache")
