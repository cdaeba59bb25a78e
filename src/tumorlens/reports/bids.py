"""A BIDS data set is answered for as a BIDS App does: a derivative data set comes out.

Names follow BIDS 1.10. The probability of slices is a `probseg`; for evidence in logits BIDS has
no suffix, so `_evidence` files are named in `.bidsignore`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tumorlens import __version__
from tumorlens.errors import CasesError, ImageError
from tumorlens.files import write_file
from tumorlens.images.listing import Listing, list_series
from tumorlens.images.series import Series
from tumorlens.predictions.document import NOTICE
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import (
    SeriesPrediction,
    answer_of,
    describe_series,
    series_columns,
)
from tumorlens.predictions.series_rows import SeriesCollector, iter_predict_series
from tumorlens.progress import Progress, silent
from tumorlens.records import Prediction
from tumorlens.reports.nifti import write_volumes
from tumorlens.settings import ReadLimits

VERSION = "1.10.0"
SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw", "T2starw", "ct")  # of images that are answered for
DESCRIPTION = "dataset_description.json"
_NAME = re.compile(
    r"(?P<subject>sub-[0-9a-zA-Z]+)(?:_(?P<session>ses-[0-9a-zA-Z]+))?(?P<rest>(?:_[a-z0-9]+-"
    rf"[0-9a-zA-Z]+)*)_(?P<suffix>{'|'.join(SUFFIXES)})\.nii(?:\.gz)?"
)
_SCANS = {
    "source": "The image that was answered for, below the source data set.",
    "answer": "The answer in words, or why there is none.",
    "decision": "tumor, no tumor, uncertain, or out of scope.",
    "score": "Mean of the strongest slices after smoothing, 0 to 1; not calibrated.",
    "probability": "Calibrated tumor probability; n/a where the bundle has no rule for series.",
    "threshold": "Of the probability, or else of the score.",
    "peak_slice": "The slice with the highest smoothed tumor probability, from 1 along the normal.",
    "type": "The tumor type that the strongest slices see best; n/a where none was asked for.",
    "bundle": "Name and hash of the bundle that answered.",
}
_PARTICIPANTS = {
    "images": "Images that were answered for.",
    "tumor_images": "Images with the decision tumor; no rule joins them to one answer.",
}


@dataclass(frozen=True)
class BidsImage:
    """An image of a BIDS data set, by what its name says."""

    path: Path
    source: str  # below the data set, with slashes
    subject: str  # "sub-01"
    session: str  # "ses-1", or ""
    entities: str  # what follows, "_acq-3d_run-1", or ""
    suffix: str

    @property
    def folder(self) -> str:
        """The folder of its participant and session."""
        return f"{self.subject}/{self.session}" if self.session else self.subject

    @property
    def prefix(self) -> str:
        """How the names of its files begin."""
        return f"{self.subject}_{self.session}" if self.session else self.subject

    def derivative(self, kind: str) -> str:
        """Return the name of a volume of a kind of `nifti.VOLUMES`, below its folder."""
        kinds = {
            "probability": f"_label-tumor_desc-{self.suffix}_probseg.nii.gz",
            "evidence": f"_desc-{self.suffix}_evidence.nii.gz",
        }
        return f"anat/{self.prefix}{self.entities}{kinds[kind]}"


@dataclass
class BidsResult:
    """What became of a data set."""

    answers: dict[str, SeriesPrediction] = field(default_factory=dict)  # by source
    failed: dict[str, str] = field(default_factory=dict)  # sources without an answer, and why


def find_images(source: Path, participants: Sequence[str] = ()) -> list[BidsImage]:
    """List the images of a data set, of all participants or of some ("01" or "sub-01").

    Derivatives and source data inside it are not looked at. Raises CasesError where it is no BIDS
    data set, where a participant is not there, or where none has such an image.
    """
    if not (source / DESCRIPTION).is_file():
        fact = f"is no BIDS data set: it has no {DESCRIPTION}"
        raise CasesError(source, fact, "Name the folder that holds it.")
    there = sorted(p.name for p in source.glob("sub-*") if p.is_dir())
    wanted = [f"sub-{name.removeprefix('sub-')}" for name in participants] or there
    if lacking := [name for name in wanted if name not in there]:
        raise CasesError(source, f"has no {', '.join(lacking)}", f"It has {', '.join(there[:9])}.")
    images = [image for name in wanted for image in _images_of(source, name)]
    if not images:
        fact = f"holds no image to answer for ({', '.join(SUFFIXES)})"
        raise CasesError(source, fact, "Images are sub-*/[ses-*/]anat/*.nii.gz.")
    return images


def _images_of(source: Path, subject: str) -> Iterator[BidsImage]:
    for path in sorted((source / subject).rglob("*.nii*")):
        found = _NAME.fullmatch(path.name)
        if found and found["subject"] == subject:
            yield BidsImage(path, path.relative_to(source).as_posix(), subject,
                            found["session"] or "", found["rest"], found["suffix"])  # fmt: skip


def answer_dataset(
    source: Path,
    out: Path,
    images: Sequence[BidsImage],
    *,
    predictor: Predictor,
    limits: ReadLimits = ReadLimits(),
    progress: Progress = silent,
) -> BidsResult:
    """Answer for images and write the derivative data set; participants of before stay in it."""
    result = BidsResult()
    by_path = {str(image.path): image for image in images}
    listing = list_series([image.path for image in images], limits=limits)
    result.failed |= {by_path[item.path].source: item.reason for item in listing.unreadable}

    def receive(series: Series, predictions: list[Prediction]) -> None:
        image = by_path[series.slices[0].path]
        answer = replace(answer_of(series, predictions, predictor.bundle), series=image.source)
        try:
            _write_image(series, predictions, answer, image, out=out, limits=limits)
        except ImageError as error:
            result.failed[image.source] = f"{error.fact}. {error.fix}"
        else:
            result.answers[image.source] = answer
        progress(len(result.answers) + len(result.failed), len(images))

    _predict(listing, predictor, receive)
    for image in images:
        if image.source not in result.answers:
            result.failed.setdefault(image.source, "no slice of it could be read")
    _write_tables(out, images, result)
    write_file(out / DESCRIPTION, json.dumps(_description(source, out), indent=2))
    write_file(out / ".bidsignore", "*_evidence.nii.gz\n*_evidence.json\n.tumorlens\n")
    write_file(out / "README.md", _readme(predictor.bundle.version))
    return result


def _predict(
    listing: Listing,
    predictor: Predictor,
    receive: Callable[[Series, list[Prediction]], None],
) -> None:
    files = list(dict.fromkeys(Path(h.path) for s in listing.series for h in s.slices))
    rows = iter_predict_series(predictor, files, listing, all_series=True, heatmaps=True)
    for _ in SeriesCollector(listing.series, receive).listen(rows):
        pass


def _write_image(
    series: Series,
    predictions: Sequence[Prediction],
    answer: SeriesPrediction,
    image: BidsImage,
    *,
    out: Path,
    limits: ReadLimits,
) -> None:
    if answer.score is None and not any(p.tumor_probability is not None for p in predictions):
        reason = next((p.error for p in predictions if p.error), "no slice of it could be read")
        raise ImageError(image.path, reason.rstrip("."), "Check the file.")
    write_volumes(
        series,
        predictions,
        answer,
        name=lambda kind: out / image.folder / image.derivative(kind),
        sidecar={"Sources": [f"bids:raw:{image.source}"], "SpatialReference": "orig"},
        limits=limits,
    )


def _write_tables(out: Path, images: Sequence[BidsImage], result: BidsResult) -> None:
    """Write a row an image and a row a participant; other participants keep theirs."""
    subjects: dict[str, list[BidsImage]] = {}
    folders: dict[tuple[str, str], list[BidsImage]] = {}
    for image in images:
        subjects.setdefault(image.subject, []).append(image)
        folders.setdefault((image.folder, image.prefix), []).append(image)
    for (folder, prefix), held in folders.items():
        rows = [_scan_row(image, result.answers[image.source])
                for image in held if image.source in result.answers]  # fmt: skip
        if rows:
            _write_tsv(out / folder / f"{prefix}_scans.tsv", ("filename", *_SCANS), rows)
    table = out / "participants.tsv"
    known: dict[str, Mapping[str, object]] = {
        row["participant_id"]: row for row in _read_tsv(table)
    }
    for subject, held in subjects.items():
        answers = [result.answers[i.source] for i in held if i.source in result.answers]
        tumors = sum(answer.decision == "tumor" for answer in answers)
        known[subject] = {"participant_id": subject, "images": len(answers), "tumor_images": tumors}
    _write_tsv(table, ("participant_id", *_PARTICIPANTS), [known[name] for name in sorted(known)])
    for name, columns in (("scans.json", _SCANS), ("participants.json", _PARTICIPANTS)):
        described = {column: {"Description": text} for column, text in columns.items()}
        write_file(out / name, json.dumps(described, indent=2))


def _scan_row(image: BidsImage, answer: SeriesPrediction) -> dict[str, object]:
    return {
        "filename": image.derivative("probability"),
        "source": image.source,
        "answer": describe_series(answer),
        **{name: value for name, value in series_columns(answer).items() if name in _SCANS},
    }


def _write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table as BIDS wants it: tabs, and n/a for what is not known."""
    lines = ["\t".join(columns)]
    for row in rows:
        cells = (" ".join(str(row.get(name, "")).split()) or "n/a" for name in columns)
        lines.append("\t".join(cells))
    write_file(path, "\n".join(lines) + "\n")


