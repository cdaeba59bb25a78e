"""The worst answers are listed in order, and shown only where nothing can be read in them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.made_answers import scored

from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Heatmap
from tumorlens.study.audit.text import THUMBNAIL_SIDE
from tumorlens.study.evaluation import failures
from tumorlens.study.evaluation.failures import (
    WORST,
    failure_figures,
    failure_gallery,
    small_overlay,
    with_heatmaps,
)
from tumorlens.study.phantom import draw_phantom


def case_at(path: Path, label: str = "mri_glioma") -> Case:
    return Case(path, f"set/{path.name}", label, "set")


@pytest.fixture
def unread(monkeypatch):
    """Cases whose files need not be there."""
    monkeypatch.setattr(failures, "why_hidden", lambda path: None)
    return lambda n: [case_at(Path(f"{i}.png")) for i in range(n)]


def test_the_surest_errors_come_first(unread):
    answers = scored([1, 1, 1, 0, 0, 0], [0.3, 0.1, 0.8, 0.6, 0.9, 0.2])
    found = failure_figures(unread(6), answers, range(6), conflicts={"set/4.png": ("tumor",)})
    assert [row.case for row in found["false_negatives"].worst] == ["set/1.png", "set/0.png"]
    assert [row.case for row in found["false_positives"].worst] == ["set/4.png", "set/3.png"]
    assert found["false_positives"].worst[0].other_labels == ("tumor",)
    assert (found["false_positives"].with_conflict, found["false_negatives"].with_conflict) \
        == (1, 0)  # fmt: skip


def test_positions_are_those_among_all_cases_also_behind_an_unreadable_one(unread):
    found = failure_figures(unread(3), scored([1, 1], [0.1, 0.2]), [0, 2], conflicts={})
    assert [row.position for row in found["false_negatives"].worst] == [0, 2]
    assert found["false_negatives"].worst[1].case == "set/2.png"


def test_twenty_are_listed_and_all_are_counted(unread):
    found = failure_figures(unread(30), scored([1] * 30, [0.1] * 30), range(30), conflicts={})
    assert (found["false_negatives"].total, len(found["false_negatives"].worst)) == (
        30,
        WORST,
    )


@pytest.fixture
def files(tmp_path) -> list[Case]:
    """A plain head, one with a name across it, and none."""
    plain = draw_phantom("mri", "glioma", seed=3, plane="axial", side=256).pixels
    named = plain.copy()
    cv2.putText(named, "MUSTERMANN ERIKA", (48, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1)
    for name, pixels in (("plain", plain), ("named", named)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    (tmp_path / "broken.png").write_bytes(b"broken")
    return [case_at(tmp_path / f"{name}.png") for name in ("plain", "named", "broken")]


def test_only_what_may_be_shown_gets_a_heatmap_and_a_picture(files, tiny_bundle):
    predictor = Predictor(tiny_bundle)
    predictions = predictor.predict([case.path for case in files])
    found = failure_figures(files[:2], scored([1, 1], [0.1, 0.2]), [0, 1], conflicts={})
    mapped = with_heatmaps(predictions, found, predictor)
    assert [p.heatmap is not None for p in mapped] == [True, False, False]
    assert [p.atoms for p in mapped] == [p.atoms for p in predictions]
    shown = failure_gallery(mapped, found)["false_negatives"]
    assert shown[0][1].shape == (THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE, 3)
    assert shown[1][1] is None


def test_what_is_hidden_stays_hidden_where_a_heatmap_was_made_anyway(files, tiny_bundle):
    predictions = Predictor(tiny_bundle).predict([case.path for case in files], heatmaps=True)
    found = failure_figures(files[:2], scored([1, 1], [0.1, 0.2]), [0, 1], conflicts={})
    assert failure_gallery(predictions, found)["false_negatives"][1][1] is None


def test_shown_pictures_are_too_small_for_strokes_of_letters():
    fine = (np.indices((448, 448)).sum(0) // 2 % 2 * 255).astype(np.uint8)
    found = small_overlay(Heatmap(np.full((4, 4), -1, np.float32), fine))
    assert found[:, :THUMBNAIL_SIDE].std() < 20, "strokes of two pixels are gone"
