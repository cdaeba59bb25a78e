"""The language of pages and reports: English as written in the code, Spanish by one table.

Why no gettext: most texts of the table stand in templates, and catalogs would want
`{% trans %}` around each, with a name for each expression in it; `translate_template` below finds
them in the HTML as it is. Other sentences are written with their values filled in, into records
and charts that are stored in English: no catalog finds such a text again, a pattern does. So
gettext would stand beside this module and not instead of it.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}
TABLE = Path(__file__).with_name("spanish.toml")  # English -> Spanish
_language: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def using_language(language: str) -> Iterator[None]:
    """Write pages and reports in a language within this context, one of LANGUAGES."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def current_language() -> str:
    """Return the language that pages and reports are written in here."""
    return _language.get()


@cache
def read_spanish() -> Mapping[str, Mapping[str, str]]:
    """Return the table, English -> Spanish: `texts`, and `sentences` with their values filled in.

    A sentence is one that records hold and charts draw, such as "ROC, n=24"; its row names what
    was filled in: "ROC, n={n}".
    """
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def translate(text: str, **values: object) -> str:
    """Translate an English text, and fill in what it names; one that the table lacks stays.

    >>> with using_language("es"):
    ...     print(translate("Made {time} by bundle {bundle}.", time="9:00", bundle="b"))
    ...     print(translate("no tumor; Label against answer, n=24"))
    Hecho: 9:00, por el paquete b.
    sin tumor; Etiqueta frente a respuesta, n=24
    """
    found = text if current_language() == "en" else _spanish(text)
    return found.format(**values) if values else found


def _spanish(text: str) -> str:
    table = read_spanish()
    if found := table["texts"].get(text) or table["sentences"].get(text):
        return found
    for pattern, spanish in _sentences():
        if match := pattern.fullmatch(text):
            held = {name: _spanish(value) for name, value in match.groupdict().items()}
            return spanish.format(**held)
    for mark in ("\n", "; ", ". "):
        if mark in text:
            return mark.join(map(_spanish, text.split(mark)))
    return _spanish(text[:-1]) + "." if text.endswith(".") else text


@cache
def _sentences() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the sentences as patterns, those with most words of their own first."""
    rows = sorted(
        read_spanish()["sentences"].items(), key=lambda row: -len(re.sub(r"{\w+}", "", row[0]))
    )
    return [(_pattern(english), spanish) for english, spanish in rows]


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", sentence)
    return re.compile("".join(
        f"(?P<{part}>[^;\n]+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)
    ))  # fmt: skip


# --- the text of templates ------------------------------------------------------------------

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"(<(style|script)\b.*?</\2>)", re.DOTALL)
_TAG = re.compile(r"(<[^>]*>)")
_INLINE = re.compile(r"</?(code|strong|em)>")
_TEXT_ATTRIBUTE = re.compile(
    r'\b(alt|aria-label|title)="([^"]*)"'
)  # attributes that are read out or shown
_MARK = re.compile("\0(\\d+)\0")


def template_texts(source: str) -> list[str]:
    """Return the texts of a Jinja template of a page; {0}, {1}, ... stand for its expressions."""
    found: list[str] = []
    _rewrite(source, lambda text: found.append(text) or text)
    return found


def translate_template(source: str) -> str:
    """Return a Jinja template with its texts in the language that is used here."""
    if current_language() == "en":
        return source
    return _rewrite(source, translate)


def _rewrite(source: str, change: Callable[[str], str]) -> str:
    """Change each text between the tags and statements of a template, and each alt text."""
    parts: list[str] = []

    def hide(found: re.Match[str]) -> str:
        parts.append(found[0])
        return f"\0{len(parts) - 1}\0"

    hidden = _JINJA.sub(hide, source)
    hidden = "".join(
        piece if at % 3 == 1 else "" if at % 3 == 2 else _rewrite_markup(piece, parts, change)
        for at, piece in enumerate(_CODE.split(hidden))
    )
    return _MARK.sub(lambda found: parts[int(found[1])], hidden)


def _rewrite_markup(markup: str, parts: list[str], change: Callable[[str], str]) -> str:
    written, run = [], ""  # a run: text with its inline tags and expressions
    for piece in _pieces(markup, parts):
        if _is_text(piece, parts):
            run += piece
            continue
        written += [_rewrite_run(run, parts, change), _rewrite_tag(piece, parts, change)]
        run = ""
    return "".join([*written, _rewrite_run(run, parts, change)])


def _pieces(markup: str, parts: list[str]) -> Iterator[str]:
    """Yield tags, statements and expressions, and what stands between them."""
    for piece in _TAG.split(markup):
        if piece.startswith("<"):
            yield piece
        else:
            yield from re.split("(\0\\d+\0)", piece)


def _is_text(piece: str, parts: list[str]) -> bool:
    if mark := _MARK.fullmatch(piece):
        return parts[int(mark[1])].startswith("{{")
    return not piece.startswith("<") or bool(_INLINE.fullmatch(piece))


def _rewrite_tag(tag: str, parts: list[str], change: Callable[[str], str]) -> str:
    return _TEXT_ATTRIBUTE.sub(lambda at: f'{at[1]}="{_rewrite_run(at[2], parts, change)}"', tag)


def _rewrite_run(run: str, parts: list[str], change: Callable[[str], str]) -> str:
    """Change one text; one of expressions and code alone stays."""
    text = run.strip()
    if not re.search(r"[A-Za-z]", re.sub(r"<code>.*?</code>|<[^>]*>|\0\d+\0", "", text)):
        return run
    own = _MARK.findall(text)
    numbers = iter(range(len(own)))
    english = " ".join(_MARK.sub(lambda _: f"{{{next(numbers)}}}", text).split())
    changed = re.sub(r"\{(\d+)\}", lambda at: f"\0{own[int(at[1])]}\0", change(english))
    start = run[: len(run) - len(run.lstrip())]
    return start + changed + run[len(run.rstrip()) :]
