"""What is written can be read: text of both themes and of static pages, 4.5 to 1 (WCAG 2 AA)."""

import re
import tomllib
from pathlib import Path

import pytest
from support.contrast import contrast

from tumorlens.services import dashboard

ROOT = Path(dashboard.__file__).parents[2]
THEMES = tomllib.loads((ROOT / "services/dashboard/config.toml").read_text("utf-8"))["theme"]
PAGE = (ROOT / "reports/templates/page.html").read_text("utf-8")
MIN_CONTRAST = 4.5
HUES = ("red", "orange", "blue", "green", "violet", "gray")


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_of_the_dashboard_stands_out_from_what_it_is_written_on(name):
    theme = THEMES[name]
    grounds = [theme["backgroundColor"], theme["secondaryBackgroundColor"]]
    pairs = [(theme[text], ground) for text in ("textColor", "linkColor") for ground in grounds]
    pairs += [(theme[f"{hue}TextColor"], theme[f"{hue}BackgroundColor"]) for hue in HUES]
    pairs += [(theme[f"{hue}TextColor"], theme["backgroundColor"]) for hue in HUES]
    assert [pair for pair in pairs if contrast(*pair) < MIN_CONTRAST] == []


@pytest.mark.parametrize(("name", "number"), [("light", 0), ("dark", 1)])
def test_text_of_a_static_page_stands_out_from_what_it_is_written_on(name, number):
    colors = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", PAGE.split(":root {")[number + 1]))
    pairs = [(colors[text], colors["page"]) for text in ("ink", "quiet", "warn", "link")]
    pairs += [(colors[text], colors[on]) for on in ("notice", "well") for text in ("ink", "quiet")]
    assert [pair for pair in pairs if contrast(*pair) < MIN_CONTRAST] == []
