"""A Keras network becomes model.onnx, and is checked against itself."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.models.bundle import GRAPH
from tumorlens.models.engine import OUTPUTS
from tumorlens.study.networks.serving import serving_graph

TOLERANCE = 1e-4  # largest difference of a probability between Keras and ONNX Runtime
OPSET = 17


def export_graph(model: keras.Model, folder: Path) -> Path:
    """Write model.onnx with the outputs of a bundle; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / GRAPH
    graph = serving_graph(model)
    side, atoms = model.input.shape[1], model.output.shape[-1]
    signature = [keras.InputSpec(shape=(None, side, side, 1), dtype="uint8", name="scan")]
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx and NumPy disagree about old names
        graph.export(
            str(out), format="onnx", input_signature=signature, opset_version=OPSET, verbose=False
        )
    onnx.save(_named(onnx.load(out), atoms=atoms), out)
    return out


def _named(graph: onnx.ModelProto, *, atoms: int) -> onnx.ModelProto:
    """Give the three outputs the names of a bundle; they come in the order of the model."""
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
    """Give the largest difference of a probability between Keras and `logits` of the export.

    Raises TrainingError if it is not below TOLERANCE.
    """
    expected = keras.ops.softmax(model.predict_on_batch(images[..., None]), axis=-1)
    found = keras.ops.softmax(logits, axis=-1)
    difference = float(keras.ops.max(keras.ops.abs(expected - found)))
    if not difference < TOLERANCE:
        raise TrainingError(
            "ONNX export",
            f"differs from the trained network by {difference:.2g} in a probability",
            "Try other versions of tf2onnx and ONNX Runtime; the run can be resumed.",
        )
    return difference
