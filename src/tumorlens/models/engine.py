"""ONNX Runtime behind one call: prepared pixels in, raw outputs out."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.models.bundle import Bundle

OUTPUTS = ("atoms", "maps", "embedding")


@dataclass(frozen=True)
class RawOutputs:
    """What the graph says of a batch."""

    logits: NDArray[np.float32]  # [n, atoms]
    maps: NDArray[np.float32]  # [n, h, w, atoms], logit units; their mean is the logit
    embedding: NDArray[np.float32]  # [n, D]


class Engine:
    """A loaded graph; `run` may be called from several threads at once."""

    def __init__(self, bundle: Bundle) -> None:
        options = ort.SessionOptions()
        # One thread per call and several calls at once beat several threads in one call.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(bundle.graph), options, providers=["CPUExecutionProvider"]
            )
            self._input = self._session.get_inputs()[0].name
            missing = set(OUTPUTS) - {output.name for output in self._session.get_outputs()}
            if missing:
                raise ValueError(f"it has no output {', '.join(sorted(missing))}")
        except Exception as e:
            fact = f"cannot be loaded ({str(e).splitlines()[0][:160]})"
            raise BundleError(bundle.graph, fact, "Fetch or train the bundle again.") from e

    def run(self, pixels: NDArray[np.uint8]) -> RawOutputs:
        """Run a batch of prepared images, uint8 [n, side, side]."""
        logits, maps, embedding = self._session.run(OUTPUTS, {self._input: pixels[..., None]})
        return RawOutputs(np.asarray(logits), np.asarray(maps), np.asarray(embedding))
