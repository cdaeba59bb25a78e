"""The page of an audit: whole, escaped, and without a scan as it is stored."""

import base64
import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.planted import ARTIST, BURNED, ODD_NAME, audit_of, head_of, with_text, write
from support.spanish import english_on

from tumorlens.language import using_language
from tumorlens.study.audit.figures import audit_result
from tumorlens.study.audit.page import make_gallery, render_audit, verdict, write_audit
from tumorlens.study.audit.result import Thumbnail
from tumorlens.study.audit.run import Audit
from tumorlens.study.audit.text import THUMBNAIL_SIDE, Box

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def page_of(audit: Audit) -> str:
    gallery, images = make_gallery(audit)
    result = audit_result(audit, folders=["a<i>b", "c"], now=NOW)
    return render_audit(replace(result, gallery=gallery), images)


@pytest.fixture(scope="module")
def page(audit) -> str:
    return page_of(audit)


def images_of(page: str) -> list[Any]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    raw = [np.frombuffer(base64.b64decode(code), np.uint8) for code in found]
    return [cv2.imdecode(data, cv2.IMREAD_UNCHANGED) for data in raw]


def text_of(page: str) -> str:
    """The words of the page, without tags, style and plots."""
    words = re.sub(r"(?s)<(style|svg)\b.*?</\1>|<[^>]+>", " ", page)
    return " ".join(html.unescape(words).split())


def test_the_page_loads_nothing_and_runs_nothing(page):
    low = page.lower()
    assert not re.search(r"<(script|link|iframe|object|embed|base|form)\b", low)
    sources = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'\s>]*)", low)
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"url\(\s*['\"]?(?!#)", low)
    assert "@import" not in low
    assert not re.search(r"\son[a-z]+\s*=", re.sub(r"base64,[^\"]+", "", low))


class Nesting(HTMLParser):
    """Notes tags that are closed out of order."""

    VOID = ("meta", "img", "br", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_every_tag_is_closed_where_it_was_opened(page):
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []


def test_the_page_says_research_use_only_before_anything_else(page):
    body = page.split("<body>")[1]
    assert body.index("Research use only") < body.index("<h1>") < body.index("The split leaks")


def test_the_verdict_stands_on_the_page_and_counts(page, audit):
    said = verdict(audit_result(audit, folders=[], now=NOW))
    assert said in text_of(page)
    assert said.startswith("The split leaks: 33.3% of its 6 test files")
    assert "16.7% have a copy there." in said


@pytest.mark.parametrize(
    "words",
    [
        "hospital 26 23 22 1",
        "register 3 3 2 2",
        "all 6 1 1 (16.7 %) 2 (33.3 %)",
        "Of 1 test tumors whose patient is known, 1 have that patient in train.",
        "1 images stand under labels that contradict each other, 1 under",
        "1 files have rows of likely burned-in text, 0 of them over the head",
        "1 of 14",
        "1 files carry fields that can name people or places: Artist (1).",
        "1 files cannot be used, 2 differ from the rest",
        "1 have no label",
        "mode RGBA, where 96 % are L",
        "2 files of sets that record no patient have a copy in one that does",
        "MRI detection",
    ],
)
def test_the_page_tells_every_planted_fact(page, words):
    assert words in text_of(page)


def test_names_are_escaped(audit, page, tmp_path, tiny_bundle):
    assert "a&lt;i&gt;b" in page
    odd = tmp_path / "<u>set"
    write(odd / "train/yes" / ODD_NAME, head_of(0))
    write(odd / "test/yes" / ODD_NAME, head_of(0))
    shown = page_of(audit_of([odd], tiny_bundle, cache=tmp_path / "cache"))
    assert (
        shown.count(html.escape(ODD_NAME).replace("&quot;", "&#34;")) == 4
    )  # below each image, and in its alt text
    assert not re.search(r"<(b|i|u)>", page + shown)


def test_no_burned_in_word_and_no_metadata_is_on_the_page(page):
    text = re.sub(r"base64,[^\"]+", "", page)
    assert not any(word in text for word in (*BURNED.split(), *ARTIST.split()))


def test_images_are_prepared_ones(page):
    shown = images_of(page)
    assert shown
    assert {image.shape for image in shown} == {(THUMBNAIL_SIDE, THUMBNAIL_SIDE)}
    for image in shown:
        assert max(map(int, (image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]))) < 5


