"""The commands for a first day: demo, predict, doctor."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tumorlens.cli.options import FAILED_STATUS, Bundle, Epochs, TableOut, Workers
from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.settings import load_settings

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Images, or folders of images.")]
Heatmaps = Annotated[
    Path | None, typer.Option(help="Folder for one image a scan: scan and heatmap.")
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A report to read: FILE.html or FILE.pdf, and FILE.json."),
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
    out: TableOut = Path("predictions.csv"),
    heatmaps: Heatmaps = None,
    report: Report = None,
    show_scan: ShowScan = True,
    workers: Workers = None,
) -> None:
    """Predict scans; every file gets a row, also one that cannot be read.

    Exit status 3 if some file could not be read. Example:
    `tumorlens predict scans/ --out predictions.csv --report scans.pdf`
    """
    from tumorlens.predictions.document import write_predictions
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.reports.scan.report import check_report

    files = _find_files(paths)
    if report:
        check_report(report, len(files))
    settings = load_settings(workers=workers)
    predictor = load_predictor(bundle, settings)
    started = time.perf_counter()
    tally: Counter[str] = Counter()
    kept: list[Any] = []
    with counting("predicting") as progress:
        found = predictor.iter_predict(files, heatmaps=bool(heatmaps or report))
        found = _counted(found, len(files), tally, progress, heatmaps)
        write_predictions(_keeping(found, kept) if report else found, out)
    seconds = time.perf_counter() - started
    listed = ", ".join(f"{count} {name}" for name, count in sorted(tally.items()))
    console.print(f"{len(files)} scans in {seconds:.1f} s ({len(files) / seconds:.0f}/s): {listed}")
    console.print("Research use only. Not a medical device.", style="dim")
    typer.echo(out)
    if report:
        _write_report(kept, predictor.bundle, settings, report=report, show_scan=show_scan)
    if tally["unreadable"]:
        console.print(f"{tally['unreadable']} could not be read: see the column error.")
        raise typer.Exit(FAILED_STATUS)


def _find_files(paths: list[Path]) -> list[Path]:
    from tumorlens.errors import CasesError
    from tumorlens.images.readers import find_scans

    files = find_scans(paths)
    if not files:
        named = ", ".join(map(str, paths))
        raise CasesError(named, "holds no images", "Name image files, or a folder with some.")
    return files


def _counted(
    predictions: Iterable[Any], total: int, tally: Counter[str], report: Any, heatmaps: Path | None
) -> Iterator[Any]:
    """Pass predictions on while they are counted and their heatmaps written."""
    from tumorlens.predictions.heatmaps import write_overlay

    for done, prediction in enumerate(predictions, start=1):
        tally[prediction.decision or "unreadable"] += 1
        if heatmaps is not None and prediction.heatmap is not None:
            # Numbered: files of one name in two folders must not overwrite one another.
            write_overlay(
                prediction.heatmap, heatmaps / f"{done:05d}_{Path(prediction.path).stem}.png"
            )
        report(done, total)
        yield prediction


def _keeping(predictions: Iterable[Any], kept: list[Any]) -> Iterator[Any]:
    for prediction in predictions:
        kept.append(prediction)
        yield prediction


def _write_report(
    predictions: list[Any], bundle: Any, settings: Any, *, report: Path, show_scan: bool
) -> None:
    from datetime import UTC, datetime

    from tumorlens.images.readers import read_scan
    from tumorlens.reports.scan.content import Examined
    from tumorlens.reports.scan.report import write_scan_report

    limits = settings.read_limits
    examined = [
        Examined(
            found, read_scan(found.path, limits=limits) if show_scan and not found.error else None
        )
        for found in predictions
    ]
    for path in write_scan_report(examined, bundle, out=report, made=datetime.now(UTC)):
        typer.echo(path)


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
    for extra, name in (("train", "keras"), ("dashboard", "streamlit"), ("service", "fastapi")):
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
