"""A Keras network becomes model.onnx, is checked against itself, and quantized to 8 bits."""

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from tumorlens.errors import TrainingError
from tumorlens.files import replacing
from tumorlens.models.bundle import GRAPH
from tumorlens.models.engine import OUTPUTS
from tumorlens.models.performance import Quantization
from tumorlens.study.networks.serving import serving_graph

TOLERANCE = 1e-4  # largest difference of a probability between Keras and ONNX Runtime
OPSET = 17
CALIBRATED = 1024  # training images, from all over, that show how large activations get
MAX_LOST = 0.002  # of an AUC on validation
AUCS = ("val_auc_ct", "val_auc_mri")
ACTIVATIONS, WEIGHTS = "weights and activations", "weights"  # what has 8 bits
_BATCH = 32
_LARGE = 1024  # numbers of a tensor, from which 8 bits are worth it
_CHANNEL_AXES = {"Conv": 0, "MatMul": -1}  # of the weights, along which each channel has its scale


def export_graph(model: keras.Model, folder: Path, *, is_scope_untouched: bool = False) -> Path:
    """Write model.onnx with the outputs of a bundle; returns its path.

    Raises TrainingError where Keras' backend cannot export.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / GRAPH
    graph = serving_graph(model, is_scope_untouched=is_scope_untouched)
    side, atoms = model.input.shape[1], model.output.shape[-1]
    signature = [keras.InputSpec(shape=(None, side, side, 1), dtype="uint8", name="scan")]
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx and NumPy disagree about old names
        try:
            graph.export(
                str(out), format="onnx", input_signature=signature, opset_version=OPSET,
                verbose=False,
            )  # fmt: skip
        except ImportError as e:
            fact = f"cannot export what was trained ({str(e).splitlines()[0]})"
            fix = "Repeat with KERAS_BACKEND=tensorflow and --resume: nothing is trained again."
            raise TrainingError(f"Keras on {keras.backend.backend()}", fact, fix) from e
    onnx.save(_named(onnx.load(out), atoms=atoms), out)
    return out


def _named(graph: onnx.ModelProto, *, atoms: int) -> onnx.ModelProto:
    """Return the three outputs the names of a bundle; they come in the order of the model."""
    if len(graph.graph.output) != len(OUTPUTS):
        fact = f"gave {len(graph.graph.output)} outputs instead of {len(OUTPUTS)}"
        raise TrainingError("ONNX export", fact, "Report this with the versions of your set-up.")
    for value, name in zip(graph.graph.output, OUTPUTS, strict=True):
        graph.graph.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
        value.name = name
    last = graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    if last not in (0, atoms):
        raise TrainingError("ONNX export", "lost the order of outputs", "Report this.")
    return graph


def check_round_trip(
    model: keras.Model, logits: NDArray[np.floating], images: NDArray[np.uint8]
) -> float:
    """Return the largest difference of a probability between Keras and `logits` of the export.

    Raises TrainingError if it is not below TOLERANCE.
    """
    expected = keras.ops.softmax(model(images[..., None], training=False), axis=-1)
    found = keras.ops.softmax(logits, axis=-1)
    difference = float(keras.ops.max(keras.ops.abs(expected - found)))
    if not difference < TOLERANCE:
        raise TrainingError(
            "ONNX export",
            f"differs from the trained network by {difference:.2g} in a probability",
            "Try other versions of tf2onnx and ONNX Runtime; the run can be resumed.",
        )
    return difference


class _Images(CalibrationDataReader):
    """Hands out prepared images in batches."""

    def __init__(self, images: NDArray[np.uint8], name: str) -> None:
        starts = range(0, len(images), _BATCH)
        self._batches = iter([{name: images[s : s + _BATCH, ..., None]} for s in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def quantize_graph(
    folder: Path, images: NDArray[np.uint8], measure: Callable[[], Mapping[str, float]]
) -> Quantization:
    """Make the convolutions of a bundle's graph 8 bits wide, unless that costs too much.

    Weights and activations are tried first, which is small and fast; then the weights alone,
    which is small. `measure` returns the metrics on validation of the graph that now stands in
    `folder`; where one of AUCS falls by more than MAX_LOST, that graph is undone. Returns what
    was measured last, and `kept`: whether a narrow graph stands.
    """
    graph = folder / GRAPH
    full, before = graph.read_bytes(), measure()
    sample = images[:: math.ceil(len(images) / CALIBRATED)]

    def attempt(part: str) -> Quantization:
        _QUANTIZERS[part](graph, sample)
        after = measure()
        kept = all(before[name] - after[name] <= MAX_LOST for name in AUCS if name in before)
        if not kept:
            graph.write_bytes(full)
        figures = {name: {"full": before[name], "narrow": after[name]} for name in AUCS}
        return Quantization(kept, MAX_LOST, graph.stat().st_size, **figures, of=part)

    found = attempt(ACTIVATIONS)
    return found if found.kept else attempt(WEIGHTS)


def _quantize(graph: Path, images: NDArray[np.uint8]) -> None:
    """Quantize a graph in place, statically, weights per channel (Jacob et al., 2018).

    `images`, uint8 [n, s, s], are prepared training images.
    """
    shaped = graph.with_name(f"shaped-{GRAPH}")
    quant_pre_process(str(graph), str(shaped), skip_symbolic_shape=True)
    name = onnx.load(shaped).graph.input[0].name
    with replacing(graph) as partial:
        quantize_static(
            str(shaped),
            str(partial),
            _Images(images, name),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # 7 bits: sums of 8 by 8 bits saturate on processors without VNNI.
            reduce_range=True,
            # The sums behind an answer and its maps stay in full precision.
            op_types_to_quantize=["Conv"],
        )
    shaped.unlink()


def _quantize_weights(graph: Path, images: NDArray[np.uint8]) -> None:
    """Store large weights as 8-bit whole numbers and a factor a channel; nothing is calibrated.

    The graph multiplies them out when it is loaded, so it is a quarter of the size and as fast
    as before.
    """
    model = onnx.load(graph)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    axes = {node.input[1]: _CHANNEL_AXES[node.op_type] for node in model.graph.node
            if node.op_type in _CHANNEL_AXES}  # fmt: skip
    for name, axis in axes.items():
        if name in stored and math.prod(stored[name].dims) >= _LARGE:
            weights = onnx.numpy_helper.to_array(stored[name])
            others = tuple(k for k in range(weights.ndim) if k != axis % weights.ndim)
            scale = np.abs(weights).max(axis=others, keepdims=True) / 127
            scale = np.maximum(scale, np.finfo(np.float32).tiny)
            whole = np.rint(weights / scale).astype(np.int8)
            _replace_tensor(model.graph, stored[name], whole, scale)
    with replacing(graph) as partial:
        onnx.save(model, partial)


def _replace_tensor(
    graph: onnx.GraphProto,
    tensor: onnx.TensorProto,
    whole: NDArray[np.int8],
    scale: NDArray[np.float32],
) -> None:
    """Let a tensor be the product of two smaller ones."""
    name, as_float = tensor.name, f"{tensor.name}/float"
    graph.initializer.remove(tensor)
    graph.initializer.append(onnx.numpy_helper.from_array(whole, f"{name}/whole"))
    graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}/scale"))
    cast = onnx.helper.make_node("Cast", [f"{name}/whole"], [as_float], to=onnx.TensorProto.FLOAT)
    graph.node.insert(0, onnx.helper.make_node("Mul", [as_float, f"{name}/scale"], [name]))
    graph.node.insert(0, cast)


_QUANTIZERS: Mapping[str, Callable[[Path, NDArray[np.uint8]], None]] = {
    ACTIVATIONS: _quantize,
    WEIGHTS: _quantize_weights,
}
