"""A folder of labeled scans, in any of three layouts, becomes a list of cases."""

import csv
import re
from pathlib import Path

import pytest

from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.study.data.case_table import write_cases
from tumorlens.study.data.index import read_cases, read_set

MRI_SET = "navoneel"  # a registry row that is all MRI


def make_files(root: Path, *names: str) -> Path:
    """Write files that no test here decodes."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded here")
    return root


def make_table(root: Path, *rows: str, encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "cases.csv").write_text("\n".join(rows) + "\n", encoding=encoding)
    return root


def test_class_folders_give_one_case_per_file_with_the_folder_as_label(tmp_path):
    make_files(tmp_path / "set", "yes/a.png", "yes/deep/b.jpg", "no/c.png")
    cases = read_cases(tmp_path / "set")
    assert [(case.key, case.label, case.split) for case in cases] == [
        ("set/no/c.png", "healthy", None),
        ("set/yes/a.png", "tumor", None),
        ("set/yes/deep/b.jpg", "tumor", None),
    ]
    assert all(case.path.is_file() and case.dataset == "set" for case in cases)


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("test", "test"),
        ("Testing", "test"),
    ],
)
def test_split_folders_give_their_split_under_its_usual_name(tmp_path, folder, split):
    make_files(tmp_path / "set", f"{folder}/glioma/a.png")
    [case] = read_cases(tmp_path / "set")
    assert (case.split, case.label, case.key) == (split, "mri_glioma", f"set/{folder}/glioma/a.png")


def test_every_split_folder_is_read(tmp_path):
    names = [f"{part}/{name}/1.png" for part in ("train", "validation", "test")
             for name in ("mri-tumor", "mri-non-tumor")]  # fmt: skip
    cases = read_cases(make_files(tmp_path / "set", *names))
    assert sorted((case.split, case.label) for case in cases) == [
        (split, label)
        for split in ("test", "train", "val")
        for label in ("mri_healthy", "mri_tumor")
    ]


def test_a_table_gives_every_column(tmp_path):
    root = make_files(tmp_path / "set", "a.png", "b.png", "m.png")
    make_table(
        root,
        "path,label,modality,split,patient,group,mask",
        "a.png,yes,MRI,validation,p1,g1,m.png",
        "b.png,no,ct,,,,",
    )
    first, second = read_cases(root)
    assert (first.label, first.split) == ("mri_tumor", "val")
    assert (first.patient, first.group) == ("p1", "g1")
    assert first.mask == root / "m.png"
    assert (second.label, second.split, second.patient, second.group, second.mask) == (
        "ct_healthy", None, None, None, None,
    )  # fmt: skip


def test_a_table_may_be_named_itself_instead_of_its_folder(tmp_path):
    root = make_table(make_files(tmp_path / "set", "a.png"), "path,label", "a.png,glioma")
    assert read_cases(root / "cases.csv") == read_cases(root)


def test_a_table_wins_over_the_folders_beside_it(tmp_path):
    root = make_files(tmp_path / "set", "yes/a.png", "zebra/b.png")
    make_table(root, "path,label", "yes/a.png,pituitary")
    assert [case.label for case in read_cases(root)] == ["mri_pituitary"]


def test_a_table_with_a_byte_order_mark_is_read(tmp_path):
    root = make_table(
        make_files(tmp_path / "set", "a.png"), "path,label", "a.png,yes", encoding="utf-8-sig"
    )
    assert read_cases(root)[0].label == "tumor"


def test_spaces_around_the_values_of_a_table_do_not_count(tmp_path):
    root = make_table(
        make_files(tmp_path / "set", "a.png"), "path,label,patient", " a.png , yes , "
    )
    assert (read_cases(root)[0].label, read_cases(root)[0].patient) == ("tumor", None)


@pytest.mark.parametrize("header", ["label,patient", "path,patient", "file,class"])
def test_a_table_without_a_needed_column_names_it(tmp_path, header):
    root = make_table(tmp_path / "set", header, "a,b")
    missing = sorted({"path", "label"} - set(header.split(",")))
    with pytest.raises(CasesError, match=f"has no column {', '.join(missing)}"):
        read_cases(root)


@pytest.mark.parametrize("text", ["path,label\n", "path,label,patient", ""])
def test_a_table_without_rows_says_that_it_holds_none(tmp_path, text):
    root = make_files(tmp_path / "set", "a.png")
    (root / "cases.csv").write_text(text)
    with pytest.raises(CasesError, match="holds no rows"):
        read_cases(root)


def test_a_table_that_is_not_utf8_is_an_error_that_says_so(tmp_path):
    root = make_files(tmp_path / "set", "a.png")
    (root / "cases.csv").write_bytes("path,label\na.png,yes\nJosé.png,no\n".encode("latin-1"))
    with pytest.raises(CasesError, match="not CSV in UTF-8"):
        read_cases(root)


def test_a_table_with_an_oversized_field_is_an_error_a_user_can_read(tmp_path):
    root = make_table(tmp_path / "set", "path,label", f"{'a' * 200_000}.png,yes")
    with pytest.raises(CasesError):
        read_cases(root)


def test_missing_files_are_counted_and_the_first_is_named(tmp_path):
    root = make_files(tmp_path / "set", "a.png")
    make_table(root, "path,label", "a.png,yes", "lost1.png,yes", "lost2.png,no")
    with pytest.raises(CasesError, match=r"lists 2 files that do not exist, first .*lost1\.png"):
        read_cases(root)


def test_one_error_lists_every_unknown_class_with_its_count(tmp_path):
    root = make_files(
        tmp_path / "set", "yes/a.png", "zebra/1.png", "zebra/2.png", "zebra/3.png", "horse/1.png"
    )
    with pytest.raises(UnknownLabelError) as caught:
        read_cases(root)
    assert "zebra (3), horse (1)" in str(caught.value)
    assert "yes (" not in str(caught.value)
    assert "glioma_tumor" in caught.value.fix, "the known names are listed"


@pytest.mark.parametrize(
    ("column", "value"), [("modality", "MR"), ("modality", "pet"), ("split", "fold1")]
)
def test_a_value_of_a_table_that_is_not_known_is_named_with_the_known_ones(tmp_path, column, value):
    root = make_files(tmp_path / "set", "a.png", "b.png")
    make_table(root, f"path,label,{column}", f"a.png,yes,{value}", "b.png,no,")
    with pytest.raises(CasesError, match=f"unknown values of {column}: {value.lower()}") as caught:
        read_cases(root)
    assert "mri" in caught.value.fix or "train" in caught.value.fix


def test_a_mask_that_is_not_there_is_an_error(tmp_path):
    root = make_table(make_files(tmp_path / "set", "a.png"), "path,label,mask", "a.png,yes,m.png")
    with pytest.raises(CasesError, match=r"1 file that does not exist, first m\.png in row 2"):
        read_cases(root)


def test_a_row_without_a_path_is_an_error(tmp_path):
    root = make_table(make_files(tmp_path / "set", "a.png"), "path,label", "a.png,yes", ",no")
    with pytest.raises(CasesError):
        read_cases(root)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CasesError, match=r"nowhere: does not exist\. Check the path\."):
        read_cases(tmp_path / "nowhere")


@pytest.mark.parametrize("inside", [[], ["yes"], ["train/yes"]])
def test_a_folder_without_scans_is_an_error_that_names_the_layouts(tmp_path, inside):
    for name in inside:
        (tmp_path / "set" / name).mkdir(parents=True)
    (tmp_path / "set").mkdir(exist_ok=True)
    with pytest.raises(CasesError, match="holds no labeled scans") as caught:
        read_cases(tmp_path / "set")
    assert "cases.csv" in caught.value.fix


@pytest.mark.parametrize("name", ["pred", "Pred", "unlabeled", "unlabelled", ".hidden"])
def test_unlabeled_folders_are_passed_over(tmp_path, name):
    make_files(tmp_path / "set", "yes/a.png", f"{name}/b.png")
    assert [case.key for case in read_cases(tmp_path / "set")] == ["set/yes/a.png"]


def test_yes_is_an_mri_tumor_where_the_registry_says_that_the_set_is_mri(tmp_path):
    cases = read_cases(make_files(tmp_path / MRI_SET, "yes/a.png", "no/b.png"))
    assert {case.key: case.label for case in cases} == {
        f"{MRI_SET}/yes/a.png": "mri_tumor",
        f"{MRI_SET}/no/b.png": "mri_healthy",
    }


def test_yes_stays_open_to_both_modalities_in_a_folder_that_is_not_known(tmp_path):
    cases = read_cases(make_files(tmp_path / "mine", "yes/a.png", "no/b.png"))
    assert {case.label for case in cases} == {"tumor", "healthy"}


def test_several_folders_make_one_list_in_the_order_given(tmp_path):
    one = make_files(tmp_path / "one", "yes/a.png")
    two = make_files(tmp_path / "two", "no/a.png")
    assert [case.key for case in read_cases([two, one])] == ["two/no/a.png", "one/yes/a.png"]


def test_a_folder_given_twice_is_an_error_that_names_the_first_double(tmp_path):
    root = make_files(tmp_path / "one", "yes/a.png", "yes/b.png")
    with pytest.raises(CasesError, match=re.escape("2 cases are named twice, first one/yes/a.png")):
        read_cases([root, root])


def test_two_sets_of_one_folder_name_and_one_file_name_are_refused(tmp_path):
    one = make_files(tmp_path / "a" / "scans", "yes/1.png")
    two = make_files(tmp_path / "b" / "scans", "yes/1.png")
    with pytest.raises(CasesError, match="different names"):
        read_cases([one, two])


def test_a_row_listed_twice_in_one_table_is_refused(tmp_path):
    root = make_table(make_files(tmp_path / "set", "a.png"), "path,label", "a.png,yes", "a.png,no")
    with pytest.raises(CasesError, match="named twice"):
        read_cases(root)


def test_written_cases_read_back_the_same(tmp_path):
    root = make_files(tmp_path / "set", "a.png", "b.png", "deep/c.png", "m.png")
    make_table(
        root,
        "path,label,modality,split,patient,group,mask",
        "a.png,yes,mri,test,p1,,m.png",
        "b.png,no,,,,g2,",
        "deep/c.png,ct_tumor,,train,,,",
    )
    before = read_cases(root)
    write_cases(before, root / "cases.csv")
    after = read_cases(root)
    without_paths = [(c.key, c.label, c.dataset, c.split, c.patient, c.group) for c in after]
    assert without_paths == [
        (c.key, c.label, c.dataset, c.split, c.patient, c.group) for c in before
    ]
    assert [c.path.resolve() for c in after] == [c.path.resolve() for c in before]
    assert after[0].mask
    assert after[0].mask.resolve() == (root / "m.png").resolve()


def test_written_paths_are_relative_to_the_table_so_that_the_folder_can_move(tmp_path):
    root = make_files(tmp_path / "set", "yes/a.png", "no/b.png")
    write_cases(read_cases(root), root / "cases.csv")
    with (root / "cases.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["no/b.png", "yes/a.png"]
    moved = root.rename(tmp_path / "moved")
    assert all(case.path.is_file() for case in read_cases(moved))


def test_a_table_written_elsewhere_still_finds_its_files(tmp_path):
    root = make_files(tmp_path / "set", "yes/a.png")
    write_cases(read_cases(root), tmp_path / "tables" / "cases.csv")
    [case] = read_cases(tmp_path / "tables")
    assert case.path.resolve() == (root / "yes/a.png").resolve()
    assert case.label == "tumor"


def test_writing_leaves_no_partial_file(tmp_path):
    root = make_files(tmp_path / "set", "yes/a.png")
    write_cases(read_cases(root), root / "cases.csv")
    assert sorted(path.name for path in root.iterdir()) == ["cases.csv", "yes"]


# --- scans without a label ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pred", "Pred", "unlabeled", "unlabelled"])
@pytest.mark.parametrize("folder", ["", "test/"])
def test_unlabeled_folders_are_listed_where_that_is_asked(tmp_path, name, folder):
    make_files(tmp_path / "set", f"{folder}yes/a.png", f"{folder}{name}/b.png")
    found = {case.key: case.label for case in read_cases(tmp_path / "set", unlabeled=True)}
    assert found == {f"set/{folder}yes/a.png": "tumor", f"set/{folder}{name}/b.png": "unlabeled"}


def test_an_unlabeled_scan_keeps_its_part(tmp_path):
    make_files(tmp_path / "set", "Testing/pred/b.png")
    [case] = read_cases(tmp_path / "set", unlabeled=True)
    assert (case.split, case.label) == ("test", "unlabeled")


def test_a_set_without_labels_is_one_only_where_that_is_asked(tmp_path):
    root = make_files(tmp_path / "set", "pred/a.png")
    with pytest.raises(CasesError, match="holds no labeled scans"):
        read_cases(root)
    assert len(read_cases(root, unlabeled=True)) == 1


def test_unlabeled_stays_so_in_a_set_of_one_modality(tmp_path):
    root = make_files(tmp_path / MRI_SET, "yes/a.png", "pred/b.png")
    labels = [case.label for case in read_cases(root, unlabeled=True)]
    assert labels == ["unlabeled", "mri_tumor"]


def test_hidden_folders_and_unknown_classes_are_what_they_were(tmp_path):
    make_files(tmp_path / "set", "yes/a.png", ".pred/b.png")
    assert len(read_cases(tmp_path / "set", unlabeled=True)) == 1
    make_files(tmp_path / "set", "zebra/c.png")
    with pytest.raises(UnknownLabelError, match="zebra"):
        read_cases(tmp_path / "set", unlabeled=True)


def test_files_that_a_table_names_outside_of_its_folder_are_told(tmp_path, write_image, head):
    for name in ("set/in.png", "out.png", "set/sub/../in2.png"):
        (tmp_path / "set/sub").mkdir(parents=True, exist_ok=True)
        write_image(head, name)
    rows = ["in.png,yes", "../out.png,yes", f"{tmp_path / 'out.png'},no", "sub/../in2.png,no"]
    (tmp_path / "set/cases.csv").write_text("\n".join(["path,label", *rows]))
    found = read_set(tmp_path / "set")
    assert len(found.cases) == 4
    assert [path.name for path in found.outside] == ["out.png", "out.png"]
