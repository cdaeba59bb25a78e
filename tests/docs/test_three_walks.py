"""The walk through the code names modules that are there, and the layers that are checked."""

import importlib.util
import re
import tomllib

import pytest
from support.docs_shell import ROOT

PAGE = (ROOT / "docs" / "concepts" / "three-walks.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "pictures" / "walk.svg").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:cli|images|inputs|models|predictions|reports|services|study)"
                              r"(?:\.[a-z_]+)+)`", PAGE)) - {"predictions.csv"})  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_module_that_the_page_names_is_there(name):
    assert (ROOT / "src" / "tumorlens" / name.replace(".", "/")).with_suffix(".py").is_file() or (
        ROOT / "src" / "tumorlens" / name.replace(".", "/") / "__init__.py"
    ).is_file()


def test_the_picture_shows_modules_of_the_page():
    spec = importlib.util.spec_from_file_location("make_walk", ROOT / "docs" / "make_walk.py")
    drawer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawer)
    rooms = {module for walk in drawer.WALKS.values() for _, module in walk}
    assert rooms <= set(NAMED)
    assert drawer.draw() == PICTURE


def test_the_layers_on_the_page_are_those_that_are_checked():
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = checked["tool"]["importlinter"]["contracts"][0]["layers"][1:]
    shown = PAGE.split("```text\n")[1].split("```")[0].splitlines()
    assert shown == [layer.replace("(", "").replace(")", "") for layer in layers]
