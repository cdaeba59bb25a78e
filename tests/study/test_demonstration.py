"""The demo runs the whole path once and leaves one page to look at."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.stored_study import lacking, stored

from tumorlens.errors import TumorlensError
from tumorlens.models.bundle import SHIPPED, SHIPPED_DEFAULT, load_bundle

MARK = ".tumorlens-demo"
pytestmark = pytest.mark.skipif(
    not (SHIPPED / SHIPPED_DEFAULT / "bundle.json").is_file(),
    reason=f"no bundle ships in {SHIPPED / SHIPPED_DEFAULT} yet, and the demo predicts with it",
)


class Silent:
    """Watches nothing."""

    def on_batch_end(self, epoch, done, total, loss):
        """Hear a batch."""

    def on_epoch_end(self, row, is_best):
        """Hear an epoch."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, list[str]]:
    """One demo on phantoms, over the leftovers of an earlier one."""
    from support.cheap import SMALL, make_cheap

    from tumorlens.study import demonstration
    from tumorlens.study.evaluation import run
    from tumorlens.study.explore import separation
    from tumorlens.study.recipes import RECIPES

    out = tmp_path_factory.mktemp("demo") / "out"
    (out / "run").mkdir(parents=True)
    (out / "run" / "config.json").write_text("{}")
    (out / MARK).touch()
    stages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "EXPLORED", 6)
        # The pages of its evaluations have tests of their own; its page draws for itself.
        patch.setattr(run, "draw_plots", lambda result: {})
        patch.setattr(run, "page_pdf", lambda page, made: b"%PDF-")
        models = dict.fromkeys(separation.MODELS, separation.MODELS["logistic_regression"])
        make_cheap(patch)
        patch.setattr(separation, "MODELS", models)  # the record names each
        small = replace(RECIPES["quick"], **SMALL)
        patch.setitem(RECIPES, "quick", small)
        page = demonstration.demonstrate(
            None, out=out, cache=out.parent / "cache", per_class=12, epochs=1, callback=Silent(),
            progress=lambda done, total: None, on_stage=stages.append,
        )  # fmt: skip
    return page, stages


def test_the_demo_leaves_a_page_and_all_that_it_was_made_from(demo):
    page, _ = demo
    assert page.name == "index.html"
    assert {path.name for path in page.parent.iterdir()} == {
        MARK, "index.html", "phantoms", "split.csv", "run", "evaluation", "shipped", "audit",
        "explore",
    }  # fmt: skip
    assert load_bundle(page.parent / "run").name == "demo"


def test_every_stage_is_announced(demo):
    assert [text.split()[0] for text in demo[1]] == [f"{step}/7" for step in range(1, 8)]


def test_the_page_stands_alone_and_says_that_its_heads_are_drawn(demo):
    page = demo[0].read_text(encoding="utf-8")
    assert "Research use only" in page
    assert "synthetic phantoms" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert page.count("<svg") >= 3
    assert page.count('src="data:image/webp;base64,') >= 6, "a gallery of every class"


def test_the_page_links_every_page_that_the_demo_made(demo):
    text, out = demo[0].read_text(encoding="utf-8"), demo[0].parent
    made = {path.relative_to(out).as_posix() for path in out.glob("*/*.html")}
    assert set(re.findall(r'<a href="([^"#]+)"', text)) == made
    assert len(made) == 4


def test_own_and_shipped_bundle_are_measured_on_the_same_test_scans(demo):
    out = demo[0].parent
    with (out / "split.csv").open(newline="") as file:
        test = sum(row["split"] == "test" for row in csv.DictReader(file))
    own, shipped = (
        json.loads((out / name / "evaluation.json").read_text())
        for name in ("evaluation", "shipped")
    )
    assert own["n"] == shipped["n"] == test > 6
    assert own["bundle"].startswith("demo@")
    assert shipped["bundle"] == load_bundle().version
    assert own["unreadable"] == shipped["unreadable"] == 0
    assert own["localisation"]["n"] > 0


@pytest.mark.parametrize("kind", ["audit", "explore", "evaluation"])
def test_the_demo_leaves_a_study_that_the_dashboard_reads(demo, kind):
    from tumorlens.services.dashboard.studies import KINDS, find_records, read_record

    found = find_records([demo[0].parent], KINDS[kind].file)
    assert found
    for path in found.values():
        lost = lacking(stored(kind), read_record(path, kind).values)
        assert lost == ([".links.neighbour"] if kind == "audit" else [])  # now: neighbor


def test_a_folder_with_files_of_another_is_refused_and_left_as_it_is(tmp_path):
    from tumorlens.study.demonstration import demonstrate

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(TumorlensError, match="holds files that tumorlens demo did not make"):
        demonstrate(None, out=tmp_path, cache=tmp_path, per_class=20, epochs=1, callback=Silent(),
                    progress=lambda done, total: None, on_stage=lambda text: None)  # fmt: skip
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"
