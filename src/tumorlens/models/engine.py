"""ONNX Runtime behind one call: prepared pixels in, raw outputs out."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.models.bundle import Bundle

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
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
        try:
            self._session = start_session(read_graph(bundle))
            missing = set(OUTPUTS) - {output.name for output in self._session.get_outputs()}
            if missing:
                raise ValueError(f"it has no output {', '.join(sorted(missing))}")
            (only,) = self._session.get_inputs()
            self._input, side = only.name, bundle.spec.side
            tried = self.run(np.zeros((1, side, side), np.uint8))
            _check_shapes(tried, atoms=len(bundle.atoms))
        except Exception as e:
            fact = f"cannot be loaded ({(str(e).splitlines() or [type(e).__name__])[0][:160]})"
            raise BundleError(bundle.graph, fact, "Fetch or train the bundle again.") from e
        self.width = tried.embedding.shape[1]  # of an embedding

    def run(self, pixels: NDArray[np.uint8]) -> RawOutputs:
        """Run a batch of prepared images, uint8 [n, side, side].

        Raises ValueError where the graph gives what is no number.
        """
        logits, maps, embedding = self._session.run(OUTPUTS, {self._input: pixels[..., None]})
        raw = RawOutputs(np.asarray(logits), np.asarray(maps), np.asarray(embedding))
        if not (np.isfinite(raw.logits).all() and np.isfinite(raw.embedding).all()):
            raise ValueError("the graph gives what is no number")
        return raw


def read_graph(bundle: Bundle) -> bytes:
    """Return the graph of a bundle; raises ValueError where it is no longer what was checked."""
    graph = bundle.graph.read_bytes()
    if bundle.graph_sha256 and hashlib.sha256(graph).hexdigest() != bundle.graph_sha256:
        raise ValueError("it was altered since its hash was checked")
    return graph


def start_session(graph: bytes) -> ort.InferenceSession:
    """Load a graph that is run by several threads at once, each with one of its own."""
    options = ort.SessionOptions()
    # One thread per call and several calls at once beat several threads in one call.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Weights stand in the graph, whose hash is known: none are taken from files beside it.
    options.add_session_config_entry(_WEIGHTS_FOLDER, os.devnull)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _check_shapes(raw: RawOutputs, *, atoms: int) -> None:
    """Raise ValueError where the outputs for one image are not those of a bundle."""
    shapes = {name: getattr(raw, name).shape for name in ("logits", "maps", "embedding")}
    is_right = (
        shapes["logits"] == (1, atoms)
        and len(shapes["maps"]) == 4
        and (shapes["maps"][0], shapes["maps"][-1]) == (1, atoms)
        and len(shapes["embedding"]) == 2
        and shapes["embedding"][0] == 1
    )
    if not is_right:
        raise ValueError(f"for one image and {atoms} atoms it gives {shapes}")
