"""Shared scans, a bundle small enough for every test, and a run that is trained once.

Only the trained run needs TensorFlow, and imports it when it is asked for.
"""

import os
import pickle

# Before they are loaded. Tests run side by side: threads of these would only wait, at full speed.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", OPENCV_FOR_THREADS_NUM="1")

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image
from support.tiny_bundle import FEATURES, SIDE, training_scans, write_graph

from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import Bundle, OodReference, UncertaintyBand, load_bundle, write_bundle
from tumorlens.models.engine import Engine
from tumorlens.models.performance import OperatingPoint, Provenance
from tumorlens.records import Estimate
from tumorlens.study.phantom import draw_phantom

if TYPE_CHECKING:
    from support.trained_run import TrainedRun

# The same examples every time. `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

pytest_plugins = ["support.object_store", "support.ray_cluster"]
WriteImage = Callable[..., Path]
TESTS = Path(__file__).parent
# Files that take longest, in that order.
SLOWEST = (
    "docs/test_docs.py", "study/training/test_training_run.py", "docs/test_notebooks.py",
    "services/node/test_node.py", "services/dashboard/test_dashboard_browser.py",
    "services/dashboard/test_dashboard_pages.py", "services/http/test_http_live.py",
    "cli/test_cli.py", "study/training/transfer/test_pretraining.py", "study/test_demonstration.py",
    "study/experiments/test_cross_validation.py", "study/experiments/test_tuning.py",
    "batch/test_on_ray.py", "batch/test_run.py", "batch/test_object_store.py",
    "services/node/test_faults.py", "cli/test_cli_features.py", "cli/test_cli_audit.py",
    "cli/test_volumes_as_sets.py", "reports/dicom/test_dicom_objects.py",
    "study/experiments/test_head_folds.py", "reports/test_evaluation_pdf.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is alone with it at the end."""
    rank = {TESTS / name: place for place, name in enumerate(SLOWEST)}
    assert all(path.is_file() for path in rank), "SLOWEST names files that are no more"
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests compute away from the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUMORLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def head() -> np.ndarray:
    """An MRI slice without burned-in marks, uint8 [128, 128]."""
    return draw_phantom("mri", "glioma", seed=3, plane="axial", side=128).pixels


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Save an array or a Pillow image under a name in tmp_path; the suffix names the format."""

    def write(picture: np.ndarray | Image.Image, name: str, **options: Any) -> Path:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    return write


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing, printing and resamples take most of an evaluation, and have tests of their own."""
    from support.cheap import few_resamples

    from tumorlens.study.evaluation import run

    few_resamples(monkeypatch)
    monkeypatch.setattr(run, "draw_plots", lambda result: {})
    monkeypatch.setattr(run, "page_pdf", lambda page, made: b"%PDF-")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A whole, verified bundle around a seeded graph of one convolution."""
    folder = tmp_path_factory.mktemp("tiny")
    graph = folder / "model.onnx"
    write_graph(graph)
    reference = OodReference(
        np.eye(1, FEATURES, dtype=np.float32), neighbors=2, limit=0.2, kept=0.99
    )
    draft = Bundle(
        folder=folder,
        name="tiny",
        sha256="",
        atoms=ATOMS,
        spec=InputSpec(side=SIDE),
        temperature=1.3,
        operating_point=OperatingPoint(
            0.5,
            aim="fixed",
            part="validation",
            sensitivity=Estimate(1.0, None, None, 1),
            specificity=Estimate(1.0, None, None, 1),
        ),
        uncertainty_band=UncertaintyBand(low=0.45, high=0.55, error=0.05),
        ood_reference=reference,
        provenance=Provenance(recipe={"name": "tiny"}),
    )
    pixels = np.stack([prepare(scan, draft.spec).pixels for scan in training_scans()])
    # With their mean taken off, the logits of these scans fall on either side of every question.
    write_graph(graph, bias=-Engine(draft).run(pixels).logits.mean(axis=0))
    embedding = Engine(draft).run(pixels).embedding
    references = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    write_bundle(
        replace(draft, ood_reference=replace(reference, references=references)), "# tiny\n"
    )
    return load_bundle(folder)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> "TrainedRun":
    """A small network trained for three epochs on phantoms; its folder is not to be changed.

    All workers share it: the first that asks trains, and the others wait.
    """
    pytest.importorskip("keras")
    from support.trained_run import train_run

    if worker_id == "master":  # the only one
        return train_run(tmp_path_factory.mktemp("trained"))
    shared = tmp_path_factory.getbasetemp().parent / "trained"
    with FileLock(f"{shared}.lock"):
        kept = shared / "run.pickle"
        if not kept.exists():
            shared.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(train_run(shared)))
    return pickle.loads(kept.read_bytes())
