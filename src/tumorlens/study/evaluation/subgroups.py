"""The same figures by modality, plane, set, label, size of the file, copy and patient."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.records import Case
from tumorlens.study.audit.facts import read_file_facts
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.figures import type_figures
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions

SIZE_BANDS = ((200, "up to 200 px"), (256, "201 to 256 px"), (512, "257 to 512 px"))
LARGEST_BAND, NO_SIZE = "above 512 px", "size not known"
Rows = Mapping[str, NDArray[np.bool_]]


def subgroup_figures(
    cases: Sequence[Case],
    answers: LabeledPredictions,
    *,
    copies: Mapping[str, bool] | None = None,
    planes: Sequence[str] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Give detection and type of each subgroup: subgroup kind -> name -> figures.

    `copies` says of case keys whether the split has a file of the same picture in training or
    validation; None where no split was given. `planes` names the estimated plane of each case.
    A tumor's label is measured against the healthy scans of its modality, a healthy one against
    the tumors.
    """
    return {
        kind: {
            name: {"detection": detection_figures(answers, rows),
                   "type": type_figures(answers, rows)}
            for name, rows in found.items()
        }
        for kind, found in find_subgroups(
            cases, answers, copies=copies, planes=planes
        ).items()
    }  # fmt: skip


def find_subgroups(
    cases: Sequence[Case],
    answers: LabeledPredictions,
    *,
    copies: Mapping[str, bool] | None = None,
    planes: Sequence[str] | None = None,
) -> dict[str, Rows]:
    """Give the rows, [n], of each subgroup of each kind; kinds that cannot be told are left out."""
    named: dict[str, list[str]] = {
        "modality": [labels.modality_of(case.label) or "not recorded" for case in cases],
        **({"plane (estimated)": list(planes)} if planes is not None else {}),
        "data set": [case.dataset for case in cases],
        "size of the file": [size_band(case.path) for case in cases],
        "patient": ["known" if case.patient else "not known" for case in cases],
    }
    if copies is not None:
        told = {True: "has one", False: "has none"}
        named["copy in training or validation"] = [told[copies.get(c.key, False)] for c in cases]
    found = {kind: _rows(names) for kind, names in named.items()}
    found["label"] = _label_rows(answers)
    return found


def _rows(names: Sequence[str]) -> Rows:
    column = np.array(names, np.str_)
    return {name: column == name for name in sorted(set(names), key=_order)}


def _order(name: str) -> tuple[int, str]:
    """Sort bands by size, all else by name."""
    bands = [band for _, band in SIZE_BANDS] + [LARGEST_BAND, NO_SIZE]
    return (bands.index(name) if name in bands else 0), name


def _label_rows(answers: LabeledPredictions) -> Rows:
    own = np.array(answers.labels, np.str_)
    truth, modalities = answers.truth, answers.modalities
    found = {}
    for label in sorted(set(answers.labels)):
        modality = labels.modality_of(label)
        other = truth != labels.is_tumor(label)
        found[label] = (own == label) | (other & ((modalities == modality) | (modality is None)))
    return found


def size_band(path: Path) -> str:
    """Name the band of the longer side of a stored picture."""
    try:
        facts = read_file_facts(path.read_bytes())
    except OSError:
        facts = None
    if facts is None:
        return NO_SIZE
    longer = max(facts.width, facts.height)
    return next((name for most, name in SIZE_BANDS if longer <= most), LARGEST_BAND)