def _read_tsv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    columns, *rows = (
        line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line
    )
    return [dict(zip(columns, row, strict=False)) for row in rows]


def _description(source: Path, out: Path) -> dict[str, object]:
    """Return what the derivative says of itself, and of the data set that it was made of."""
    given = json.loads((source / DESCRIPTION).read_text(encoding="utf-8-sig"))
    name = str(given.get("Name") or source.resolve().name)
    way = Path(os.path.relpath(source.resolve(), out.resolve())).as_posix()
    origin = {"DOI": given["DatasetDOI"]} if given.get("DatasetDOI") else {"URL": way}
    return {
        "Name": f"Tumorlens answers for {name}",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Tumorlens", "Version": __version__, "Description": NOTICE}],
        "SourceDatasets": [origin],
        "DatasetLinks": {"raw": way},
    }


def _readme(bundle: str) -> str:
    return (
        f"# Tumorlens answers\n\n{NOTICE}\n\nMade by Tumorlens {__version__} with the bundle "
        f"{bundle}.\n\n`*_scans.tsv` holds the answer for each image. `*_probseg.nii.gz` holds the "
        "tumor probability of the slice that a voxel lies in. `*_evidence.nii.gz` holds the "
        "evidence for a tumor in logits; it is no segmentation, and BIDS has no name for it, so "
        "`.bidsignore` names it.\n"
    )
