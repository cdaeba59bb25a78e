"""What `predict` writes for each series: DICOM objects, NIfTI volumes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.progress import console
from tumorlens.reports.dicom import DEFAULT_KINDS, KINDS

if TYPE_CHECKING:
    from tumorlens.images.series import Series
    from tumorlens.models.bundle import Bundle
    from tumorlens.outputs import Outputs
    from tumorlens.predictions.series_answer import SeriesPrediction
    from tumorlens.records import Prediction
    from tumorlens.settings import ReadLimits

KINDS_WORD = ",".join(DEFAULT_KINDS)  # as the option is written
DicomOut = Annotated[
    Path | None,
    typer.Option(help="Folder for DICOM objects of each DICOM series: report, map, captures, key."),
]
DicomObjects = Annotated[
    str,
    typer.Option(metavar="KINDS", help="Which: sr, pm, sc, ko, and seg for regions as a segment."),
]
NiftiOut = Annotated[
    Path | None,
    typer.Option(help="Folder for NIfTI volumes of each series: evidence and probability."),
]
SnomedTypes = Annotated[
    bool,
    typer.Option(
        "--snomed-types",
        help="Name tumor types in DICOM reports by SNOMED CT codes, for which you need a licence "
        "(snomed.org/get-snomed).",
    ),
]


@dataclass(frozen=True)
class SeriesOutputs:
    """What is to be written for each series."""

    dicom: Path | None = None
    kinds: str = KINDS_WORD
    types: bool = False
    all_series: bool = False
    nifti: Path | None = None

    def __bool__(self) -> bool:
        """Return whether anything is."""
        return self.dicom is not None or self.nifti is not None

    def claim(self, outputs: "Outputs") -> None:
        """Claim every folder, and check what is asked for."""
        from tumorlens.errors import SettingsError

        if unknown := [kind for kind in self.kind_names if kind not in KINDS]:
            fact = f"names no DICOM object ({', '.join(unknown) or 'it is empty'})"
            raise SettingsError("--dicom-objects", fact, f"Name some of {','.join(KINDS)}.")
        outputs.claim_folder(*(folder for folder in (self.dicom, self.nifti) if folder))

    @property
    def kind_names(self) -> list[str]:
        """The kinds of DICOM objects, one by one."""
        return [kind.strip().lower() for kind in self.kinds.split(",")]


class SeriesFiles:
    """Writes the files of each series that it is given, and lists them at the end."""

    def __init__(
        self,
        wanted: SeriesOutputs,
        bundle: "Bundle",
        limits: "ReadLimits",
        *,
        answers: "Mapping[str, SeriesPrediction]",
    ) -> None:
        """`answers` are those that are known by the time a series is whole, by its name."""
        self._wanted, self._bundle, self._limits = wanted, bundle, limits
        self._answers = answers
        self._made: Counter[str] = Counter()
        self.refused: list[tuple[str, str]] = []  # what was not made of a series, and why
        self._names: set[str] = set()  # taken in the folder of volumes
        self.failed: list[str] = []

    def listen(
        self, rows: "Iterable[Prediction]", series: "Sequence[Series]"
    ) -> "Iterable[Prediction]":
        """Pass predictions on, and write what is wanted of each series that is whole."""
        from tumorlens.predictions.series_rows import SeriesCollector

        return SeriesCollector(series, self._write).listen(rows) if self._wanted else rows

    def _write(self, series: "Series", predictions: "Sequence[Prediction]") -> None:
        """Write what is wanted of one whole series; an error is kept for the end."""
        from tumorlens.errors import ImageError
        from tumorlens.predictions.series_answer import answer_of

        known = self._answers.get(series.name)
        answer = known or answer_of(series, predictions, self._bundle)
        writers = ((self._wanted.dicom, self._write_dicom), (self._wanted.nifti, self._write_nifti))
        for folder, write in writers:
            try:
                if folder:
                    write(series, predictions, answer, folder)
            except ImageError as error:
                self.failed.append(str(error))

    def _write_nifti(
        self,
        series: "Series",
        predictions: "Sequence[Prediction]",
        answer: "SeriesPrediction",
        folder: Path,
    ) -> None:
        from tumorlens.reports.nifti import stem_of, why_no_volumes, write_volumes

        if why := why_no_volumes(series, all_series=self._wanted.all_series):
            self.refused.append((f"no NIfTI volumes for {series.name}", why))
            return
        stem, number = stem_of(series), 1
        while (name := stem if number == 1 else f"{stem}-{number}") in self._names:
            number += 1
        self._names.add(name)
        written = write_volumes(
            series, predictions, answer, limits=self._limits,
            name=lambda kind: folder / f"{name}_{kind}.nii.gz",
        )  # fmt: skip
        self._made["volumes"] += len(written)

    def _write_dicom(
        self,
        series: "Series",
        predictions: "Sequence[Prediction]",
        answer: "SeriesPrediction",
        folder: Path,
    ) -> None:
        from tumorlens.reports.dicom.objects import (
            ObjectOptions,
            result_objects,
            why_no_objects,
            write_objects,
        )

        options = ObjectOptions(
            kinds=tuple(self._wanted.kind_names),
            all_series=self._wanted.all_series,
            types=self._wanted.types,
            limits=self._limits,
        )
        if why := why_no_objects(series, options):
            self.refused.append((f"no DICOM objects for {series.name}", why))
            return
        made = result_objects(
            series, predictions, bundle=self._bundle, answer=answer, options=options
        )
        written = write_objects(made, folder)
        self._made.update("new" if is_new else "there" for _, is_new in written)

    def lines(self, *, images: int) -> Iterator[str]:
        """Yield what was written and what not, in words; `images` belong to no series."""
        from tumorlens.losses import MAX_REASONS, counted

        if self._wanted.dicom:
            there = f", {self._made['there']} were there" if self._made["there"] else ""
            yield f"{counted(self._made['new'], 'DICOM object')} in {self._wanted.dicom}{there}"
            if images:
                yield f"no DICOM objects for {counted(images, 'image')}: of no series"
        if self._wanted.nifti:
            yield f"{counted(self._made['volumes'], 'NIfTI volume')} in {self._wanted.nifti}"
        yield from (f"{what}: it {why}" for what, why in self.refused[:MAX_REASONS])
        if len(self.refused) > MAX_REASONS:
            yield f"nor for {len(self.refused) - MAX_REASONS} others"
        yield from (f"not written: {error}" for error in self.failed)

    def print(self, *, images: int) -> None:
        """Print `lines`."""
        for line in self.lines(images=images):
            console.print(line, markup=False)
