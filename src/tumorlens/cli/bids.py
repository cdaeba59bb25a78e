"""`tumorlens bids`: a BIDS App."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import FAILED_STATUS, Bundle, Overwrite, Workers
from tumorlens.cli.progress import console, counting, print_notice
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from tumorlens.reports.bids import BidsResult


def bids(
    bids_dir: Annotated[Path, typer.Argument(help="A BIDS data set.")],
    out: Annotated[Path, typer.Argument(help="Folder for the derivative data set.")],
    level: Annotated[str, typer.Argument(help="Level of the analysis: participant.")],
    participant_label: Annotated[
        list[str] | None, typer.Option(help="Only these: 01, or several: 01,02; repeatable.")
    ] = None,
    bundle: Bundle = "",
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Answer for the images of a BIDS data set; a derivative data set comes out.

    Exit status 3 if some image could not be read. Example:
    `tumorlens bids study/ study/derivatives/tumorlens participant --participant-label 01`
    """
    from tumorlens.errors import SettingsError
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.reports.bids import answer_dataset, find_images

    if level != "participant":
        fact = "is no level that this app has"
        raise SettingsError(level, fact, "Name participant: nothing is joined over a group.")
    labels = [name for given in participant_label or [] for name in given.replace(",", " ").split()]
    settings = load_settings(workers=workers)
    images = find_images(bids_dir, labels)
    Outputs(*(image.path for image in images), bundle, overwrite=overwrite).claim_folder(out)
    predictor = load_predictor(bundle, settings)
    with counting("predicting") as progress:
        result = answer_dataset(bids_dir, out, images, predictor=predictor,
                                limits=settings.read_limits, progress=progress)  # fmt: skip
    _print(result, out)
    if result.failed:
        raise typer.Exit(FAILED_STATUS)


def _print(result: "BidsResult", out: Path) -> None:
    from tumorlens.losses import MAX_REASONS, counted
    from tumorlens.predictions.series_answer import describe_series

    for source, answer in list(result.answers.items())[:MAX_REASONS]:
        console.print(f"{source}: {describe_series(answer)}", markup=False)
    console.print(f"{counted(len(result.answers), 'image')} answered for in {out}", markup=False)
    for source, reason in list(result.failed.items())[:MAX_REASONS]:
        console.print(f"no answer: {source}: {reason}", markup=False)
    print_notice()
