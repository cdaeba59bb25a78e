"""A study as the bench writes one, stored small, and pages of the dashboard that show it."""

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from streamlit.testing.v1 import AppTest

from tumorlens.json_records import Record

STUDY = Path(__file__).with_name("study")
PICTURE = cv2.imencode(".png", np.full((24, 24), 90, np.uint8))[1].tobytes()


def copy_study(out: Path) -> Path:
    """Copy the records, and put a gray square where they name an image."""
    shutil.copytree(STUDY, out)
    for picture in _named_pictures():
        (out / picture).parent.mkdir(exist_ok=True)
        (out / picture).write_bytes(PICTURE)
    return out


@cache
def _named_pictures() -> frozenset[Path]:
    """Return the images that the records name, each below the study."""
    return frozenset(
        record.parent.relative_to(STUDY) / name
        for record in STUDY.rglob("*.json")
        for name in pictures_in(json.loads(record.read_text(encoding="utf-8")))
    )


def pictures_in(value: Any) -> Iterator[str]:
    """List the pictures that a record names beside itself."""
    if isinstance(value, dict):
        named = (value.get(key) for key in ("picture", "mean", "variability", "montage"))
        yield from (name for name in named if isinstance(name, str))
    for held in value.values() if isinstance(value, dict) else value:
        if isinstance(held, dict | list):
            yield from pictures_in(held)


def stored(kind: str) -> dict[str, Any]:
    """The JSON of a record: explore, audit or evaluation."""
    return json.loads((STUDY / kind / f"{kind}.json").read_text(encoding="utf-8"))


def record(kind: str, **changed: Any) -> Record:
    """A record as pages read it, with some of its keys changed."""
    return Record(stored(kind) | changed)


def page(name: str) -> AppTest:
    """A page without the menu, not yet run."""
    return AppTest.from_string(
        f"from tumorlens.services.dashboard.layout import draw_alone\ndraw_alone({name!r})",
        default_timeout=60,
    )


# Tables whose keys are names of what happens to be there: one entry stands for all.
NAMED = {"datasets", "labels", "parts", "fields", "classes", "distributions", "pictures",
         "subgroups", "decisions"}  # fmt: skip
COUNTS = {"by_split", "by_dataset", "by_label", "by_truth", "balance"}  # names all the way down


def lacking(expected: Any, found: Any, at: str = "") -> list[str]:
    """List what `expected` has and `found` lacks, by the place in the tree; values do not count."""
    if isinstance(expected, list) and expected and isinstance(found, list) and found:
        return lacking(expected[0], found[0], f"{at}[]")
    if not isinstance(expected, dict) or at.rsplit(".", 1)[-1] in COUNTS:
        return []
    if not isinstance(found, dict):
        return [at] if found is not None else []
    if at.rsplit(".", 1)[-1] in NAMED:
        pairs = zip(expected.values(), found.values(), strict=False)
        return [place for one, other in [*pairs][:1] for place in lacking(one, other, f"{at}.*")]
    return [f"{at}.{key}" for key in expected if key not in found] + [
        place
        for key in expected
        if key in found
        for place in lacking(expected[key], found[key], f"{at}.{key}")
    ]
