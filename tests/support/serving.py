"""A service inside the test process, and what tests send it."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from tumorlens.models.bundle import Bundle
from tumorlens.services.http.server import create_app
from tumorlens.services.store import Store
from tumorlens.settings import Settings
from tumorlens.study.phantom import draw_phantom

PROBLEM = "application/problem+json"


def phantom_png(modality: str = "mri", finding: str = "glioma", seed: int = 3) -> bytes:
    file = io.BytesIO()
    pixels = draw_phantom(modality, finding, seed=seed, plane="axial", side=96).pixels
    Image.fromarray(np.asarray(pixels)).save(file, "PNG")
    return file.getvalue()


SCAN = phantom_png()


@dataclass
class Locked:
    """A service with keys; a new key has a history of its own."""

    client: TestClient
    store: Store
    key: Callable[..., dict[str, str]]


@contextmanager
def serving(
    folder: Path, bundle: Bundle, *, needs_keys: bool = False, **settings: Any
) -> Iterator[TestClient]:
    """Run a service while the block lasts; its store is FOLDER/store.sqlite."""
    chosen = Settings(
        bundle=str(bundle.folder),
        store=str(folder / "store.sqlite"),
        **{"workers": 2, "max_pixels": 16_000_000, **settings},
    )
    app = create_app(chosen, needs_keys=needs_keys)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def files(*scans: bytes, name: str = "slice.png") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("file", (name, scan, "image/png")) for scan in scans]
