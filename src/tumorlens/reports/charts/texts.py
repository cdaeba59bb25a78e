"""What charts say, and the names of labels and features: one table in two languages."""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("texts.toml")
Texts = Mapping[str, Mapping[str, str]]  # "section.name" -> language -> text
Translate = Callable[..., str]  # of a key, with the values that its text names


@cache
def read_texts(path: Path = TABLE) -> Texts:
    """Return the texts of a table."""
    stored = tomllib.loads(path.read_text(encoding="utf-8"))
    return {f"{part}.{name}": text for part, held in stored.items() for name, text in held.items()}


def translator(language: str, texts: Texts | None = None) -> Translate:
    """Return `translate(key, default, **values)` of a language; pages and charts call it `t`.

    Whole numbers are written with commas between thousands. `default` is for names that come from
    files: it stands where no text knows the key.

    >>> translator("es")("label.ct_healthy")
    'TC, sana'
    """
    table = read_texts() if texts is None else texts

    def translate(key: str, default: str | None = None, **values: object) -> str:
        if default is not None and key not in table:
            return default
        written = {name: f"{v:,}" if isinstance(v, int) else v for name, v in values.items()}
        return table[key][language].format(**written) if values else table[key][language]

    return translate


def term(section: str, name: str, t: Translate) -> str:
    """Translate a name that comes from a file, or write it as it is where no text knows it."""
    return t(f"{section}.{name}", name.replace("_", " "))


def label_name(name: str, t: Translate) -> str:
    """Translate a label, or the name of several together."""
    return term("label", name, t)
