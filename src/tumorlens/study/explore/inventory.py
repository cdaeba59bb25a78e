"""How many files of which size and shape a set has, by class and part: headers alone are read."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tumorlens.images.raster import FORMATS
from tumorlens.records import Case

NO_SPLIT = "none"


def class_balance(cases: Sequence[Case]) -> dict[str, dict[str, dict[str, int]]]:
    """Count scans and groups: [split][label] -> n, n_groups; a case without a group is one."""
    names: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        place = (case.split or NO_SPLIT, case.label)
        names.setdefault(place, []).append(case.group or case.key)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for (split, label), groups in sorted(names.items()):
        counts = {"n": len(groups), "n_groups": len(set(groups))}
        found.setdefault(split, {})[label] = counts
    return found


def picture_sizes(
    cases: Sequence[Case], *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """List the sizes met: points of label, width, height, aspect (width / height), format, n.

    Sizes are those that the header declares, before any turning upright. `unreadable` counts
    files without a header of a format that is read here.
    """
    points: Counter[tuple[str, int, int, str]] = Counter()
    unreadable = 0
    for done, case in enumerate(cases, start=1):
        header = _header(case.path)
        if header is None:
            unreadable += 1
        else:
            points[case.label, *header] += 1
        if progress and (done % 512 == 0 or done == len(cases)):
            progress(done, len(cases))
    rows = [
        {"label": label, "width": width, "height": height, "aspect": round(width / height, 4),
         "format": kind, "n": n}
        for (label, width, height, kind), n in sorted(points.items())
    ]  # fmt: skip
    return {"points": rows, "unreadable": unreadable}


def _header(path: Path) -> tuple[int, int, str] | None:
    # What Pillow's plugins raise on damaged headers; its cap on pixels speaks here too.
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (width, height, image.format or "") if width and height else None
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError,
            Image.DecompressionBombError):  # fmt: skip
        return None
