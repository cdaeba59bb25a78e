"""HTML pages that stand alone: no network, images inside.

No scripts either, but for the page of an exploration, whose charts are moved and read by mouse:
it carries the charts' library whole, and is handed it by whoever asks for that page.
"""

import base64
import math
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray


def render_page(template: str, **context: Any) -> str:
    """Fill a template of this package; missing values are errors, those of a page are escaped."""
    environment = Environment(
        loader=PackageLoader("tumorlens.reports"),
        undefined=StrictUndefined,
        autoescape=template.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": share, "picture": picture, "png": png}
    return environment.get_template(template).render(**context)


def share(value: float) -> str:
    """Write a share as a percentage; "-" where there is none."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "-"


def picture(pixels: NDArray[np.uint8]) -> Markup:
    """Write pixels, [h, w] gray or [h, w, 3] BGR, as a data URL."""
    return png(cv2.imencode(".png", pixels)[1].tobytes())


def png(data: bytes) -> Markup:
    """Write a PNG file as a data URL."""
    return Markup("data:image/png;base64," + base64.b64encode(data).decode())
