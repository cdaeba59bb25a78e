"""A bundle as an MLflow model: it answers by `Predictor`, never by the bare network.

MLflow finds this module by its name, which stands in the file MLmodel; no code and no pickle is
stored. The input is a table with the column `image`: the bytes of a file, as DICOM, NIfTI, PNG or
JPEG. The output is a table with the columns of predictions.csv and a row for each image.
"""

from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tumorlens import __version__
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import COLUMNS, table_row
from tumorlens.predictions.predictor import Predictor, load_predictor

if TYPE_CHECKING:
    import pandas as pd

IMAGE = "image"  # the column of bytes
NAME = "bundle"  # of the model inside a run
_MODULE = __name__


class BundleModel:
    """What MLflow calls."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None) -> Any:
        """Answer images, a row each; one that cannot be read has its reason in `error`."""
        import pandas as pd

        names = [f"{IMAGE} {number}" for number in range(len(model_input))]
        prepared = [
            self._predictor.prepare_bytes(bytes(data), source=name)
            for name, data in zip(names, model_input[IMAGE], strict=True)
        ]
        rows = [table_row(found) for found in self._predictor.predict_prepared(prepared)]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _load_pyfunc(data_path: str) -> BundleModel:
    """Return what MLflow calls; it looks for a function of this name."""
    return BundleModel(load_predictor(data_path))


def save_model(bundle: Bundle, folder: Path) -> None:
    """Write a bundle as an MLflow model into a folder."""
    import mlflow.pyfunc

    with TemporaryDirectory() as empty:  # MLflow takes no other
        mlflow.pyfunc.save_model(f"{empty}/model", **_described(bundle))
        copytree(f"{empty}/model", folder, dirs_exist_ok=True)


def log_model(bundle: Bundle) -> None:
    """Log a bundle as a model of the run that MLflow has open."""
    import mlflow.pyfunc

    mlflow.pyfunc.log_model(name=NAME, **_described(bundle))


def _described(bundle: Bundle) -> dict[str, Any]:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    answer = Schema([ColSpec(DataType.string, name) for name in COLUMNS])
    return {
        "loader_module": _MODULE,
        "data_path": str(bundle.folder),
        "signature": ModelSignature(Schema([ColSpec(DataType.binary, IMAGE)]), answer),
        "pip_requirements": [f"tumorlens=={__version__}"],
        "metadata": {"bundle": bundle.version, "sha256": bundle.sha256},
    }
