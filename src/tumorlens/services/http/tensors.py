"""Tensors of the Open Inference Protocol: images in, answers out, as JSON or as bytes."""

import base64
import binascii
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tumorlens.labels import TYPES
from tumorlens.predictions.document import to_json
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.schemas import InferRequest, TensorData
from tumorlens.services.store.history import NewPrediction

INPUT = "image"
_NAN = float("nan")
_NAN_IN_JSON = "NaN"  # JSON has no such number: the text that protocol buffers write for it


@dataclass(frozen=True)
class _Output:
    """A row of the table of outputs."""

    datatype: str  # FP64 or BYTES
    values: Callable[[NewPrediction], list[Any]]
    width: int = 1


def _table(atoms: Sequence[str]) -> Mapping[str, _Output]:
    return {
        "tumor_probability": _Output("FP64", lambda new: [new.prediction.tumor_probability]),
        "decision": _Output("BYTES", lambda new: [new.prediction.decision]),
        "modality": _Output("BYTES", lambda new: [new.prediction.modality]),
        "type": _Output("BYTES", lambda new: [new.prediction.type]),
        "type_probabilities": _Output(
            "FP64",
            lambda new: [new.prediction.type_probabilities.get(name) for name in TYPES],
            len(TYPES),
        ),
        "atoms": _Output(
            "FP64", lambda new: [new.prediction.atoms[atom] for atom in atoms], len(atoms)
        ),
        "prediction": _Output("BYTES", lambda new: [to_json(new.prediction)]),
        "id": _Output("BYTES", lambda new: [new.id]),
    }


def outputs_of(atoms: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the outputs."""
    return [
        {"name": name, "datatype": row.datatype, "shape": [-1, row.width]}
        for name, row in _table(atoms).items()
    ]


def check_outputs(asked: InferRequest, atoms: Sequence[str]) -> None:
    """Raise Refusal where an output is asked for that does not exist."""
    table = _table(atoms)
    if any(row.name not in table for row in asked.outputs or []):
        raise Refusal("not-valid", f"Outputs are {', '.join(table)}.")


def read_images(asked: InferRequest, binary: bytes, *, most: int) -> list[bytes]:
    """Give the image files of a request; raises Refusal where they are not as announced."""
    tensor = asked.inputs[0]
    count = int(np.prod(tensor.shape, dtype=object))
    if not 1 <= count <= most:
        raise Refusal("not-valid", f"1 to {most} images are taken at once.")
    size = tensor.parameters.get("binary_data_size")
    images = _from_json(tensor) if size is None else _from_bytes(binary, size)
    if len(images) != count:
        raise Refusal("not-valid", f"The shape says {count} images, {len(images)} are there.")
    return images


def _from_json(tensor: TensorData) -> list[bytes]:
    data = tensor.data or []
    flat = [item for row in data for item in (row if isinstance(row, list) else [row])]
    try:
        return [base64.b64decode(item, validate=True) for item in flat]
    except (TypeError, ValueError, binascii.Error):
        raise Refusal("not-valid", "In JSON, images are base64 text.") from None


def _from_bytes(binary: bytes, size: Any) -> list[bytes]:
    """Read elements, each behind its length in four bytes, little endian."""
    if size != len(binary):
        raise Refusal("not-valid", "binary_data_size is not what follows the JSON.")
    images, at = [], 0
    while at < len(binary):
        if at + 4 > len(binary):
            raise Refusal("not-valid", "An element ends before its length.")
        (length,) = struct.unpack_from("<I", binary, at)
        at += 4
        if at + length > len(binary):
            raise Refusal("not-valid", "An element ends before its bytes.")
        images.append(binary[at : at + length])
        at += length
    return images


def write_outputs(
    new: Sequence[NewPrediction], asked: InferRequest, atoms: Sequence[str]
) -> tuple[list[dict[str, Any]], bytes]:
    """Give the outputs asked for (all, where none is named) and the bytes behind the JSON."""
    table = _table(atoms)
    all_binary = bool(asked.parameters.get("binary_data_output"))
    wanted = dict.fromkeys(table, all_binary)
    if asked.outputs:
        wanted = {
            row.name: bool(row.parameters.get("binary_data", all_binary)) for row in asked.outputs
        }
    tensors, binary = [], b""
    for name, is_binary in wanted.items():
        row = table[name]
        values = [value for item in new for value in row.values(item)]
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": row.datatype,
            "shape": [len(new), row.width],
        }
        if is_binary:
            data = _packed(values, row.datatype)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            tensor["data"] = [_NAN_IN_JSON if value is None else value for value in values]
        tensors.append(tensor)
    return tensors, binary


def _packed(values: Sequence[Any], datatype: str) -> bytes:
    if datatype == "FP64":
        return np.array([_NAN if v is None else v for v in values], "<f8").tobytes()
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(item)) + item for item in encoded)
