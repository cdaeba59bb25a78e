"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from io import TextIOWrapper
from typing import Annotated

import typer

from tumorlens import __version__
from tumorlens.cli import (
    audit,
    batch,
    bids,
    bundle,
    dashboard,
    data,
    dicom,
    evaluation,
    explore,
    series,
    serve,
    training,
    tune,
    use,
)
from tumorlens.errors import MissingExtraError, TumorlensError
from tumorlens.language import using_language

EXTRAS = {
    "train": (
        "keras tensorflow tf2onnx onnx sklearn scipy numba matplotlib pooch requests h5py plotly "
        "optuna"
    ),
    "service": "fastapi uvicorn sqlalchemy alembic prometheus_client python_multipart limits",
    "dicom": "pydicom highdicom pynetdicom dicomweb_client",
    "nifti": "nibabel",
    "scale": "ray pyarrow fsspec s3fs",
    "tracking": "mlflow tensorboardX huggingface_hub pandas",
    "wandb": "wandb",
}  # what to install -> the libraries that it brings

# What the help shows, panel by panel: use a bundle, look at data, make a bundle, serve it.
COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Use": {
        "demo": use.demo,
        "predict": use.predict,
        "batch": batch.batch_app,
        "bids": bids.bids,
        "dashboard": dashboard.dashboard,
        "doctor": use.doctor,
        "bundle": bundle.bundle_app,
    },
    "Data": {
        "data": data.data_app,
        "dicom": dicom.dicom_app,
        "audit": audit.audit,
        "split": audit.split,
        "explore": explore.explore,
        "features": explore.features,
        "tabular": explore.tabular,
        "hypotheses": explore.hypotheses,
    },
    "Bench": {
        "train": training.train,
        "train-series": series.train_series,
        "evaluate": evaluation.evaluate,
        "tune": tune.tune,
        "size-curve": tune.size_curve,
        "pretrain": training.pretrain,
        "recipes": training.recipes_app,
    },
    "Service": {"serve": serve.serve, "keys": serve.keys_app, "audit-trail": serve.trail_app},
}


class Language(StrEnum):
    """What pages and reports are written in; the rows of LANGUAGES."""

    EN = "en"
    ES = "es"


WELCOME = """\
Brain tumors on CT and MRI slices. Research use only.

  tumorlens demo                      everything once, on synthetic heads, in a few minutes
  tumorlens predict scans/            probability, type and doubt of each slice, as a table
  tumorlens dashboard                 the same on a screen, with the evidence marked

  tumorlens --help                    all commands, in four panels
"""

app = typer.Typer(
    name="tumorlens",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Brain tumors on CT and MRI slices: probability, type, heatmap, and honest figures. "
    "**Research use only.**",
)
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)


@app.callback(invoke_without_command=True)
def _welcome(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    language: Annotated[
        Language,
        typer.Option(envvar="TUMORLENS_LANGUAGE", help="Of pages and reports that are written."),
    ] = Language.EN,
) -> None:
    context.with_resource(using_language(language.value))
    if version:
        typer.echo(f"tumorlens {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(WELCOME, nl=False)


def main() -> None:
    """Run the command line; errors a user can mend become one line and exit status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files need not be text
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except TumorlensError as error:
        _fail(error)
    except OSError as error:
        name = error.filename or "file system"
        fact = f"cannot be read or written ({error.strerror or error})"
        _fail(TumorlensError(name, fact, "Check the path, your rights and the space left."))
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        extra = next((name for name, held in EXTRAS.items() if library in held.split()), None)
        if extra is None:
            raise
        fix = f'Install it: pip install "tumorlens[{extra}]".'
        _fail(MissingExtraError(error.name or "", "is not installed", fix))
    except KeyboardInterrupt:
        typer.echo("\nstopped", err=True)
        sys.exit(130)


def _fail(error: TumorlensError) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(2)
