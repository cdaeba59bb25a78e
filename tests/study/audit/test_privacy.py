"""Whether a scan may be shown is one rule, for the audit, the evaluation and the exploration."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.made_answers import scored
from support.planted import audit_of

from tumorlens.records import Case
from tumorlens.study.audit import page
from tumorlens.study.audit.text import why_hidden
from tumorlens.study.evaluation.failures import failure_figures
from tumorlens.study.explore.class_images import ClassStatistics, montage
from tumorlens.study.phantom import draw_phantom

NAMES = ("plain", "named", "artist", "broken", "gone")
HIDDEN = ("named", "broken", "gone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A plain head, one with a name across it, one whose fields name somebody, and no image."""
    folder = tmp_path_factory.mktemp("scans") / "yes"
    folder.mkdir()
    plain = draw_phantom("mri", "glioma", seed=3, plane="axial", side=256).pixels
    named = plain.copy()
    cv2.putText(named, "MUSTERMANN ERIKA", (48, 130), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 255, 1)
    artist = Image.fromarray(plain)
    artist.getexif()[0x013B] = "Erika Mustermann"
    cv2.imwrite(str(folder / "plain.png"), plain)
    cv2.imwrite(str(folder / "named.png"), named)
    artist.save(folder / "artist.png", exif=artist.getexif())
    (folder / "broken.png").write_bytes(b"broken")
    return folder


def test_text_over_the_head_and_what_cannot_be_read_are_hidden_with_the_reason(folder):
    found = {name: why_hidden(folder / f"{name}.png") for name in NAMES}
    assert found["plain"] is None
    assert "text" in str(found["named"])
    assert found["broken"]
    assert found["gone"]


def test_fields_that_name_somebody_hide_nothing_for_no_prepared_image_carries_them(folder):
    assert why_hidden(folder / "artist.png") is None


def hidden_by_the_audit(folder: Path, bundle, cache: Path) -> list[str]:
    audit = audit_of([folder.parent], bundle, cache=cache)
    drawn = {
        case.path.stem: page.small_image(audit, position)
        for position, case in enumerate(audit.cases)
    }
    return [name for name in NAMES if name in drawn and np.ptp(drawn[name]) == 0]


def hidden_by_the_evaluation(folder: Path) -> list[str]:
    cases = [Case(folder / f"{name}.png", name, "mri_glioma", "set") for name in NAMES]
    answers = scored([1] * len(cases), [0.1] * len(cases))
    rows = failure_figures(cases, answers, range(len(cases)), conflicts={})
    return [row.case for row in rows["false_negatives"].worst if row.hidden]


def hidden_by_the_exploration(folder: Path) -> list[str]:
    hidden = []
    for name in NAMES:
        kept = ClassStatistics(64)
        case = Case(folder / f"{name}.png", name, "mri_glioma", "set")
        kept.add(np.zeros((64, 64), np.uint8), case)
        hidden += [name] * montage(kept).withheld
    return hidden


def test_audit_evaluation_and_exploration_hide_the_same(folder, tmp_path, tiny_bundle):
    assert hidden_by_the_evaluation(folder) == list(HIDDEN)
    assert hidden_by_the_exploration(folder) == list(HIDDEN)
    assert hidden_by_the_audit(folder, tiny_bundle, tmp_path) == ["named", "broken"]
