"""The exported graph in 8 bits, kept only where it ranks as well as before."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

from tumorlens.files import replacing
from tumorlens.models.bundle import GRAPH

CALIBRATED = 1024  # training images, from all over, that show how large activations get
MOST_LOST = 0.002  # of an AUC on validation
AUCS = ("val_auc_ct", "val_auc_mri")
_BATCH = 32


class _Images(CalibrationDataReader):
    """Hands out prepared images in batches."""

    def __init__(self, images: NDArray[np.uint8], name: str) -> None:
        starts = range(0, len(images), _BATCH)
        self._batches = iter([{name: images[s : s + _BATCH, ..., None]} for s in starts])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def narrow_graph(
    folder: Path, images: NDArray[np.uint8], judge: Callable[[], Mapping[str, float]]
) -> dict[str, Any]:
    """Make the convolutions of a bundle's graph 8 bits wide, unless that costs too much.

    `judge` gives the figures on validation of the graph that now stands in `folder`; where one
    of AUCS falls by more than MOST_LOST, the graph in full precision comes back. Says what was
    measured, and `kept`: whether the narrow graph stands.
    """
    graph = folder / GRAPH
    full, before = graph.read_bytes(), judge()
    _quantize(graph, images[:: math.ceil(len(images) / CALIBRATED)])
    after = judge()
    kept = all(before[name] - after[name] <= MOST_LOST for name in AUCS if name in before)
    if not kept:
        graph.write_bytes(full)
    figures = {name: {"full": before[name], "narrow": after[name]} for name in AUCS}
    return {"kept": kept, "most_lost": MOST_LOST, "bytes": graph.stat().st_size, **figures}


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
