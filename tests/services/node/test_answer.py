"""The process that answers series: what it is given, and how."""

import io
import os
import subprocess

import pytest

from tumorlens.errors import ServiceError
from tumorlens.services.node.answer import AnswerProcess
from tumorlens.settings import Settings

SECRET = "5eC3e7"


class EndedChild:
    """A process that ended before it answered."""

    def __init__(self, words: list[str], **options: object) -> None:
        self.words, self.stdin, self.stdout = words, io.BytesIO(), io.BytesIO()

    def poll(self) -> None:
        return None

    def kill(self) -> None:
        pass

    def wait(self) -> int:
        return -9


def test_the_password_of_a_store_goes_through_the_pipe_and_is_no_word_of_the_command(
    tmp_path, monkeypatch
):
    started: list[EndedChild] = []

    def start(words: list[str], **options: object) -> EndedChild:
        started.append(EndedChild(words, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    settings = Settings(store=f"postgresql://me:{SECRET}@host/answers")
    with pytest.raises(ServiceError, match="ended its process"):
        AnswerProcess(settings, memory=2**30, seconds=60).answer(tmp_path, caller="CT_1")
    [child] = started
    assert SECRET not in " ".join(map(os.fspath, child.words))
    assert SECRET.encode() in child.stdin.getvalue()
