"""Every text of the pages, from one table in two languages."""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("texts.toml")
Translate = Callable[..., str]  # of a key, with the values that its text names
_MARKUP = frozenset("\\`*_{}[]()#+!|$:<>~&")


@cache
def read_texts() -> Mapping[str, Mapping[str, str]]:
    """Return the table: "section.name" -> language -> text."""
    stored = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {f"{part}.{name}": text for part, held in stored.items() for name, text in held.items()}


def translator(language: str) -> Translate:
    """Return `translate(key, **values)` of a language; pages and charts call it `t`.

    Whole numbers are written with commas between thousands.

    >>> translator("es")("decision.no tumor")
    'sin tumor'
    """
    table = read_texts()

    def translate(key: str, **values: object) -> str:
        written = {name: f"{v:,}" if isinstance(v, int) else v for name, v in values.items()}
        return table[key][language].format(**written) if values else table[key][language]

    return translate


def is_known(key: str) -> bool:
    """Whether the table has a text, for names that come from files."""
    return key in read_texts()


def term(section: str, name: str, t: Translate) -> str:
    """Translate a name that comes from a file, or write it as it is where no text knows it."""
    key = f"{section}.{name}"
    return t(key) if is_known(key) else name.replace("_", " ")


def label_name(name: str, t: Translate) -> str:
    """Translate a label, or the name of several together."""
    return term("label", name, t)


def escape_markup(name: str) -> str:
    r"""Write a file's name so that nothing in it is taken for markup.

    >>> print(escape_markup("a_b*.png"))
    a\_b\*.png
    """
    return "".join(f"\\{c}" if c in _MARKUP else c for c in name)
