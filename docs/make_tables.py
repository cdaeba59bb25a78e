"""Write the tables of the reference pages from the code they describe.

Run `python docs/make_tables.py`. Each table stands between `<!-- table: NAME -->` and
`<!-- end -->` in a page under reference/; all else on those pages is written by hand.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from tumorlens import labels
from tumorlens.cli import app
from tumorlens.services.http.problems import KINDS
from tumorlens.services.http.server import create_app
from tumorlens.settings import Settings
from tumorlens.study.data.registry import DATASETS
from tumorlens.study.recipes import PRETRAININGS, RECIPES, Recipe

REFERENCE = Path(__file__).with_name("reference")
_FIELD = re.compile(r"    (?:(?P<name>\w+): [^#()]+?(?: = [^#]+?)?)?(?:\s*# (?P<comment>.*))?")
_BLOCK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.S)


def main() -> None:
    """Fill every table of every reference page."""
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        filled = _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            print(f"wrote {page.name}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in lines
    )


def commands() -> str:
    """Describe every command with its arguments and options."""
    return "\n".join(_sections(typer.main.get_command(app), "tumorlens"))


def _sections(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children:
        for child_name, child in children.items():
            yield from _sections(child, f"{name} {child_name}")
        return
    yield f"\n## {name}\n"
    text = " ".join((command.help or "").split())
    prose, _, example = text.partition("Example: ")
    yield prose.strip() + "\n"
    if example:
        yield f"Example: {example}\n"
    rows = [_row(parameter) for parameter in command.params]
    if rows:
        yield _table(("argument or option", "value", "default", "meaning"), rows) + "\n"
    else:
        yield "No arguments or options but `--help`.\n"


def _row(parameter: Any) -> tuple[str, str, str, str]:
    is_option = parameter.param_type_name == "option"
    kind = _kind(parameter.type_descriptor.annotation)
    if parameter.min is not None:
        kind += f", at least {parameter.min}"
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    is_shown = parameter.default is not None and parameter.default != ""
    default = "required" if parameter.required else f"`{parameter.default}`" if is_shown else ""
    if kind == "flag":
        default = "on" if parameter.default else ""
    named = [*parameter.opts, *parameter.secondary_opts]
    listed = " / ".join(f"`{opt}`" for opt in named) if is_option else f"`{name}`"
    return listed, kind, default, parameter.help or ""


def _kind(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(str(one.value) for one in annotation)
    return _KINDS[str(annotation).replace("pathlib.", "")]


_KINDS = {
    "<class 'bool'>": "flag",
    "<class 'int'>": "whole number",
    "int | None": "whole number",
    "<class 'float'>": "number",
    "<class 'str'>": "text",
    "str | None": "text",
    "<class 'Path'>": "path",
    "Path | None": "path",
    "list[Path]": "paths",
    "list[str] | None": "texts",
    "list[str]": "texts",
}


def routes() -> str:
    """List the routes of the service."""
    described = create_app(Settings(), needs_keys=True).openapi()
    rows = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            text = operation.get("description", "").splitlines()[0]
            asked = [
                f"`{row['name']}`"
                for row in operation.get("parameters", [])
                if row["in"] == "query"
            ]
            rows.append((f"`{method.upper()} {path}`", text, " ".join(asked)))
    return _table(("route", "what it does", "query"), rows)


def problems() -> str:
    """List the problems of the service."""
    rows = [(f"`{name}`", str(kind.status), kind.title) for name, kind in KINDS.items()]
    return _table(("type", "status", "title"), rows)


def atoms() -> str:
    """List labels with the atoms they stand for."""
    rows = []
    for name, members in labels.LABELS.items():
        listed = ", ".join(f"`{atom}`" for atom in labels.ATOMS if atom in members)
        rows.append((f"`{name}`", listed))
    return _table(("label", "set of atoms"), rows)


def names() -> str:
    """List known names with the label each gives, with and without a modality."""
    rows = []
    for name in sorted(labels.NAMES):
        found = [labels.canonical_label(name, modality=m) for m in (None, "ct", "mri")]
        rows.append((f"`{name}`", *(f"`{label}`" for label in found)))
    return _table(("name", "modality not given", "`ct`", "`mri`"), rows)


def datasets() -> str:
    """Describe every row of the registry."""
    parts = []
    for row in DATASETS.values():
        facts = [
            ("source", f"<{row.url}>"),
            ("license", row.license),
            ("citation", row.citation),
            ("layout", row.layout),
            ("modality of the whole set", row.modality or "by class name"),
            ("published split", row.published_split),
            ("**caution**", row.caution),
        ]
        parts.append(f"\n## {row.name}\n\n{row.title}.\n\n{_table(('', ''), facts)}\n")
    return "\n".join(parts)


def recipes() -> str:
    """Set the recipes side by side."""
    plain = {name: recipe.to_json() for name, recipe in RECIPES.items()}
    fields = [field for field in next(iter(plain.values())) if field != "name"]
    rows = [(f"`{f}`", *(str(values[f]) for values in plain.values())) for f in fields]
    return _table(("field", *(f"`{name}`" for name in plain)), rows)


def fields() -> str:
    """Explain each field of a recipe by the comments of its class."""
    rows: list[tuple[str, str]] = []
    above: list[str] = []
    for line in inspect.getsource(Recipe).splitlines():
        if not (found := _FIELD.fullmatch(line)):
            continue
        if comment := found["comment"]:
            above.append(comment)
        if name := found["name"]:
            text = " ".join(above).rstrip(".")
            rows.append((f"`{name}`", text[:1].lower() + text[1:]))
            above = []
    return _table(("field", "meaning"), rows)


def pretraining() -> str:
    """Set the recipes of pretraining out, and the fields that mean something there."""
    rows = [
        (
            f"`{name}`", found.recipe.summary, found.recipe.network,
            f"{found.recipe.train_side} of {found.recipe.side}", str(found.recipe.epochs),
            str(found.recipe.batch), ", ".join(map(str, found.projector)),
            f"{found.min_area:g}", found.source,
        )
        for name, found in PRETRAININGS.items()
    ]  # fmt: skip
    return _table(("recipe", "what it does", "network", "pixels", "epochs", "batch", "projector",
                   "least area of a view", "source"), rows)  # fmt: skip


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "routes": routes,
    "problems": problems,
    "atoms": atoms,
    "names": names,
    "datasets": datasets,
    "recipes": recipes,
    "fields": fields,
    "pretraining": pretraining,
}

if __name__ == "__main__":
    main()