def test_text_beside_the_head_is_not_shown(tmp_path, tiny_bundle):
    """Two copies under a line of text are shown, and nothing is left where it stood."""
    for part in ("train", "test"):
        write(tmp_path / f"set/{part}/yes/a.png", with_text(head_of(15)))
    plain = write(tmp_path / "plain/yes/a.png", head_of(15)).parent.parent
    write(tmp_path / "plain/no/b.png", head_of(15))
    marked, clean = (
        images_of(page_of(audit_of([folder], tiny_bundle, cache=tmp_path / "cache")))[0]
        for folder in (tmp_path / "set", plain)
    )
    assert np.abs(marked.astype(int) - clean).mean() < 6


def test_an_image_with_text_over_the_head_is_a_gray_square(audit, tmp_path, tiny_bundle):
    rows = ((Box(40, 40, 30, 8, over_head=True),),) * len(audit.cases)
    hidden = replace(audit, survey=replace(audit.survey, text=rows))
    shown = images_of(page_of(hidden))
    assert shown
    assert all((image == 200).all() for image in shown)


def test_the_same_audit_gives_the_same_page(audit, page):
    assert page_of(audit) == page


def test_a_split_without_leaks_is_told_so(tmp_path, tiny_bundle):
    for number, part in enumerate(("train", "test", "val", "test")):
        write(tmp_path / f"set/{part}/yes/{number}.png", head_of(number))
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    words = text_of(page_of(found))
    assert "The split does not leak: none of its 2 test files has a copy" in words
    assert "Do not report figures on this split" not in words


def test_a_set_without_a_split_is_told_how_many_images_it_is(tmp_path, tiny_bundle):
    for name in "abc":
        write(tmp_path / f"set/yes/{name}.png", head_of(name == "c"))
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    words = text_of(page_of(found))
    assert "3 files are 2 images in 2 independent groups; no split was given to judge." in words
    assert "Does the split leak?" not in words
    assert "Split by these groups" in words


def only_broken(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "x.png").write_bytes(b"x")


def one_head(root: Path) -> None:
    write(root / "x.png", head_of(0))


@pytest.mark.parametrize("make", [only_broken, one_head])
def test_poor_sets_have_a_whole_page(make, tmp_path, tiny_bundle):
    make(tmp_path / "set/yes")
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    page = page_of(found)
    assert page.rstrip().endswith("</html>")
    assert "Not measurable here:" in page


@pytest.fixture(scope="module")
def out(audit, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    write_audit(audit, folder, folders=["x"], now=NOW)
    return folder


def test_every_image_that_is_named_is_written_small(audit, out):
    gallery, _ = make_gallery(audit)
    members: list[Thumbnail] = [m for row in gallery.groups for m in row.members]
    members += [m for row in gallery.conflicts for m in row.members]
    named = [member.image for member in members]
    assert named
    assert sorted(named) == sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert {cv2.imread(str(out / name), 0).shape for name in named} == {
        (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    }


def test_a_group_tells_how_many_files_it_has_and_in_which_parts(audit):
    for group in make_gallery(audit)[0].groups:
        assert group.n == sum(group.parts.values()) > 1


def test_a_conflict_shows_two_files_of_different_labels(audit):
    conflicts = make_gallery(audit)[0].conflicts
    assert conflicts
    assert all(len({member.label for member in row.members}) == 2 for row in conflicts)


def test_a_page_in_spanish_has_no_english_left(audit):
    with using_language("es"):
        page = page_of(audit)
    assert '<html lang="es">' in page
    assert english_on(page) == []
