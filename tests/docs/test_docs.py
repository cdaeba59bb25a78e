"""The docs are true: their commands run on phantoms, their tables are current, they build."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cheap import SMALL, draw_each_set_once, make_cheap, train_each_once
from support.docs_shell import ONLY_PARSED, ROOT, Shell, blocks, pages, parse
from typer.main import get_command

from tumorlens.cli import app
from tumorlens.study.experiments import hypothesis_runs, runner
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import PRETRAININGS, RECIPES

PER_CLASS = 12  # instead of more
TELLS_OF_PLOTS = "read-an-evaluation.md"  # on other pages they are not drawn
NEEDS_SCANS = "README.md"  # speaks of a folder `scans/` that the reader has


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """What was trained or drawn for any page."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def cheap(monkeypatch, tmp_path, runs) -> None:
    """Draw fewer phantoms and train smaller networks than the docs say, by the same commands."""
    monkeypatch.setenv("TUMORLENS_STORE", str(tmp_path / "store.db"))  # not the user's own
    for name in ("quick", "default", "adapted"):
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], **SMALL))
    monkeypatch.setenv("TUMORLENS_BUNDLE", "tumorlens-tiny")  # the fastest of those that ship
    make_cheap(monkeypatch)
    train_each_once(monkeypatch, runs)
    draw_each_set_once(monkeypatch, runs, most=PER_CLASS)
    monkeypatch.setattr(hypothesis_runs, "small_recipe", lambda: RECIPES["quick"])
    monkeypatch.setattr(runner, "in_own_process", runner.in_this_process)  # where all this is known
    whole = PRETRAININGS["vicreg"]
    small = replace(whole, recipe=replace(whole.recipe, **SMALL), projector=(16, 16))
    monkeypatch.setitem(PRETRAININGS, "vicreg", small)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_commands_of_a_page_run_as_they_stand(page, tmp_path, cheap, request):
    if page.name != TELLS_OF_PLOTS:
        request.getfixturevalue("without_plots")
    shell = Shell(tmp_path / "sandbox")
    shell.folder.mkdir()
    if page.name == NEEDS_SCANS:
        write_phantoms(shell.folder / "scans", per_class=PER_CLASS, seed=1, side=128)
    for block in blocks(page):
        said = shell.execute(block)
        assert "Traceback" not in said
    assert shell.run or shell.parsed


def test_there_are_pages_with_commands():
    assert len(pages()) > 8
    assert sum(len(blocks(page)) for page in pages()) > 20


def test_a_command_that_does_not_exist_fails(tmp_path):
    shell = Shell(tmp_path / "sandbox")
    shell.folder.mkdir()
    with pytest.raises(AssertionError, match="zebra"):
        shell.execute("tumorlens zebra --out x\n")


def test_an_option_that_does_not_exist_fails_also_where_a_command_is_only_parsed():
    assert "exist" in parse(["tune", "scans", "--out", "x"])
    with pytest.raises(Exception, match="No such option"):
        parse(["tune", "scans", "--out", "x", "--zebra"])


def test_what_comes_of_a_command_that_is_only_parsed_is_only_parsed(tmp_path):
    shell = Shell(tmp_path / "sandbox")
    shell.folder.mkdir()
    shell.execute("x=$(tumorlens data fetch figshare --to sets/figshare)\n"
                  "tumorlens split sets/figshare --out split.csv\n")  # fmt: skip
    assert [args[0] for args in shell.parsed] == ["data", "split"]
    assert not shell.run


def test_every_reason_is_given():
    assert all(reason for reason in ONLY_PARSED.values())


def names(command: Any, before: str = "") -> list[str]:
    if not hasattr(command, "commands"):
        return [before]
    return [name for key, sub in command.commands.items()
            for name in names(sub, f"{before} {key}".strip()) if not sub.hidden]  # fmt: skip


@pytest.mark.parametrize("name", names(get_command(app)))
def test_every_command_stands_in_the_reference(name):
    text = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    assert re.search(rf"^## tumorlens {name}$", text, re.M)


def test_the_tables_of_the_reference_are_current(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs/make_tables.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(ROOT / "docs/reference", tmp_path / "reference")
    monkeypatch.setattr(module, "REFERENCE", tmp_path / "reference")
    module.main()
    assert capsys.readouterr().out == "", "run python docs/make_tables.py"


def test_the_docs_build_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "command-line" / "index.html").exists()


def test_every_page_says_research_use_only():
    for page in (ROOT / "docs").rglob("*.md"):
        assert "Research use only" in page.read_text(encoding="utf-8"), page


def test_pictures_that_pages_show_are_there():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).is_file(), f"{page}: {name}"


def test_nothing_of_this_machine_is_named_in_the_docs():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"/(work|home|root)/", page.read_text(encoding="utf-8")), page
