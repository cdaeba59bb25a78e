"""Blocks of shell from the docs, run by bash; `tumorlens` in them is answered by this process.

A process for each command would load TensorFlow again and again.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from support.command import ended
from typer.main import get_command

from tumorlens import cli

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)
SHELLS = ("bash", "sh", "shell", "console", "text", "")
COMMAND = re.compile(r"^\s*(\$ )?tumorlens +[a-z]", re.M)
SHIM = """#!{python} -S
import json, os, socket, sys
said = dict(cwd=os.getcwd(), args=sys.argv[1:],
            environment={{k: v for k, v in os.environ.items() if k.startswith("TUMORLENS_")}})
with socket.socket(socket.AF_UNIX) as line:
    line.connect({address!r})
    line.sendall(json.dumps(said).encode())
    line.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: line.recv(65536), b"")))
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["status"])
"""
TRAIN_MANY = "TUMORLENS_TEST_TRAIN_MANY"  # set: what trains many networks is run too (minutes)
_MANY: Mapping[tuple[str, ...], str] = {
    ("tune",): "trains many networks",
    ("size-curve",): "trains many networks",
    ("hypotheses",): "trains many networks; notebook 7 does it on phantoms",
}
# What is not run here, by how its arguments begin, and why. Its options are checked all the same.
ONLY_PARSED: Mapping[tuple[str, ...], str] = {
    **({} if TRAIN_MANY in os.environ else _MANY),
    ("train-series",): "needs volumes of many patients",
    ("demo",): "trains long",
    ("serve",): "serves until it is stopped",
    ("dashboard",): "serves until it is stopped",
    ("data", "fetch", "figshare"): "downloads",
    ("data", "fetch", "multimodal"): "downloads",
    ("dicom", "pull"): "needs a PACS; tests/services/node has one",
    ("dicom", "send"): "needs a PACS; tests/services/node has one",
    ("dicom", "node"): "serves until it is stopped",
    ("keys", "revoke"): "names a key that only the reader has",
    ("batch", "plan", "s3://bucket/scans"): "needs an object store; tests/batch has one",
    ("audit", "multimodal"): "needs public sets",
    ("audit", "sets/*"): "needs public sets",
    ("explore", "multimodal"): "needs public sets",
}
# Lines of other programs that are left out.
LEFT_OUT: Mapping[str, str] = {"python benchmarks/": "measures for long, on public sets"}
ONLY_PARSED_WITH = {
    **({} if TRAIN_MANY in os.environ else {"--folds": "trains many networks"}),
    "--cores": "needs more cores than there may be; tests/study/experiments trains by workers",
    "mlflow": "makes a database; tests/study/test_tracking.py has one",
    "--signers": "needs the key of a reader",
}


def pages() -> list[Path]:
    """List the pages that show commands."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if blocks(page)]


def blocks(page: Path) -> list[str]:
    """List the blocks of shell on a page that call `tumorlens`."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [
        text for kind, text in found
        if (COMMAND.search(text) and (kind in SHELLS[:4] or _is_commands(text)))
        or (kind == "bash" and "tumorlens " in text)
    ]  # fmt: skip


def _is_commands(text: str) -> bool:
    """Tell commands from what a command printed."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    return all(COMMAND.match(line) for line in lines)


@dataclass
class Shell:
    """A sandbox folder in which the blocks of one page run one after the other."""

    folder: Path
    run: list[tuple[str, ...]] = field(default_factory=list)
    parsed: list[tuple[str, ...]] = field(default_factory=list)
    _unmade: set[str] = field(default_factory=set)

    def execute(self, block: str, *, seconds: float = 600) -> str:
        """Run a block; gives what it printed, and fails where bash or a command does."""
        address = str(self.folder.parent / f"{self.folder.name}.socket")
        Path(address).unlink(missing_ok=True)
        shim = self.folder.parent / "bin" / "tumorlens"
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(SHIM.format(python=sys.executable, address=address))
        shim.chmod(0o755)
        paths = f"{shim.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        text = re.sub(r"^\$ ", "", block, flags=re.M)
        for start in LEFT_OUT:
            text = re.sub(rf"^{re.escape(start)}.*(\\\n.*)*$", ":", text, flags=re.M)
        with socket.socket(socket.AF_UNIX) as line:
            line.bind(address)
            line.listen()
            line.settimeout(0.05)
            bash = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, "PATH": paths},
            )  # fmt: skip
            try:
                self._serve(line, bash)
                said, _ = bash.communicate(timeout=seconds)
            finally:
                bash.kill()
        assert bash.returncode == 0, f"{block}\n{said}"
        return said

    def _serve(self, line: socket.socket, bash: subprocess.Popen) -> None:
        while bash.poll() is None:
            try:
                connection, _ = line.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(30)
                with connection.makefile("rb") as file:
                    asked = json.load(file)
                connection.sendall(json.dumps(self._answer(**asked)).encode())

    def _answer(
        self, cwd: str, args: Sequence[str], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        if self._is_only_parsed(args):
            self.parsed.append(tuple(args))
            self._unmade |= set(outputs(args))
            return {"status": 0, "out": "\n", "err": parse(args)}
        self.run.append(tuple(args))
        return vars(ended(args, cwd, environment))

    def _is_only_parsed(self, args: Sequence[str]) -> bool:
        return (
            any(tuple(args[: len(start)]) == start for start in ONLY_PARSED)
            or any(name in args for name in ONLY_PARSED_WITH)
            or any(arg == lost or arg.startswith(f"{lost}/") for arg in args
                   for lost in self._unmade)
        )  # fmt: skip


def outputs(args: Sequence[str]) -> Iterator[str]:
    """List what a command would write."""
    for name, value in pairwise(args):
        if name in ("--out", "--to"):
            yield value


def parse(args: Sequence[str]) -> str:
    """Check command and options without running it; click raises where they do not exist."""
    command: Any = get_command(cli.app)
    context = command.make_context("tumorlens", list(args), resilient_parsing=False)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(
            context, context._protected_args + context.args
        )
        context = command.make_context(name, rest, parent=context)
    return f"options of {' '.join(args)} exist\n"
