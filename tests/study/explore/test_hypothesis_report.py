"""The table of verdicts holds every figure of its sets, with n and interval."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tumorlens.records import Estimate
from tumorlens.study.explore.hypothesis_report import write_hypothesis_report
from tumorlens.study.explore.hypothesis_tests import HYPOTHESES
from tumorlens.study.explore.record import ExploreResult, Finding, Judgment, read_result

CELL = {"auc": 0.9, "auc_low": 0.85, "auc_high": 0.94, "n": 1200, "n_groups": 40}
WORSE = CELL | {"auc": 0.6, "auc_low": 0.55, "auc_high": 0.65}
STORED = Path(__file__).parents[2] / "support/study/explore/explore.json"
NETWORKS = {
    "schema": 1,
    "plan": {
        "folds": 5, "steps": 60, "largest": 2000,
        "recipe": {"network": "residual-tiny", "side": 80, "epochs": 10, "batch": 32,
                   "augmentation": 0.5},
    },
    "experiments": [
        {"id": "transfer", "measure": "AUC", "matrix": {"a MRI": {"a MRI": CELL, "b MRI": WORSE}}}
    ],
}  # fmt: skip


def study(auc: float) -> ExploreResult:
    estimate = Estimate(auc, auc - 0.1, auc + 0.05, 143)
    finding = Finding("MRI", "AUC", "supported", estimate, 120, "the note")
    rows = [
        Judgment(h.id, h.statement, h.test, h.rule, "undecided", f"reason {h.id}", ())
        for h in HYPOTHESES
    ]
    rows[0] = replace(rows[0], verdict="supported", findings=(finding,))
    stored = read_result(STORED)
    return replace(stored, n=1500, groups=300, audit="abc", hypotheses=tuple(rows))


def write(folder: Path, networks: dict[str, Any], **studies: ExploreResult) -> str:
    (folder / "experiments.json").write_text(json.dumps(networks))
    write_hypothesis_report(studies, folder / "experiments.json", folder)
    return (folder / "hypotheses.md").read_text()


@pytest.fixture
def page(tmp_path) -> str:
    return write(tmp_path, NETWORKS, a=study(0.9), b=study(0.8))


def test_verdicts_of_all_sets_stand_side_by_side(page):
    assert f"| H1 | {HYPOTHESES[0].statement} | supported | supported |" in page
    assert "| b | 1,500 | 300 |" in page


def test_every_figure_has_its_interval_and_its_n(page):
    assert "| a MRI | AUC 0.900 (0.800 to 0.950) | 143, 120 groups | supported | the note |" in page
    assert "| b MRI | AUC 0.800 (0.700 to 0.850) |" in page


def test_what_has_no_figure_says_why(page):
    assert "| a | | | undecided | reason H2 |" in page


def test_what_networks_on_several_sets_showed_stands_once(page):
    assert page.count("reason H6") == page.count("reason H3") == 1
    assert page.count("reason H4") == 2


def test_every_hypothesis_stands_with_its_rule(page):
    for row in HYPOTHESES:
        assert f"## {row.id}: {row.statement}" in page
        assert row.rule in page


def test_the_page_shows_what_networks_reach_from_set_to_set(page):
    assert "| | a MRI | b MRI |" in page
    assert "0.600 (0.550-0.650, n=1,200)" in page
    assert "at most 600 updates of 32 scans" in page


def test_the_page_says_where_networks_are_still_missing(page, tmp_path):
    assert "pairs were trained" not in page
    unfinished = NETWORKS | {"trials": {"done": 5, "planned": 15}}
    assert "**5 of 15 pairs were trained" in write(tmp_path, unfinished, a=study(0.9))


def test_the_same_stands_in_a_file_of_data(page, tmp_path):
    found = json.loads((tmp_path / "hypotheses.json").read_text())
    assert found["sets"]["b"]["hypotheses"][0]["findings"][0]["value"] == 0.8
    assert found["experiments"] == NETWORKS


def test_research_use_only_comes_first(page):
    assert page.index("Research use only") < page.index("| H1 |")
