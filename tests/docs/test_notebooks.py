"""The notebooks run on phantoms from the first cell to the last, and both files of each agree."""

import os
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient
from workspace import (
    DATA,
    OUT,
    WEIGHTS,
    flat,
    open_workplace,
    pictures,
    recipe_for,
    table,
)

from tumorlens.errors import CasesError

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
SECONDS = 300  # for one cell, on a busy machine
TESTS = FOLDER.parent / "tests"
CHEAP = """
import pathlib, pytest
from support.cheap import make_cheap, train_each_once
from tumorlens.models import bundle
patch = pytest.MonkeyPatch()
make_cheap(patch)
patch.setattr(bundle, "SHIPPED_DEFAULT", "tumorlens-tiny")
train_each_once(patch, pathlib.Path("runs"), resumed_too=True)
"""  # of modules, which stay in the process when names go


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[tuple[KernelManager, object]]:
    """One process for all notebooks: TensorFlow is loaded once."""
    root = tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch:
        for name in (DATA, WEIGHTS):
            patch.delenv(name, raising=False)
        patch.setenv(OUT, str(root / "study"))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        # A notebook finds workspace.py beside it, but works elsewhere here.
        for folder in (TESTS, FOLDER):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(root))
    try:
        client.execute_interactive(CHEAP, timeout=SECONDS)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def executed(name: str, kernel) -> nbformat.NotebookNode:
    """Run a notebook among empty names, whatever ran before."""
    manager, client = kernel
    client.execute_interactive("%reset -f", timeout=SECONDS)
    notebook = jupytext.read(FOLDER / f"{name}.py")
    runner = NotebookClient(notebook, km=manager, timeout=SECONDS)
    runner.kc = client
    with runner.setup_kernel(cleanup_kc=False):
        for index, cell in enumerate(notebook.cells):
            runner.execute_cell(cell, index)
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    """Everything that cells printed or showed, as text."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("text", ""))
            found += [str(value) for value in output.get("data", {}).values()]
    return "\n".join(found)


# What only a run to the end can have shown.
EXPECTED = {
    "1-data-and-audit": ["mri_glioma", "MRI detection", "as stored", "test"],
    "2-exploration": ["data:image/png;base64,", "head_only", "explore.html"],
    "3-train-from-scratch": ["epoch   2", "val loss", "sensitivity"],
    "4-transfer-learning": ["val loss"],
    "5-evaluation-and-threshold": ["AUC", "n=", "<svg", "specificity"],
    "6-explain-one-prediction": ["data:image/png;base64,", "mri pituitary", "recorded label: mri_"],
    "7-hypotheses": ["# Hypotheses", "other-phantoms MRI", "undecided"],
}


def test_all_seven_notebooks_are_there():
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_on_phantoms_and_shows_its_figures(name, kernel):
    text = said(executed(name, kernel))
    for part in EXPECTED[name]:
        assert part in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_two_files_of_a_notebook_are_one(name):
    text, stored = (jupytext.read(FOLDER / f"{name}{end}") for end in (".py", ".ipynb"))
    assert [(c.cell_type, c.source) for c in stored.cells] == [
        (c.cell_type, c.source) for c in text.cells
    ]
    assert not any(cell.get("outputs") for cell in stored.cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_says_what_it_is_for_and_holds_no_logic(name):
    notebook = jupytext.read(FOLDER / f"{name}.py")
    assert "Research use only" in notebook.cells[0].source
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for word in ("def ", "class ", "lambda", "while ", "try:", " if ", "import numpy"):
        assert word not in code


def test_real_sets_are_taken_where_they_are_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    named = {DATA: f"{tmp_path / 'a'}:{tmp_path / 'b'}", OUT: str(tmp_path / "out")}
    place = open_workplace(named)
    assert place.sets == (tmp_path / "a", tmp_path / "b")
    assert not place.is_phantom
    assert recipe_for(place, "quick").side > 100
    assert recipe_for(place, "mobilenet-frozen").weights == "imagenet"


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(CasesError, match="gone"):
        open_workplace({DATA: str(tmp_path / "gone"), OUT: str(tmp_path)})


def test_tables_escape_what_they_show():
    shown = table([{"a_b": "<i>", "n": 1 / 3, "none": None}], "a_b", "n", "none").html
    assert "<th>a b</th>" in shown
    assert "<td>&lt;i&gt;</td><td>0.333</td><td></td>" in shown


def test_nested_figures_become_rows():
    rows = flat({"x": {"y": {"n": 1, "deeper": {}}}}, "one", "two")
    assert rows == [{"one": "x", "two": "y", "n": 1}]


def test_pictures_are_shown_in_the_page_itself(tmp_path):
    (tmp_path / "p.png").write_bytes(b"png")
    assert 'alt="p"' in pictures([tmp_path / "p.png"]).html
    assert "base64,cG5n" in pictures([tmp_path / "p.png"]).html
