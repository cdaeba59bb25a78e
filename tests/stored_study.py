"""A study as the bench writes one, stored small, and pages of the dashboard that show it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from streamlit.testing.v1 import AppTest

STUDY = Path(__file__).with_name("golden") / "study"
PICTURE = cv2.imencode(".png", np.full((24, 24), 90, np.uint8))[1].tobytes()


def copy_study(out: Path) -> Path:
    """Copy the records, and put a grey square where they name a picture."""
    shutil.copytree(STUDY, out)
    for record in out.rglob("*.json"):
        for name in set(pictures_in(json.loads(record.read_text(encoding="utf-8")))):
            path = record.parent / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(PICTURE)
    return out


def pictures_in(value: Any) -> Iterator[str]:
    """List the pictures that a record names beside itself."""
    if isinstance(value, dict):
        named = (value.get(key) for key in ("picture", "mean", "variability", "montage"))
        yield from (name for name in named if isinstance(name, str))
    for held in value.values() if isinstance(value, dict) else value:
        if isinstance(held, dict | list):
            yield from pictures_in(held)


def stored(kind: str) -> dict[str, Any]:
    """Give a record: explore, audit or evaluation."""
    return json.loads((STUDY / kind / f"{kind}.json").read_text(encoding="utf-8"))


def page(name: str) -> AppTest:
    """Give a page in its frame, not yet run."""
    return AppTest.from_string(
        f"from tumorlens.services.dashboard.frame import show_alone\nshow_alone({name!r})",
        default_timeout=60,
    )


def lacking(expected: Any, found: Any, at: str = "") -> list[str]:
    """List what `expected` has and `found` lacks, by the place in the tree; values do not count.

    Where every key of a table is data (labels, names of pictures), one entry stands for all.
    """
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [at]
        missing = [f"{at}.{key}" for key in expected if key not in found]
        return missing + [
            place
            for key, value in expected.items()
            if key in found
            for place in lacking(value, found[key], f"{at}.{key}")
        ]
    if isinstance(expected, list) and expected and isinstance(expected[0], dict):
        if not isinstance(found, list):
            return [at]
        return lacking(expected[0], found[0], f"{at}[]") if found else []
    return []
