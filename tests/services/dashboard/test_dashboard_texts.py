"""The table of texts: whole in both languages, and nothing asked of it that it lacks."""

import re
import string
from pathlib import Path

import pytest

from tumorlens import labels
from tumorlens.language import LANGUAGES
from tumorlens.reports import charts
from tumorlens.reports.charts.texts import label_name, term
from tumorlens.services.dashboard import texts
from tumorlens.services.dashboard.charts.answers import BADGES
from tumorlens.services.dashboard.layout import PAGES
from tumorlens.services.dashboard.texts import escape_markup, read_texts, translator

SOURCES = [
    path for module in (texts, charts) for path in Path(module.__file__).parent.rglob("*.py")
]


def fields_of(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_there_in_every_language(language):
    assert [key for key, text in read_texts().items() if not text.get(language)] == []


def test_a_translation_fills_in_the_same_names():
    skipped = {"audit.shared_cell"}  # a template of Plotly's
    table = {key: text for key, text in read_texts().items() if key not in skipped}
    assert [k for k, text in table.items() if fields_of(text["en"]) != fields_of(text["es"])] == []


def test_every_text_that_the_code_names_is_in_the_table():
    named = {
        key for path in SOURCES
        for key in re.findall(r"""\bt\(\s*["']([a-z_]+\.[\w ]+)["']""", path.read_text("utf-8"))
    }  # fmt: skip
    assert len(named) > 100
    assert named - set(read_texts()) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_label_type_decision_and_page_has_a_name(language):
    t = translator(language)
    for label in labels.LABELS:
        assert label_name(label, t) == t(f"label.{label}")
    for name in labels.TYPES:
        assert t(f"type.{name}")
    for decision in filter(None, BADGES):
        assert t(f"decision.{decision}")
    for name in PAGES:
        assert t(f"page.{name}")


def test_the_word_that_belongs_to_physicians_is_not_used():
    written = " ".join(text[language] for text in read_texts().values() for language in LANGUAGES)
    assert "diagn" not in written.lower()


def test_a_name_that_no_text_knows_is_shown_as_it_is():
    assert term("feature", "new_one", translator("es")) == "new one"


def test_markup_in_the_name_of_a_file_stays_text():
    assert escape_markup("a_b*[c](d)`.png") == r"a\_b\*\[c\]\(d\)\`.png"
