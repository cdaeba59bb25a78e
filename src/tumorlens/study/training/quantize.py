"""The exported graph in 8 bits, kept only where it ranks as well as before."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from tumorlens.models.bundle import GRAPH
from tumorlens.writing import replacing

CALIBRATED = 256  # training images that show how large activations get
_BATCH = 32


class _Images(CalibrationDataReader):
    """Hands out prepared images in batches."""

    def __init__(self, images: NDArray[np.uint8], name: str) -> None:
        starts = range(0, len(images), _BATCH)
        self._batches = iter([{name: images[s : s + _BATCH, ..., None]} for s in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def quantize_graph(folder: Path, images: NDArray[np.uint8], *, input_name: str = "scan") -> Path:
    """Write model.onnx of a bundle's folder again with 8-bit convolutions; returns the old one.

    Static quantization, weights per channel (Jacob et al., 2018); `images`, uint8 [n, s, s],
    are prepared training images.
    """
    graph, full = folder / GRAPH, folder / f"float32-{GRAPH}"
    shutil.copyfile(graph, full)
    with replacing(graph) as partial:
        shaped = folder / f"shaped-{GRAPH}"
        quant_pre_process(str(full), str(shaped), skip_symbolic_shape=True)
        quantize_static(
            str(shaped),
            str(partial),
            _Images(images[:CALIBRATED], input_name),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
        )
        shaped.unlink()
    return full


def keep_full(folder: Path, full: Path) -> None:
    """Put the graph back that `quantize_graph` replaced."""
    full.replace(folder / GRAPH)
