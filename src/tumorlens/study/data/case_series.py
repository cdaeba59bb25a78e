"""Labeled slices that make one series: those of a patient and a sequence, in order along the head.

DICOM and NIfTI say where their slices lie. Of other files the level in the patient's stack or else
the number in the name gives the order, and no distance is known.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumorlens import labels
from tumorlens.images.frames import split_frame_path
from tumorlens.images.listing import list_series
from tumorlens.images.series import MIN_SLICES, Series
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.series_answer import SeriesPrediction, answer_series
from tumorlens.records import Case, Plane, Prediction
from tumorlens.study.data.acquisition import source_of

# The number of a slice: the last in a name, but for words after it, such as a sequence.
_NUMBER = re.compile(r"[ _.-]?(\d+)(?=(?:[ _.-]+[A-Za-z][A-Za-z0-9]*)?$)")


@dataclass(frozen=True)
class CaseSeries:
    """One series of labeled slices."""

    name: str
    patient: str
    rows: tuple[int, ...]  # where its slices stand among the cases, in order along the head
    has_tumor: tuple[bool, ...]  # by slice
    positions: tuple[float | None, ...]  # mm
    plane: Plane | None = None

    @property
    def is_tumor(self) -> bool:
        """Whether any of its slices has a tumor."""
        return any(self.has_tumor)


def find_series(cases: Sequence[Case]) -> list[CaseSeries]:
    """Return the series of at least MIN_SLICES slices that cases with a known patient make."""
    known = [row for row, case in enumerate(cases) if case.patient]
    named = {row: split_frame_path(cases[row].path) for row in known}
    at = {(str(path), frame or 0): row for row, (path, frame) in named.items()}
    listing = list_series([Path(path) for path in dict.fromkeys(path for path, _ in at)])
    found = [made for series in listing.series if (made := _of_headers(series, cases, at))]
    taken = {row for series in found for row in series.rows}
    found += _of_names(cases, [row for row in known if row not in taken])
    return [series for series in found if len(series.rows) >= MIN_SLICES]


def _of_headers(
    series: Series, cases: Sequence[Case], at: Mapping[tuple[str, int], int]
) -> CaseSeries | None:
    """Return a listed series with those of its slices that are cases; None where none is."""
    rows_found = [(at.get((header.path, header.frame or 0)), header) for header in series.slices]
    held = [(row, header) for row, header in rows_found if row is not None]
    if not held:
        return None
    rows = tuple(row for row, _ in held)
    return CaseSeries(
        series.name,
        cases[rows[0]].patient or "",
        rows,
        tuple(labels.is_tumor(cases[row].label) for row in rows),
        tuple(header.position for _, header in held),
        series.plane,
    )


def _of_names(cases: Sequence[Case], rows: Sequence[int]) -> list[CaseSeries]:
    stacks: dict[tuple[str, str, str], list[tuple[float, int]]] = defaultdict(list)
    for row in rows:
        case = cases[row]
        found = _NUMBER.search(case.path.stem)
        if found is None:
            continue
        stack = case.path.stem[: found.start()] + case.path.stem[found.end() :]
        number = float(found[1]) if case.level is None else case.level
        stacks[case.dataset, case.patient or "", stack].append((number, row))
    return [
        CaseSeries(
            f"{dataset}/{stack}",
            patient,
            tuple(row for _, row in sorted(slices)),
            tuple(labels.is_tumor(cases[row].label) for _, row in sorted(slices)),
            (None,) * len(slices),
        )
        for (dataset, patient, stack), slices in stacks.items()
    ]


@dataclass(frozen=True)
class AnsweredSeries:
    """A labeled series with its answer."""

    series: CaseSeries
    answer: SeriesPrediction
    predictions: tuple[Prediction, ...]


def answer_cases(
    found: Sequence[CaseSeries], predictions: Sequence[Prediction], bundle: Bundle
) -> list[AnsweredSeries]:
    """Answer for series, given the predictions of all cases; those without a score are left out."""
    answered = []
    for series in found:
        slices = tuple(replace(predictions[row], heatmap=None) for row in series.rows)
        answer = answer_series(
            slices, positions=series.positions, bundle=bundle, name=series.name, plane=series.plane
        )
        if answer.score is not None:
            answered.append(AnsweredSeries(series, answer, slices))
    return answered


def count_sources(cases: Sequence[Case], found: Sequence[CaseSeries]) -> dict[str, dict[str, int]]:
    """Count the series of each data set and folder, with a tumor and without.

    Where no source has both, the source alone tells the answer.
    """
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"tumor": 0, "healthy": 0})
    for series in found:
        source = source_of(cases[series.rows[0]])
        counts[source]["tumor" if series.is_tumor else "healthy"] += 1
    return dict(counts)
