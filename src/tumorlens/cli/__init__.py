"""The command line: parse, one call, print. Nothing heavy is imported before it is needed."""

import os
import sys

import typer

from tumorlens import __version__
from tumorlens.cli import (
    audit,
    bench,
    dashboard,
    data,
    demo,
    explore,
    hypotheses,
    pretrain,
    serve,
    tabular,
    tune,
    use,
)
from tumorlens.errors import MissingExtraError, TumorlensError

BENCH_LIBRARIES = (
    "keras",
    "tensorflow",
    "tf2onnx",
    "onnx",
    "sklearn",
    "scipy",
    "numba",
    "matplotlib",
    "pooch",
    "requests",
    "h5py",
    "plotly",
    "optuna",
)
SERVICE_LIBRARIES = (
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "prometheus_client",
    "python_multipart",
)
EXTRAS: dict[str, str] = {
    **dict.fromkeys(BENCH_LIBRARIES, "train"),
    **dict.fromkeys(SERVICE_LIBRARIES, "service"),
}

app = typer.Typer(
    name="tumorlens",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Brain tumors on CT and MRI slices: probability, type, heatmap, and honest figures. "
    "**Research use only.**",
)
for module in (
    demo, data, audit, explore, hypotheses, tabular, bench, pretrain, tune, use, serve, dashboard,
):  # fmt: skip
    module.register(app)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        typer.echo(f"tumorlens {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; errors a user can mend become one line and exit status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except TumorlensError as error:
        _fail(error)
    except OSError as error:
        name = error.filename or "file system"
        fact = f"cannot be read or written ({error.strerror or error})"
        _fail(TumorlensError(name, fact, "Check the path, your rights and the space left."))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
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
