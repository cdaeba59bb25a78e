"""What the house promises of its own code, besides style and types."""

import ast
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
MAX_LINES = 40


def test_no_function_is_longer_than_a_page():
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MAX_LINES
    ]
    assert long == []
