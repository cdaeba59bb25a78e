"""Colors that are told apart without color vision (Okabe and Ito, 2008), each with one meaning."""

from collections.abc import Mapping
from typing import Literal

BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY, GREY = "#cc79a7", "#e69f00", "#56b4e9", "#7f8c99"

DECISIONS: Mapping[str, str] = {
    "tumor": VERMILION,
    "uncertain": ORANGE,
    "no tumor": BLUE,
    "out of scope": PURPLE,
}
# Names of Streamlit's own palette, which the theme maps to the colors above.
Badge = Literal["red", "orange", "blue", "violet", "gray"]
BADGES: Mapping[str, Badge] = {
    "tumor": "red",
    "uncertain": "orange",
    "no tumor": "blue",
    "out of scope": "violet",
    "": "gray",
}
ICONS: Mapping[str, str] = {
    "tumor": ":material/adjust:",
    "uncertain": ":material/help:",
    "no tumor": ":material/check_circle:",
    "out of scope": ":material/block:",
    "": ":material/error:",
}
LABELS: Mapping[str, str] = {
    "ct_healthy": SKY,
    "ct_tumor": VERMILION,
    "mri_healthy": BLUE,
    "mri_glioma": ORANGE,
    "mri_meningioma": GREEN,
    "mri_pituitary": PURPLE,
    "mri_tumor": GREY,
}
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY)


def faint(color: str, alpha: float = 0.2) -> str:
    """Write a color as Plotly takes one that lets the page through.

    >>> faint("#0072b2")
    'rgba(0, 114, 178, 0.2)'
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"
