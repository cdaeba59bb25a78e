"""Two services for the whole session: one open to this machine, one with keys."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from support.serving import Locked, serving

from tumorlens.models.bundle import Bundle
from tumorlens.services.store import open_store
from tumorlens.services.store.keys import create_key


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[TestClient]:
    with serving(tmp_path_factory.mktemp("service"), tiny_bundle, max_files=50) as client:
        yield client


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    store = open_store(str(folder / "store.sqlite"))

    def key(*scopes: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {create_key(store, 'k', scopes=frozenset(scopes))[1]}"}

    with serving(folder, tiny_bundle, needs_keys=True, requests_per_minute=1000) as client:
        yield Locked(client, store, key)
