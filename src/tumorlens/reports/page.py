"""HTML pages that stand alone: no network, images inside.

No scripts either, but for the page of an exploration, whose charts are moved and read by mouse:
it carries the charts' library whole, and is handed it by whoever asks for that page.
"""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray


def render_page(template: str, **context: Any) -> str:
    """Fill a template of this package; every value is escaped, missing ones are errors."""
    environment = Environment(
        loader=PackageLoader("tumorlens.reports"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "figure_at": figure_at,
        "share": share,
        "picture": picture,
        "png": png,
    }
    return environment.get_template(template).render(**context)


def figure(found: Mapping[str, Any], name: str, n: str = "n") -> str:
    """Write a figure as people should see it, with interval and n.

    >>> figure({"auc": 0.91, "auc_low": 0.86, "auc_high": 0.95, "n": 143}, "auc")
    '0.910 (0.860-0.950, n=143)'
    """
    value, low, high = found[name], found.get(f"{name}_low"), found.get(f"{name}_high")
    if value is None:
        return "not measurable here"
    count = f"n={found[n]}"
    if low is None or high is None:
        return f"{value:.3f} ({count})"
    return f"{value:.3f} ({low:.3f}-{high:.3f}, {count})"


def figure_at(found: Mapping[str, Any], name: str, at: int) -> str:
    """Write one figure of a row of them, such as the overlaps at several shares.

    >>> figure_at({"iou": [0.2], "iou_low": [0.1], "iou_high": [0.4], "n": 9}, "iou", 0)
    '0.200 (0.100-0.400, n=9)'
    """
    one = {f"{name}{end}": found[f"{name}{end}"][at] for end in ("", "_low", "_high")}
    return figure({**one, "n": found["n"]}, name)


def share(value: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * value:.1f} %"


def picture(pixels: NDArray[np.uint8]) -> Markup:
    """Write pixels, [h, w] gray or [h, w, 3] BGR, as a data URL."""
    return png(cv2.imencode(".png", pixels)[1].tobytes())


def png(data: bytes) -> Markup:
    """Write a PNG file as a data URL."""
    return Markup("data:image/png;base64," + base64.b64encode(data).decode())
