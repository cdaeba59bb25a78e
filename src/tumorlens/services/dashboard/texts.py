"""Every text of the pages, those of charts included, from two tables in two languages."""

from functools import cache
from pathlib import Path

from tumorlens.reports.charts import texts
from tumorlens.reports.charts.texts import Texts, Translate

TABLE = Path(__file__).with_name("texts.toml")
_MARKUP = frozenset("\\`*_{}[]()#+!|$:<>~&")


@cache
def read_texts() -> Texts:
    """Return the texts of charts and of pages."""
    return {**texts.read_texts(), **texts.read_texts(TABLE)}


def translator(language: str) -> Translate:
    """Return `translate(key, default, **values)` of a language; pages and charts call it `t`.

    >>> translator("es")("decision.no tumor")
    'sin tumor'
    """
    return texts.translator(language, read_texts())


def escape_markup(name: str) -> str:
    r"""Write a file's name so that nothing in it is taken for markup.

    >>> print(escape_markup("a_b*.png"))
    a\_b\*.png
    """
    return "".join(f"\\{c}" if c in _MARKUP else c for c in name)
