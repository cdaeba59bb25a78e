"""HTML pages that stand alone: no network, images inside.

No scripts either, but for the page of an exploration, whose charts are moved and read by mouse:
it carries the charts' library whole, and is handed it by whoever asks for that page.
"""

import base64
import math
import re
from functools import partial
from itertools import count
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup
from numpy.typing import NDArray

from tumorlens.language import current_language, translate, translate_template
from tumorlens.records import Estimate
from tumorlens.reports.charts.texts import term, translator

QUALITY = 88  # of images that are made smaller, of 100
MIN_PARTS = 5  # of a page that gets a list of them
_PART = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)


class _Translated(Extension):
    """Puts the texts of a page's template into the language that is used."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return translate_template(source) if name and name.endswith(".html") else source


def render_page(template: str, **context: Any) -> str:
    """Fill a template of this package; missing values are errors, those of a page are escaped.

    Pages, not cards, are in the language that `tumorlens.language` uses here.
    """
    environment = Environment(
        loader=PackageLoader("tumorlens.reports"),
        undefined=StrictUndefined,
        autoescape=template.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Translated],
        finalize=_in_words,
    )
    named = partial(term, t=translator(current_language()))
    environment.globals |= {"_": translate, "language": current_language(), "term": named}
    environment.filters |= {"share": share, "image": image, "png": png, "webp": webp}
    environment.filters |= {"translate": translate, "p_value": p_value}
    text = environment.get_template(template).render(**context)
    return with_contents(text) if template.endswith(".html") else text


def _in_words(value: Any) -> Any:
    """Put a figure that could not be measured into the language of the page."""
    return translate(str(value)) if isinstance(value, Estimate) and value.value is None else value


def with_contents(page: str) -> str:
    """Put a list of its parts below the title of a long page, each a link."""
    titles = [found[1].strip() for found in _PART.finditer(page)]
    if len(titles) < MIN_PARTS:
        return page
    numbers = count(1)
    page = _PART.sub(lambda found: f'<h2 id="part-{next(numbers)}">{found[1]}</h2>', page)
    rows = "".join(f'<li><a href="#part-{n}">{text}</a></li>' for n, text in enumerate(titles, 1))
    contents = f'<nav aria-label="{translate("Contents")}"><ul class="contents">{rows}</ul></nav>'
    return page.replace("</h1>", f"</h1>\n{contents}", 1)


def p_value(value: float | None, unknown: str = "-") -> str:
    """Write a p; `unknown` where there is none."""
    if value is None:
        return unknown
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def share(value: float) -> str:
    """Write a share as a percentage; "-" where there is none."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "-"


def image(pixels: NDArray[np.uint8]) -> Markup:
    """Write pixels, [h, w] gray or [h, w, 3] BGR, as a data URL."""
    return png(cv2.imencode(".png", pixels)[1].tobytes())


def webp(image: bytes | NDArray[np.uint8]) -> Markup:
    """Write a PNG file or pixels as a data URL of WebP, a fifth as long; the eye sees no loss."""
    if isinstance(image, bytes):
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        return png(image) if pixels is None else webp(np.asarray(pixels, np.uint8))
    small = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
    return Markup("data:image/webp;base64," + base64.b64encode(small).decode())


def png(data: bytes) -> Markup:
    """Write a PNG file as a data URL."""
    return Markup("data:image/png;base64," + base64.b64encode(data).decode())
