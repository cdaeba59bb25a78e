"""Answers about a series as NIfTI volumes, on the grid of the series itself."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tumorlens.files import short_name, write_file
from tumorlens.images.nifti import restack
from tumorlens.images.series import Series, anonymous_series_name
from tumorlens.images.slices import normal_of
from tumorlens.predictions.document import NOTICE
from tumorlens.predictions.heatmaps import evidence_of
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Prediction
from tumorlens.settings import ReadLimits

_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_UNITS = (2, 8)  # NIfTI's codes of mm and s
_SCANNER = 1  # and of coordinates as the scanner has them
VOLUMES = {
    "evidence": "Evidence for a tumor on each voxel, in logits: a class activation map, 0 outside "
    "of the head. It is no outline of a tumor.",
    "probability": "Tumor probability of the slice that a voxel lies in; NaN where a slice has "
    "none.",
}


def why_no_volumes(series: Series, *, all_series: bool = False) -> str:
    """Return why a series gets no volumes; empty: it gets some.

    With `all_series` also those that are not used as a whole, where they lie on one grid.
    """
    if series.slices[0].modality is None and len({s.path for s in series.slices}) == 1:
        return ""  # a NIfTI volume has its grid, whatever it says of it
    if any(s.position is None or not s.spacing_mm for s in series.slices):
        return "does not say where its slices lie"
    lie_apart = len({s.position for s in series.slices}) == len(series.slices)
    return "" if all_series and lie_apart else series.reason


def write_volumes(
    series: Series,
    predictions: Sequence[Prediction],
    answer: SeriesPrediction,
    *,
    name: Callable[[str], Path],
    sidecar: Mapping[str, object] = MappingProxyType({}),
    limits: ReadLimits = ReadLimits(),
) -> list[Path]:
    """Write evidence and probability, each with what it means as JSON; return the volumes.

    `predictions` are of its slices, with heatmaps, matched by file and frame. `name` says where
    the volume of a kind of VOLUMES goes, `sidecar` what else its JSON holds. Raises an ImageError
    where the file is no longer there.
    """
    answers = {(p.path, p.frame): p for p in predictions}
    found = [(h, answers.get((h.path, h.frame))) for h in series.slices]
    written = []
    for kind, meaning in VOLUMES.items():
        draw = evidence_of if kind == "evidence" else _probability
        images = [draw(p, header.matrix) for header, p in found]
        path = name(kind)
        write_file(path, gzip.compress(_volume(series, images, limits), compresslevel=6, mtime=0))
        document = {
            "Description": meaning, **sidecar, "Notice": NOTICE, "Answer": answer.to_document()
        }  # fmt: skip
        beside = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        write_file(beside, json.dumps(document, indent=2))
        written.append(path)
    return written


def stem_of(series: Series) -> str:
    """Return a name for the files of a series: that of its volume, or a hash of its UID."""
    if series.slices[0].modality is None:
        name = Path(series.slices[0].path).name.removesuffix(".gz")
        return short_name(Path(name).stem, max_bytes=150)
    return anonymous_series_name(series.name)


def _probability(prediction: Prediction | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    is_known = prediction is not None and prediction.decision not in ("", "out of scope")
    value = prediction.tumor_probability if is_known and prediction is not None else None
    return np.full(shape, np.nan if value is None else value, np.float32)


def _volume(series: Series, images: Sequence[NDArray[np.float32]], limits: ReadLimits) -> bytes:
    """Return the bytes of a NIfTI file on the grid of the series, sform and qform set."""
    import nibabel as nib

    first = series.slices[0]
    if first.modality is None:
        slices = {h.frame or 0: image for h, image in zip(series.slices, images, strict=True)}
        volume, affine, is_known = restack(first.path, slices, limits=limits)
    else:
        volume, affine, is_known = np.stack(images).T, _affine(series), True
    image = nib.Nifti1Image(volume, affine)
    code = _SCANNER if is_known else 0
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    image.header.set_xyzt_units(*_UNITS)
    return image.to_bytes()


def _affine(series: Series) -> NDArray[np.float64]:
    """Return column, row and slice to mm in RAS, [4, 4], of DICOM slices; a tilt is kept."""
    first, last = series.slices[0], series.slices[-1]
    assert first.orientation is not None
    assert first.spacing_mm is not None
    assert first.corner is not None
    assert last.corner is not None
    way = np.subtract(last.corner, first.corner) / max(1, len(series.slices) - 1)
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing_mm[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing_mm[0]
    affine[:3, 2] = way if len(series.slices) > 1 else normal_of(first.orientation)
    affine[:3, 3] = first.corner
    affine[:3] = _TO_RAS @ affine[:3]
    return affine
