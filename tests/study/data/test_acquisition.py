"""Source, sequence and level of a slice: read from names and tables, and taken out as hints."""

from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import CasesError
from tumorlens.records import Case
from tumorlens.study.data.acquisition import level_shares, sequence_of, source_of
from tumorlens.study.data.case_table import read_levels
from tumorlens.study.data.index import read_cases


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("TCGA_DU_5849_19950405_2_flair.jpg", "flair"),
        ("Subj10_FL_000.jpg", "flair"),
        ("TCGA_HT_7602_19951103_9_t1c.jpg", "t1c"),
        ("patient03_T1POST_12.png", "t1c"),
        ("case_T1_03.png", "t1"),
        ("patient1-s2_T1W_40.jpg", "t1"),
        ("patient1-s2_T2W_40.jpg", "t2"),
        ("glioma (12).jpg", ""),
        ("flat1.jpg", ""),
    ],
)
def test_the_sequence_is_what_the_name_of_a_file_states(name, sequence):
    assert sequence_of(Path(name)) == sequence


def test_a_set_of_several_sources_names_each_and_class_folders_are_none():
    def case(path: str, label: str) -> Case:
        return Case(Path("heads") / path, f"heads/{path}", label, "heads")

    assert source_of(case("nichart/a.png", "mri_healthy")) == "heads/nichart/mri"
    assert source_of(case("train/ct_healthy/a.png", "ct_healthy")) == "heads/ct"
    assert source_of(case("yes/a.png", "mri_tumor")) == "heads/mri"


def test_levels_beside_cases_csv_are_read_with_the_cases(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    (tmp_path / "cases.csv").write_text("path,label\na.png,mri_healthy\nb.png,mri_glioma\n")
    (tmp_path / "levels.csv").write_text("path,level\nb.png,0.25\n")
    assert [case.level for case in read_cases(tmp_path)] == [None, 0.25]


@pytest.mark.parametrize("value", ["high", "1.5", ""])
def test_a_level_that_is_none_is_named_with_its_row(tmp_path, value):
    table = tmp_path / "levels.csv"
    table.write_text(f"path,level\na.png,0.5\nb.png,{value}\n")
    with pytest.raises(CasesError, match="row 3"):
        read_levels(table)


def test_after_weighing_the_level_no_longer_tells_the_label():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.4
    levels = np.where(truth, rng.normal(0.5, 0.12, 4000), rng.random(4000)).clip(0, 1)
    shares = level_shares(levels, truth, ["a"] * 4000)

    def spread(label: bool, weights: np.ndarray) -> float:
        rows = truth == label
        return float(np.average(np.abs(levels[rows] - 0.5), weights=weights[rows]))

    plain = spread(False, np.ones(4000)) - spread(True, np.ones(4000))
    weighed = spread(False, shares) - spread(True, shares)
    assert plain > 0.1
    assert abs(weighed) < 0.25 * plain


def test_where_no_level_is_known_nothing_is_weighed():
    levels, truth = np.array([np.nan, 0.2, np.nan]), np.array([True, False, False])
    assert level_shares(levels, truth, ["a", "b", "a"]).tolist() == [1, 1, 1]
