"""What a run keeps in its folder, so that it goes on with nothing else: config and history."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.files import read_file, read_table, write_table
from tumorlens.json_records import JsonObject, write_json
from tumorlens.labels import ATOMS
from tumorlens.study.recipes import Pretraining, Recipe, comparable_config, current_fields

CONFIG_FILE, HISTORY_FILE = "config.json", "history.csv"
STATE_FILE, SPLIT_FILE = "state.npz", "split.csv"
NO_RUN = "Name a folder of `tumorlens train` or `tumorlens pretrain` that has ended an epoch."
Row = Mapping[str, float]  # of the history: what one epoch showed


@dataclass(frozen=True)
class RunConfig:
    """What a run was started with."""

    recipe: Recipe
    split: str = ""  # its fingerprint
    atoms: Sequence[str] = ATOMS
    leaks: Mapping[str, float] = field(default_factory=dict)  # n and share of the test part
    cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by part and class
    weights_sha256: str = ""  # of a file of weights
    start: Mapping[str, str] = field(default_factory=dict)  # name and sha256 of another run
    steps: int = 0  # of an epoch; 0: as many as show each distinct image about once
    teacher: Mapping[str, str] = field(default_factory=dict)  # name, graph and split of a bundle
    pretraining: Pretraining | None = None  # of a run whose head has not learned

    def to_json(self) -> JsonObject:
        """Return what stands in config.json: without what the run did not have."""
        fields = {**vars(self), "recipe": self.recipe.to_json(), "atoms": list(self.atoms)}
        fields["pretraining"] = self.pretraining and self.pretraining.to_json()
        return {name: value for name, value in fields.items() if value}


def read_config(run: Path) -> tuple[Recipe, int, bool]:
    """Return a run's recipe, how many atoms it has, and whether it was pretraining.

    Raises TrainingError where the folder holds no run.
    """
    found = read_json(run / CONFIG_FILE)
    try:
        recipe = Recipe(**current_fields(found["recipe"]))
        return recipe, len(found["atoms"]), "pretraining" in found
    except (TypeError, KeyError, AttributeError) as e:
        raise TrainingError(run / CONFIG_FILE, "is not that of a run", NO_RUN) from e


def open_or_resume(
    file: Path, config: JsonObject, *, resume: bool = True, has_started: bool = True
) -> None:
    """Write the config of a run, or agree that it stands there; its values are plain data.

    A run that has not `has_started`, as where a download failed, leaves nothing to lose. Raises
    TrainingError where another run stands there, or this one and `resume` is False.
    """
    if file.exists() and (resume or has_started):
        if not resume:
            fix = "Go on with --resume, or name another folder."
            raise TrainingError(file.parent, "holds a run already", fix)
        if comparable_config(read_json(file)) != comparable_config(config):
            fix = "Repeat the command that started it, or name another folder."
            raise TrainingError(
                file.parent,
                "holds a run of another recipe, data set or split, start or teacher",
                fix,
            )
    write_json(config, file)


def read_json(file: Path) -> Any:
    """Read plain data; raises TrainingError where the file is damaged."""
    try:
        return json.loads(read_file(file))
    except (OSError, ValueError) as e:
        fix = "Delete it to have it made again, or name another folder."
        raise TrainingError(file, f"is damaged ({e})", fix) from e


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one row per epoch, whole or not at all; what could not be measured stays empty."""
    rows = (
        {key: f"{value:.6g}" if math.isfinite(value) else "" for key, value in row.items()}
        for row in history
    )
    write_table(path, list(history[0]), rows)


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote; no file is no epoch."""
    if not path.exists():
        return []
    return [{key: float(value or "nan") for key, value in row.items()} for row in read_table(path)]
