"""Random commands on random places that are taken: what is read, and what is somebody's, stays.

OUTPUT_DRAWS=200 draws that many; the suite draws a few.
"""

import os
import random
import shutil
from pathlib import Path

import pytest
from support.command import Run, command_runner
from support.output_world import build_world, digests, draw, may_change

from tumorlens.models.bundle import Bundle

DRAWS = int(os.environ.get("OUTPUT_DRAWS", "24"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = tmp_path_factory.mktemp("original") / "world"
    build_world(world)
    return world


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return command_runner(monkeypatch, capsys)


@pytest.mark.parametrize("seed", range(DRAWS))
def test_no_command_changes_what_it_reads_or_what_is_somebodys(
    run: Run, original: Path, tiny_bundle: Bundle, tmp_path: Path, seed: int
):
    world = tmp_path / "world"
    shutil.copytree(original, world, symlinks=True, copy_function=copy)
    chosen = draw(world, tiny_bundle.folder, random.Random(seed))
    before, bundle = digests(world), digests(tiny_bundle.folder)
    ended = run(*chosen.words)
    after, allowed = digests(world), may_change(chosen, world)
    changed = [name for name, held in before.items() if after.get(name) != held]
    assert [name for name in changed if not allowed(name)] == [], (chosen, ended)
    assert digests(tiny_bundle.folder) == bundle
    assert ended.status in (0, 2, 3), ended
    assert not list(world.rglob("*.partial"))


def copy(source: str, target: str) -> None:
    """Copy a file; a pipe is made anew."""
    if Path(source).is_fifo():
        os.mkfifo(target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
