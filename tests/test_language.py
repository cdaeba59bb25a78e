"""The table of words: nothing that is asked of it is missing, and nothing loses its values."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment
from jinja2.ext import extract_from_ast
from support.broken_files import BROKEN
from support.spanish import english_on

import tumorlens
from tumorlens.images.readers import attempt, open_images_bytes
from tumorlens.language import (
    read_spanish,
    template_texts,
    translate,
    translate_template,
    using_language,
)
from tumorlens.models.usefulness import usefulness
from tumorlens.records import Estimate, Unusable
from tumorlens.reports.card import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.pdf import NOTICE
from tumorlens.reports.scan.content import HEADLINES, UNTYPED
from tumorlens.services.dashboard.texts import read_texts
from tumorlens.settings import ReadLimits
from tumorlens.study.audit.duplicates.copies import KINDS
from tumorlens.study.audit.run import CONFLICT_KINDS
from tumorlens.study.audit.shortcuts import FAMILIES, STAGES, TASKS
from tumorlens.study.data.groups import LOOKED_FOR, NOT_KNOWABLE
from tumorlens.study.demonstration import PAGES
from tumorlens.study.evaluation import explanation
from tumorlens.study.evaluation.robustness import PERTURBATIONS
from tumorlens.study.explore.hypothesis_tests import HYPOTHESES

BROKEN_LIMITS = ReadLimits(max_pixels=16_000_000)
SOURCES = Path(tumorlens.__file__).parent
TEMPLATES = sorted((SOURCES / "reports" / "templates").glob("*.html"))
TABLE = read_spanish()["texts"] | read_spanish()["sentences"]
# Words that pages look up by a name of the code, and that are not the same in Spanish.
NAMED = [
    *KNOWN_LIMITS, NOT_FOR, NOTICE, *filter(None, HEADLINES.values()), *UNTYPED.values(),
    *CONFLICT_KINDS, *KINDS, *FAMILIES, *STAGES, *TASKS, LOOKED_FOR, NOT_KNOWABLE,
    *PAGES.values(), *explanation.STAGES, *(k for k in PERTURBATIONS if k != "JPEG"),
    *(kind.unit for kind in PERTURBATIONS.values()),
    *(text for h in HYPOTHESES for text in (h.statement, h.test, h.rule)),
]  # fmt: skip


def named_in_code() -> Iterator[str]:
    """Every text that a template or a module hands to `translate`."""
    for path in TEMPLATES:
        tree = Environment(trim_blocks=True).parse(path.read_text("utf-8"))
        for _, _, found in extract_from_ast(tree, ("_",)):
            yield from [found] if isinstance(found, str) else filter(None, found or ())
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translate":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    yield first.value


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_a_template_is_in_the_table(path):
    texts = template_texts(path.read_text("utf-8"))
    assert texts
    assert [text for text in texts if text not in TABLE] == []


def test_every_text_that_the_code_names_is_in_the_table():
    named = set(named_in_code())
    assert len(named) > 50
    assert named - TABLE.keys() == set()


def test_every_named_word_has_a_translation():
    with using_language("es"):
        assert [text for text in NAMED if translate(text) == text] == []


@pytest.mark.parametrize("name", BROKEN)
def test_why_a_file_cannot_be_read_is_told_in_spanish(name):
    found = attempt(open_images_bytes, BROKEN[name][0], source=name, limits=BROKEN_LIMITS)
    assert isinstance(found, Unusable)
    with using_language("es"):
        told = translate(found.reason)
    assert english_on(re.sub(r"\(.*?\)", "", told)) == []  # what a library says stays as it is
    assert all(part not in told for part in (found.error.fact, found.error.fix))


def test_a_translation_fills_in_the_same_values():
    def values(text: str) -> list[str]:
        return sorted(re.findall(r"\{(\w+)\}", text))

    def tags(text: str) -> list[str]:
        return sorted(re.findall(r"</?(?:code|strong)>", text))

    assert [en for en, es in TABLE.items() if values(en) != values(es)] == []
    assert [en for en, es in TABLE.items() if tags(en) != tags(es)] == []


def test_both_tables_say_the_same_of_the_same_words():
    dashboard = {row["en"]: row["es"] for row in read_texts().values() if len(row["en"]) > 12}
    shared = dashboard.keys() & TABLE.keys()
    assert len(shared) > 5
    assert [en for en in shared if dashboard[en] != TABLE[en]] == []


def test_a_template_keeps_its_expressions_where_the_words_move():
    source = '<p title="{{ n }} scans"><b>{{ n }} scans</b>{% if x %}{{ y }}{% endif %}</p>'
    assert template_texts(source) == ["{0} scans", "{0} scans"]
    with using_language("es"):
        assert "<b>{{ n }} imágenes</b>{% if x %}{{ y }}{% endif %}" in translate_template(source)
    assert translate_template(source) == source


@pytest.mark.parametrize(
    ("auc", "sensitivity", "specificity"),
    [(None, 1.0, 1.0), (0.9, 1.0, 0.0), (0.9, 1.0, 0.04), (0.9, 0.0, 1.0), (0.9, 0.04, 1.0),
     (0.5, 0.5, 0.5), (0.9, 0.3, 0.6), (0.9, 0.8, 0.9)],
)  # fmt: skip
def test_what_a_network_is_good_for_is_translated_whole(auc, sensitivity, specificity):
    class Found:
        pass

    found = Found()
    for name, value in (("auc", auc), ("sensitivity", sensitivity), ("specificity", specificity)):
        low = None if value is None else max(0.0, value - 0.1)
        setattr(found, name, Estimate(value, low, value, 20))
    english = f"of all scans: the network {usefulness(found)}"
    with using_language("es"):
        spanish = translate(english)
    assert spanish.startswith("de todas las imágenes: la red ")
    assert not re.search(r"\b(the|scan|scans|no use|guess)\b", spanish)


def test_a_language_ends_with_its_context():
    with using_language("es"):
        assert translate("Detection") == "Detección"
    assert translate("Detection") == "Detection"
