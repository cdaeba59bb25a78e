"""What a folder of several runs was started with, so that it goes on with nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.files import replacing


def claim(file: Path, plan: Mapping[str, Any], *, resume: bool = True) -> None:
    """Write a plan, or agree that it stands there; its values have to be plain data.

    Raises TrainingError where another plan stands there, or the same one and `resume` is False.
    """
    if file.exists():
        if not resume:
            fix = "Go on with --resume, or name another folder."
            raise TrainingError(file.parent, "holds runs already", fix)
        if read_json(file) != json.loads(json.dumps(plan)):
            fact = "holds runs of another recipe, data set, split or plan"
            fix = "Repeat the command that began it, or name another folder."
            raise TrainingError(file.parent, fact, fix)
        return
    write_json(file, plan)


def write_json(file: Path, content: Any) -> None:
    """Write plain data whole, or not at all."""
    with replacing(file) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(file: Path) -> Any:
    """Read plain data; raises TrainingError where the file is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        fix = "Delete it to have it made again, or name another folder."
        raise TrainingError(file, f"is damaged ({e})", fix) from e
