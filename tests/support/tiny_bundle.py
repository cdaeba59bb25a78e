"""A bundle small enough for every test: a seeded graph of one convolution."""

from pathlib import Path

import numpy as np

from tumorlens.labels import ATOMS
from tumorlens.records import Scan
from tumorlens.study.phantom import draw_phantom

SIDE, FEATURES = 64, 12


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
