"""Shared scans and a bundle small enough for every test; no TensorFlow is needed for either."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import Abstention, Bundle, Scope, load_bundle, write_bundle
from tumorlens.models.engine import Engine
from tumorlens.records import Scan
from tumorlens.study.phantom import draw_phantom

WriteImage = Callable[..., Path]
SIDE, FEATURES = 64, 12


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


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A whole, verified bundle around a seeded graph of one convolution."""
    folder = tmp_path_factory.mktemp("tiny")
    graph = folder / "model.onnx"
    write_graph(graph)
    scope = Scope(np.eye(1, FEATURES, dtype=np.float32), neighbors=2, limit=0.2, kept=0.99)
    draft = Bundle(
        folder=folder,
        name="tiny",
        sha256="",
        atoms=ATOMS,
        spec=InputSpec(side=SIDE),
        temperature=1.3,
        threshold=0.5,
        threshold_choice={
            "aim": "fixed",
            "part": "validation",
            "n": 2,
            "n_tumor": 1,
            "sensitivity": 1.0,
            "specificity": 1.0,
        },
        abstention=Abstention(low=0.45, high=0.55, error=0.05),
        scope=scope,
        details={"recipe": {"name": "tiny"}},
    )
    pixels = np.stack([prepare(scan, draft.spec).pixels for scan in training_scans()])
    # With their mean taken off, the logits of these scans fall on either side of every question.
    write_graph(graph, bias=-Engine(draft).run(pixels).logits.mean(axis=0))
    embedding = Engine(draft).run(pixels).embedding
    references = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    write_bundle(replace(draft, scope=replace(scope, references=references)), "# tiny\n")
    return load_bundle(folder)


def training_scans() -> list[Scan]:
    kinds = [("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "meningioma")]
    return [
        Scan(draw_phantom(*kind, seed=seed, side=64).pixels.astype(np.float32), f"{kind} {seed}")
        for kind in kinds
        for seed in range(3)
    ]


def write_graph(
    path: Path,
    *,
    bias: np.ndarray | None = None,
    outputs: tuple[str, ...] = ("atoms", "maps", "embedding"),
) -> None:
    """Compose the contract of a bundle's graph from a pool, a convolution and a dense layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(12)
    weights = {
        "scale": np.float32(1 / 255),
        "kernel": rng.normal(0, 1.0, (FEATURES, 1, 3, 3)).astype(np.float32),
        "dense": rng.normal(0, 4.0, (FEATURES, len(ATOMS))).astype(np.float32),
        "bias": np.zeros(len(ATOMS), np.float32) if bias is None else bias,
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]
        ),
        helper.make_node("Conv", ["pooled", "kernel"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["rectified"]),
        helper.make_node("Transpose", ["rectified"], ["features"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["features"], ["embedding"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["embedding", "dense"], ["weighed"]),
        helper.make_node("Add", ["weighed", "bias"], ["atoms"]),
        helper.make_node("MatMul", ["features", "dense"], ["placed"]),
        helper.make_node("Add", ["placed", "bias"], ["maps"]),
    ]
    shapes = {
        "atoms": ["n", len(ATOMS)],
        "maps": ["n", SIDE // 8, SIDE // 8, len(ATOMS)],
        "embedding": ["n", FEATURES],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, shapes[o]) for o in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
