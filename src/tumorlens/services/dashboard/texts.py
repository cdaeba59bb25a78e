"""Everything the pages say, from one table in two languages."""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}
TABLE = Path(__file__).with_name("texts.toml")
Say = Callable[..., str]


@cache
def read_texts() -> Mapping[str, Mapping[str, str]]:
    """Give the table: "section.name" -> language -> text."""
    stored = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {f"{part}.{name}": text for part, held in stored.items() for name, text in held.items()}


def speak(language: str) -> Say:
    """Give `say(key, **values)` of a language.

    >>> speak("es")("decision.no tumor")
    'sin tumor'
    """
    table = read_texts()

    def say(key: str, **values: object) -> str:
        text = table[key][language]
        return text.format(**values) if values else text

    return say


def known(key: str) -> bool:
    """Tell whether the table has a text, for names that come from files."""
    return key in read_texts()
