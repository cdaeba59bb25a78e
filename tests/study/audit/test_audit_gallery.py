"""The small pictures that an audit leaves for a dashboard."""

import cv2
import pytest
from support.planted import audit_of, plant

from tumorlens.study.audit.gallery import SIDE, gallery_figures, make_gallery, write_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, tiny_bundle):
    root = tmp_path_factory.mktemp("planted")
    return make_gallery(audit_of(plant(root / "sets"), tiny_bundle, cache=root / "cache"))


def test_every_picture_that_is_named_is_written_small(gallery, tmp_path):
    write_gallery(gallery, tmp_path)
    found = gallery_figures(gallery)
    named = [m["picture"] for kind in found.values() for row in kind for m in row["members"]]
    assert named
    assert sorted(named) == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")
    )
    assert {cv2.imread(str(tmp_path / name), 0).shape for name in named} == {(SIDE, SIDE)}


def test_a_group_tells_how_many_files_it_has_and_in_which_parts(gallery):
    for group in gallery_figures(gallery)["groups"]:
        assert group["n"] == sum(group["parts"].values()) > 1


def test_a_conflict_shows_two_files_of_different_labels(gallery):
    conflicts = gallery_figures(gallery)["conflicts"]
    assert conflicts
    assert all(len({m["label"] for m in row["members"]}) == 2 for row in conflicts)
