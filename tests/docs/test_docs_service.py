"""The examples of the page about serving, run as they stand against a service."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.live_server import Live, running
from support.serving import SCAN

from tumorlens.models.bundle import Bundle

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-predictions.md"
BLOCKS = re.findall(r"```(bash|python|js)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
COMMANDS = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "--eval"],
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    with running(folder, TUMORLENS_BUNDLE=str(tiny_bundle.folder)) as found:
        yield found


def test_the_page_has_examples_in_three_languages():
    assert {language for language, _ in BLOCKS} == set(COMMANDS)


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_an_example_runs_as_it_stands(live: Live, tmp_path: Path, language: str, text: str):
    program = COMMANDS[language]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    (tmp_path / "slice.png").write_bytes(SCAN)
    text = text.replace("http://127.0.0.1:8000", live.url)
    done = subprocess.run(
        [*program, text], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for made in ("answer.json", "answers.csv", "history.csv"):
        if made in text:
            assert (tmp_path / made).stat().st_size > 100
