"""The commands for a first day: demo, predict, doctor."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from tumorlens.cli.options import (
    FAILED_STATUS,
    Bundle,
    Epochs,
    Overwrite,
    Workers,
    print_losses,
    print_passed_over,
)
from tumorlens.cli.progress import TrainingBars, console, counting, print_notice
from tumorlens.cli.series_files import (
    KINDS_WORD,
    DicomObjects,
    DicomOut,
    NiftiOut,
    SeriesFiles,
    SeriesOutputs,
    SnomedTypes,
)
from tumorlens.files import short_name
from tumorlens.outputs import DEMO_MARK, Outputs
from tumorlens.settings import Settings, load_settings
from tumorlens.worker_process import use_one_thread

if TYPE_CHECKING:
    from tumorlens.images.listing import Listing
    from tumorlens.images.readers import FoundFiles
    from tumorlens.predictions.series_answer import SeriesPrediction

MAX_SERIES = 20  # of the answers printed
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Images, DICOM or NIfTI files, folders or zips of them."),
]
Heatmaps = Annotated[
    Path | None, typer.Option(help="Folder for one image a scan: scan and heatmap.")
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A report to read: FILE.html or FILE.pdf, and FILE.json."),
]
PredictionsOut = Annotated[
    Path | None,
    typer.Option(
        help="The table to write; default: predictions.csv, and none if only --report, --dicom-out "
        "or --nifti-out is asked for."
    ),
]
Volume = Annotated[
    int | None, typer.Option(min=0, help="Which volume of a NIfTI file with several, from 0.")
]
AllSeries = Annotated[
    bool, typer.Option("--all-series", help="Predict localizers, projections and maps, too.")
]
ShowScan = Annotated[
    bool,
    typer.Option(
        "--show-scan/--hide-scan",
        help="Show scans as stored in the report; names may be burned into them.",
    ),
]


def predict(
    paths: Paths,
    bundle: Bundle = "",
    out: PredictionsOut = None,
    heatmaps: Heatmaps = None,
    report: Report = None,
    show_scan: ShowScan = True,
    workers: Workers = None,
    overwrite: Overwrite = False,
    volume: Volume = None,
    all_series: AllSeries = False,
    dicom_out: DicomOut = None,
    dicom_objects: DicomObjects = KINDS_WORD,
    snomed_types: SnomedTypes = False,
    nifti_out: NiftiOut = None,
) -> None:
    """Predict scans; every slice gets a row, also a file that cannot be read.

    Series of DICOM and NIfTI files are answered in series.csv beside the table. Exit status 3 if
    some file could not be read. Example:
    `tumorlens predict scans/ --out predictions.csv --report scans.pdf`
    """
    use_one_thread()
    from tumorlens.images.archive import unpacked

    settings = load_settings(workers=workers, volume=volume)
    outputs = Outputs(*paths, bundle, overwrite=overwrite)
    files = SeriesOutputs(dicom_out, dicom_objects, snomed_types, all_series, nifti_out)
    table = out or (None if report or files else Path("predictions.csv"))
    wanted = _Wanted(table, heatmaps, report, show_scan, files)
    with unpacked(paths) as lies:
        given = _find_files(paths, lies)
        answers = _predict(given, lies, settings, bundle, wanted, outputs)
    if answers.has_losses:
        raise typer.Exit(FAILED_STATUS)


@dataclass(frozen=True)
class _Wanted:
    """What `predict` is to write."""

    table: Path | None
    heatmaps: Path | None
    report: Path | None
    show_scan: bool  # in the report, as stored
    files: SeriesOutputs  # of each series

    @property
    def needs_heatmaps(self) -> bool:
        """Whether evidence is to be kept for what is written."""
        return bool(self.heatmaps or self.report or self.files)


def _predict(
    given: "FoundFiles",
    lies: Mapping[Path, Path],
    settings: Settings,
    bundle: str,
    wanted: _Wanted,
    outputs: Outputs,
) -> "_Answers":
    from tumorlens.images.listing import list_series
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.predictions.series_answer import SeriesAnswers
    from tumorlens.predictions.series_rows import iter_predict_series

    predictor, all_series = load_predictor(bundle, settings), wanted.files.all_series
    with counting("reading headers") as progress:
        found = list_series(given.scans, limits=settings.read_limits, progress=progress)
    total = len(found.images) + sum(len(series.slices) for series in found.series)
    _claim_outputs(outputs, wanted, scans=total, has_series=bool(found.series))
    answers = _Answers(keeps_all=bool(wanted.report))
    series = SeriesAnswers(found.series, predictor.bundle, all_series=all_series)
    files = SeriesFiles(wanted.files, predictor.bundle, settings.read_limits, answers=series.found)
    with counting("predicting") as progress:
        rows = iter_predict_series(
            predictor, given.scans, found, all_series=all_series, heatmaps=wanted.needs_heatmaps
        )
        rows = files.listen(series.listen(_drawn(rows, wanted.heatmaps)), found.series)
        rows = answers.listen(rows, progress, total=total)
        _write_rows((_named(row, lies) for row in rows), wanted.table)
    answered = [_named(answer, lies) for answer in series.found.values()]
    answers.print(answered, passed_over=given.passed_over)
    files.print(images=len(found.images))
    if wanted.table:
        typer.echo(wanted.table)
        _write_series(found, lies, wanted.table, series.found)
    if wanted.report:
        _write_report(answers.kept, series.found, found, predictor.bundle, settings, wanted)
    answers.has_losses = bool(answers.tally["unreadable"] or files.failed)
    return answers


def _write_rows(rows: Iterable[Any], table: Path | None) -> None:
    """Draw every row; write the table where one is wanted."""
    from tumorlens.predictions.document import write_predictions

    if table:
        write_predictions(rows, table)
    deque(rows, maxlen=0)


def _named(row: Any, lies: Mapping[Path, Path]) -> Any:
    """Name a file in an archive by the archive, not by where it was unpacked for a while."""
    names = [name for name in ("path", "series") if hasattr(row, name)]
    return replace(row, **{name: _given(getattr(row, name), lies) for name in names})


def _given(path: str, lies: Mapping[Path, Path]) -> str:
    for archive, folder in lies.items():
        if folder != archive and Path(path).is_relative_to(folder):
            return str(archive / Path(path).relative_to(folder))
    return path


def _write_series(
    found: "Listing",
    lies: Mapping[Path, Path],
    table: Path,
    answers: Mapping[str, "SeriesPrediction"],
) -> None:
    """Write series.csv beside a table, where there are series, and print its name."""
    from tumorlens.files import write_table
    from tumorlens.predictions.series_answer import SERIES_TABLE, TABLE_COLUMNS, series_table

    if not found.series:
        return
    out = table.with_name(SERIES_TABLE)
    rows = series_table(found, answers, name_of=lambda name: _given(name, lies))
    write_table(out, TABLE_COLUMNS, rows)
    typer.echo(out)


def _claim_outputs(outputs: Outputs, wanted: _Wanted, *, scans: int, has_series: bool) -> None:
    from tumorlens.predictions.document import COLUMNS, FIRST_COLUMNS
    from tumorlens.predictions.series_answer import (
        FIRST_TABLE_COLUMNS,
        SERIES_TABLE,
        TABLE_COLUMNS,
    )
    from tumorlens.reports.scan.report import check_report

    if wanted.report:
        check_report(wanted.report, scans)
    if wanted.table:
        outputs.claim_table(wanted.table, COLUMNS, FIRST_COLUMNS)
    if wanted.table and has_series:
        listed = wanted.table.with_name(SERIES_TABLE)
        outputs.claim_table(listed, TABLE_COLUMNS, FIRST_TABLE_COLUMNS)
    if wanted.report:
        outputs.claim_report(wanted.report)
        outputs.claim_report(wanted.report.with_suffix(".json"))
    if wanted.heatmaps:
        outputs.claim_folder(wanted.heatmaps)
    if wanted.files:
        wanted.files.claim(outputs)


class _Answers:
    """What answers said, counted while they pass; all are kept where a report shows them."""

    def __init__(self, *, keeps_all: bool) -> None:
        self.tally: Counter[str] = Counter()
        self.kept: list[Any] = []
        self.has_losses = False  # something that was given got no answer
        self._errors: list[str] = []
        self._notes: Counter[str] = Counter()
        self._keeps_all, self._started = keeps_all, time.perf_counter()

    def listen(self, predictions: Iterable[Any], progress: Any, *, total: int) -> Iterator[Any]:
        for prediction in predictions:
            self.tally[prediction.decision or _why_none(prediction)] += 1
            self._errors.append(prediction.error)
            self._notes.update(prediction.notes)
            if self._keeps_all or not self.kept:
                self.kept.append(prediction)
            progress(len(self._errors), max(total, len(self._errors)))
            yield prediction

    def print(
        self, series: Sequence["SeriesPrediction"], *, passed_over: Mapping[str, int]
    ) -> None:
        """Print the counts, the answers for series, and of one scan the answer itself."""
        from tumorlens.losses import MAX_REASONS, counted

        n, seconds = len(self._errors), time.perf_counter() - self._started
        if n == 1:
            console.print(_in_words(self.kept[0]), markup=False)
        decisions = ", ".join(f"{count} {name}" for name, count in sorted(self.tally.items()))
        console.print(f"{counted(n, 'scan')} in {seconds:.1f} s ({n / seconds:.0f}/s): {decisions}")
        print_losses(self._errors, where="the column error")
        print_passed_over(passed_over)
        if self._notes:
            noted = (f"{name} ({count})" for name, count in self._notes.most_common(MAX_REASONS))
            console.print(f"notes: {'; '.join(noted)}", markup=False)
        _print_series(series)
        print_notice()


def _print_series(answered: Sequence["SeriesPrediction"]) -> None:
    from tumorlens.predictions.series_answer import SERIES_TABLE, describe_series

    for answer in answered[:MAX_SERIES]:
        console.print(f"series {answer.series}: {describe_series(answer)}", markup=False)
    if len(answered) > MAX_SERIES:
        console.print(f"{len(answered) - MAX_SERIES} series more: see {SERIES_TABLE}")


def _why_none(answer: Any) -> str:
    from tumorlens.predictions.series_rows import NOT_PREDICTED

    return "of series not used" if answer.error.startswith(NOT_PREDICTED) else "unreadable"


def _in_words(answer: Any) -> str:
    if answer.error:
        return f"{answer.path}: {answer.error}"
    kind = f" ({answer.type})" if answer.type else ""
    return (
        f"{answer.path}: {answer.decision}{kind}, tumor probability "
        f"{answer.tumor_probability:.3f} (threshold {answer.threshold:.3f}), "
        f"{answer.modality.upper()} {answer.modality_probability:.3f}"
    )


def _drawn(predictions: Iterable[Any], folder: Path | None) -> Iterator[Any]:
    """Pass predictions on while their heatmaps are written."""
    from tumorlens.predictions.heatmaps import write_overlay

    for number, prediction in enumerate(predictions, start=1):
        if folder is not None and prediction.heatmap is not None:
            # Numbered: files of one name in two folders must not overwrite one another.
            stem = short_name(Path(prediction.path).stem)
            write_overlay(prediction.heatmap, folder / f"{number:05d}_{stem}.png")
        yield prediction


def _find_files(paths: list[Path], lies: Mapping[Path, Path]) -> "FoundFiles":
    from tumorlens.errors import CasesError
    from tumorlens.images.readers import find_files
    from tumorlens.losses import describe_passed_over

    found = find_files(lies[path] for path in paths)
    if not found.scans:
        named, beside = ", ".join(map(str, paths)), describe_passed_over(found.passed_over)
        fact = f"holds no images{f', only {beside}' if beside else ''}"
        zips = " A zip is looked into where it is named itself." if ".zip" in beside else ""
        raise CasesError(named, fact, f"Name image files, or a folder with some.{zips}")
    return found


def _write_report(
    predictions: list[Any],
    answered: Mapping[str, "SeriesPrediction"],
    found: "Listing",
    bundle: Any,
    settings: Any,
    wanted: _Wanted,
) -> None:
    from datetime import UTC, datetime

    from tumorlens.inputs.prepare import apply_window
    from tumorlens.reports.scan.content import Examined
    from tumorlens.reports.scan.report import write_scan_report
    from tumorlens.reports.viewer.content import viewers

    scans = (
        list(_scans_of(predictions, settings)) if wanted.show_scan else [None] * len(predictions)
    )
    examined = [
        Examined(answer, apply_window(scan, bundle.spec) if scan else None)
        for answer, scan in zip(predictions, scans, strict=True)
    ]
    assert wanted.report is not None
    answers = list(answered.values())
    is_page = wanted.report.suffix.lower() == ".html"
    shown = viewers(predictions, scans, series=found.series, answers=answers) if is_page else ()
    made = datetime.now(UTC)
    for path in write_scan_report(
        examined, bundle, out=wanted.report, made=made, series=answers, viewers=shown
    ):
        typer.echo(path)


def _scans_of(predictions: list[Any], settings: Any) -> Iterator[Any]:
    """Yield the scan of each prediction, None of one with an error; a file is read once."""
    from tumorlens.images.readers import open_images

    path, scans = "", {}
    for found in predictions:
        if found.error:
            yield None
            continue
        if found.path != path:
            opened = open_images(found.path, limits=settings.read_limits)
            path, scans = found.path, {scan.frame or 0: scan for scan in opened}
        yield scans[found.frame or 0]


def demo(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="A labeled folder; default: phantoms.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything made.")] = Path("demo"),
    per_class: Annotated[int, typer.Option(min=20, help="Phantoms of each class.")] = 200,
    epochs: Epochs = None,
) -> None:
    """Everything end to end: split, audit, train a small network, evaluate, explore, predict.

    Takes a few minutes on two cores. Example: `tumorlens demo` or `tumorlens demo scans/`
    """
    from tumorlens.study.training.backend import load_backend

    Outputs(data).claim_folder(out, mark=DEMO_MARK)
    load_backend()
    from tumorlens.study.demonstration import demonstrate

    with TrainingBars(1) as bars, counting("working") as report:
        page = demonstrate(
            data,
            out=out,
            cache=load_settings().cache_folder,
            per_class=per_class,
            epochs=epochs,
            callback=bars,
            progress=report,
            on_stage=lambda text: console.print(f"[bold]{text}[/bold]"),
        )
    console.print(f"More to click on: tumorlens dashboard --study {out}")
    console.print("Open this page in a browser:")
    typer.echo(page.resolve().as_uri())


def doctor() -> None:
    """Check this installation: libraries, bundle, a prediction, the cache.

    Exit status 1 if something is broken. Example: `tumorlens doctor`
    """
    checks = (_check_python, _check_libraries, _check_bundle, _check_prediction, _check_cache)
    failed = 0
    for check in checks:
        try:
            for line in check():
                console.print(f"[green]ok[/green]    {escape(line)}")
        except Exception as error:  # noqa: BLE001 (whatever is broken is the finding)
            failed += 1
            console.print(f"[red]broken[/red] {escape(str(error))}")
    raise typer.Exit(1 if failed else 0)


def _check_python() -> Iterator[str]:
    import os
    import platform

    from tumorlens import __version__

    system = f"{platform.system()} {platform.machine()}"
    yield f"tumorlens {__version__}, Python {platform.python_version()}, {system}"
    yield f"{os.cpu_count()} cores"


def _check_libraries() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("numpy", "opencv-python-headless", "pillow", "simplejpeg", "onnxruntime"):
        yield f"{name} {version(name)}"
    for extra, name in (("train", "keras"), ("dashboard", "streamlit"), ("service", "fastapi"),
                        ("scale", "ray")):  # fmt: skip
        try:
            yield f"{name} {version(name)} (extra: {extra})"
        except PackageNotFoundError:
            yield f'{name} is not installed; for that: pip install "tumorlens[{extra}]"'


def _check_bundle() -> Iterator[str]:
    from tumorlens.models.bundle import load_bundle

    bundle = load_bundle(load_settings().bundle)
    yield f"bundle {bundle.version} in {bundle.folder}, hash verified"


def _check_prediction() -> Iterator[str]:
    import numpy as np

    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.records import Scan

    rows, columns = np.mgrid[-1:1:192j, -1:1:192j]
    disc = np.where(rows**2 + (columns / 0.8) ** 2 < 0.7, 100, 0).astype(np.float32)
    predictor = load_predictor("", load_settings())
    started = time.perf_counter()
    answer = predictor.predict_scans([Scan(disc, "a drawn disc")], heatmaps=True)[0]
    milliseconds = 1000 * (time.perf_counter() - started)
    if answer.error:
        raise RuntimeError(f"a drawn disc could not be predicted: {answer.error}")
    yield f"one prediction with heatmap in {milliseconds:.0f} ms (a drawn disc: {answer.decision})"


def _check_cache() -> Iterator[str]:
    folder = load_settings().cache_folder
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".doctor"
    probe.write_bytes(b"")
    probe.unlink()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield f"cache {folder}, {size / 2**20:.0f} MiB"
