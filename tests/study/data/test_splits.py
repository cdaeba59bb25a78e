"""Parts that share no picture and no patient, and a file that says so."""

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tumorlens.errors import LeakError, SplitError
from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import group_cases, group_links
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.splits import COLUMNS, PARTS, Groups
from tumorlens.study.phantom import draw_phantom


def make_cases(labels: list[str], **changes) -> list[Case]:
    return [
        Case(path=Path(f"set/{i}.png"), key=f"set/{i}.png", label=label, dataset="set", **changes)
        for i, label in enumerate(labels)
    ]


def alone(n: int) -> Groups:
    """Every case its own group and picture."""
    return Groups(np.arange(n), np.arange(n))


@st.composite
def grouped_cases(draw) -> tuple[list[Case], Groups]:
    """Two to four labels, 25 to 45 groups each, one to four cases a group."""
    labels, numbers = [], []
    for label in ("ct_healthy", "ct_tumor", "mri_healthy", "mri_tumor")[: draw(st.integers(2, 4))]:
        for size in draw(st.lists(st.integers(1, 4), min_size=25, max_size=45)):
            numbers += [max(numbers, default=-1) + 1] * size
            labels += [label] * size
    groups = np.array(numbers)
    return make_cases(labels), Groups(groups, groups)


quickly = settings(max_examples=6)
seeds = st.integers(0, 5)


@quickly
@given(made=grouped_cases(), seed=seeds)
def test_cases_of_one_group_never_part(made, seed):
    cases, groups = made
    parts = splits.split_cases(cases, groups, seed=seed)
    of_group = {(g, part) for g, part in zip(groups.groups.tolist(), parts, strict=True)}
    assert len(of_group) == len(set(groups.groups.tolist()))


@quickly
@given(made=grouped_cases(), seed=seeds)
def test_every_case_gets_one_of_the_three_parts(made, seed):
    parts = splits.split_cases(*made, seed=seed)
    assert len(parts) == len(made[0])
    assert set(parts) == set(PARTS)


@quickly
@given(made=grouped_cases(), seed=seeds, test=st.sampled_from([0.1, 0.2, 0.3]),
       val=st.sampled_from([0.1, 0.2]))  # fmt: skip
def test_shares_come_near_the_wish(made, seed, test, val):
    parts = Counter(splits.split_cases(*made, test=test, val=val, seed=seed))
    n = len(made[0])
    assert parts["test"] / n == pytest.approx(test, abs=0.06)
    assert parts["val"] / n == pytest.approx(val, abs=0.07)


@quickly
@given(made=grouped_cases(), seed=seeds)
def test_every_label_stands_in_every_part(made, seed):
    cases, groups = made
    parts = splits.split_cases(cases, groups, seed=seed)
    found = {(case.label, part) for case, part in zip(cases, parts, strict=True)}
    assert found == {(label, part) for label in {c.label for c in cases} for part in PARTS}


@quickly
@given(made=grouped_cases(), seed=seeds)
def test_the_same_seed_gives_the_same_split_and_another_seed_another(made, seed):
    first = splits.split_cases(*made, seed=seed)
    assert first == splits.split_cases(*made, seed=seed)
    assert first != splits.split_cases(*made, seed=seed + 1)


@pytest.mark.parametrize("n", [100, 200])
def test_the_default_shares_are_met_where_every_case_stands_alone(n):
    cases = make_cases(["mri_healthy", "mri_tumor"] * (n // 2))
    parts = Counter(splits.split_cases(cases, alone(n)))
    assert parts["test"] / n == pytest.approx(0.15, abs=0.02)
    assert parts["val"] / n == pytest.approx(0.15, abs=0.02)


def test_without_validation_all_the_rest_trains():
    cases = make_cases(["mri_healthy", "mri_tumor"] * 40)
    assert set(splits.split_cases(cases, alone(80), val=0)) == {"train", "test"}


@pytest.mark.parametrize("share", [(0, 0.1), (1, 0), (0.5, 0.5), (-0.1, 0.1), (0.2, -0.1),
                                   (float("nan"), 0.1)])  # fmt: skip
def test_shares_that_cannot_be_taken_are_refused(share):
    test, val = share
    with pytest.raises(SplitError, match="cannot be taken"):
        splits.split_cases(make_cases(["tumor", "healthy"] * 40), alone(80), test=test, val=val)


@pytest.mark.parametrize("share", [(0.95, 0.0), (0.95, 0.02), (0.02, 0.95), (0.49, 0.5)])
def test_extreme_shares_are_refused_or_leave_something_to_train_on(share):
    test, val = share
    cases = make_cases(["mri_tumor", "mri_healthy"] * 40)
    try:
        parts = splits.split_cases(cases, alone(80), test=test, val=val)
    except SplitError:
        return
    assert set(parts) == ({"train", "val", "test"} if val else {"train", "test"})


def test_a_label_with_two_groups_is_refused_by_name():
    cases = make_cases(["mri_tumor"] * 30 + ["mri_healthy"] * 6)
    numbers = np.array([*range(30), 40, 40, 40, 41, 41, 41])
    with pytest.raises(SplitError, match=r"set/mri_healthy: has 2 independent groups, too few"):
        splits.split_cases(cases, Groups(numbers, numbers))


@pytest.mark.parametrize("each", [3, 4, 5, 8, 9])
def test_few_groups_are_refused_clearly_or_split_into_three_parts(each):
    cases = make_cases(["mri_tumor"] * each + ["mri_healthy"] * each)
    try:
        parts = splits.split_cases(cases, alone(2 * each))
    except SplitError:
        return
    assert set(parts) == set(PARTS)


@pytest.mark.parametrize("groups", range(3, 11))
@pytest.mark.parametrize("seed", range(3))
def test_three_groups_a_label_suffice_for_three_parts(groups, seed):
    """However many cases each has; a label with fewer is refused."""
    cases = make_cases(["mri_tumor"] * (7 * groups) + ["mri_healthy"] * (7 * groups))
    numbers = np.repeat(np.arange(2 * groups), 7)
    parts = splits.split_cases(cases, Groups(numbers, numbers), seed=seed)
    found = {(case.label, part) for case, part in zip(cases, parts, strict=True)}
    assert found == {(label, part) for label in ("mri_tumor", "mri_healthy") for part in PARTS}


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Thirty heads of two labels; the first three have a mirrored copy."""
    root = tmp_path_factory.mktemp("heads") / "heads"
    for label, finding in (("mri_healthy", "healthy"), ("mri_glioma", "glioma")):
        for seed in range(15):
            pixels = draw_phantom("mri", finding, seed=seed + 100 * (finding == "glioma")).pixels
            write_picture(root / label / f"{seed:02}.png", pixels)
            if label == "mri_healthy" and seed < 3:
                write_picture(root / label / f"{seed:02}_copy.png", np.fliplr(pixels))
    return root


def numbers_of(cases: list[Case], found: np.ndarray, *names: str) -> list[int]:
    where = {case.path.stem + case.label: i for i, case in enumerate(cases)}
    return [int(found[where[name]]) for name in names]


def test_copies_share_a_group_and_a_picture(folder):
    cases = read_cases(folder)
    found = group_cases(cases)
    for pair in (("00mri_healthy", "00_copymri_healthy"), ("02mri_healthy", "02_copymri_healthy")):
        assert len(set(numbers_of(cases, found.groups, *pair))) == 1
        assert len(set(numbers_of(cases, found.image_ids, *pair))) == 1
    assert len(set(found.image_ids.tolist())) == len(cases) - 3


def test_slices_of_one_patient_share_a_group_but_no_picture(folder):
    cases = read_cases(folder)
    cases = [replace(c, patient="p7") if c.path.stem in ("05", "06") else c for c in cases]
    found = group_cases(cases)
    four = ["05mri_healthy", "06mri_healthy", "05mri_glioma", "06mri_glioma"]
    assert len(set(numbers_of(cases, found.groups, *four))) == 1
    assert len(set(numbers_of(cases, found.image_ids, *four))) == 4


def test_given_groups_patients_and_copies_chain_together(folder):
    changes = {
        "00_copymri_healthy": {"patient": "p"},
        "07mri_glioma": {"patient": "p", "group": "g"},
        "08mri_glioma": {"group": "g"},
    }
    cases = [replace(c, **changes.get(c.path.stem + c.label, {})) for c in read_cases(folder)]
    found = group_cases(cases)
    assert len(set(numbers_of(cases, found.groups, "00mri_healthy", *changes))) == 1
    assert len(set(numbers_of(cases, found.groups, "08mri_glioma", "09mri_glioma"))) == 2


def test_a_patient_and_a_group_of_the_same_name_are_different_things(folder):
    cases = read_cases(folder)
    cases = [
        replace(c, patient="7") if c.path.stem == "05" and c.label == "mri_glioma"
        else replace(c, group="7") if c.path.stem == "06" and c.label == "mri_glioma" else c
        for c in cases
    ]  # fmt: skip
    found = group_cases(cases)
    assert len(set(numbers_of(cases, found.groups, "05mri_glioma", "06mri_glioma"))) == 2


def test_the_same_patient_number_in_two_sets_is_two_patients(folder):
    cases = [replace(c, patient="1") for c in read_cases(folder)[-2:]]
    cases[1] = replace(cases[1], dataset="another")
    assert len(set(group_cases(cases).groups.tolist())) == 2


@pytest.fixture
def made(tmp_path) -> tuple[list[Case], list[str], Groups, Path]:
    cases = make_cases(["mri_healthy", "mri_tumor"] * 20, patient="p")
    groups = alone(40)
    parts = splits.split_cases(cases, groups)
    out = tmp_path / "deep" / "split.csv"
    splits.write_split(out, cases, parts, groups=groups)
    return cases, parts, groups, out


def test_a_split_file_gives_back_parts_groups_and_pictures(made):
    cases, parts, groups, out = made
    found = splits.read_split(out)
    assert found.parts == {c.key: part for c, part in zip(cases, parts, strict=True)}
    assert found.groups == {c.key: f"g{g:05d}" for c, g in zip(cases, groups.groups, strict=True)}
    assert found.image_ids == {
        c.key: f"p{g:05d}" for c, g in zip(cases, groups.groups, strict=True)
    }
    assert len(found.fingerprint) == 16


def test_the_first_columns_of_a_split_file_are_path_and_split(made):
    with made[3].open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert header[:2] == ["path", "split"]
    assert len(rows) == 40
    assert [path.name for path in made[3].parent.iterdir()] == ["split.csv"], "nothing partial"


def test_the_order_of_the_cases_does_not_change_the_fingerprint(made, tmp_path):
    cases, parts, groups, out = made
    turned = splits.write_split(
        tmp_path / "turned.csv", cases[::-1], parts[::-1],
        groups=Groups(groups.groups[::-1], groups.image_ids[::-1]),
    )  # fmt: skip
    assert turned.fingerprint == splits.read_split(out).fingerprint


@pytest.mark.parametrize("column", ["split", "label", "group", "image_id", "patient", "case",
                                    "fingerprint"])  # fmt: skip
def test_an_edited_file_is_refused(made, column):
    out = made[3]
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[3][column] = "train" if rows[3][column] == "test" else "test"
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(SplitError, match="was edited"):
        splits.read_split(out)


def test_a_split_file_of_the_last_version_is_read(made):
    read = splits.read_split(made[3])
    made[3].write_text(made[3].read_text().replace(",image_id,", ",picture,"))
    assert splits.read_split(made[3]) == read


def test_a_file_with_a_row_taken_out_is_refused(made):
    lines = made[3].read_text().splitlines(keepends=True)
    made[3].write_text("".join(lines[:5] + lines[6:]))
    with pytest.raises(SplitError, match="was edited"):
        splits.read_split(made[3])


@pytest.mark.parametrize(
    "text",
    ["path,label\na.png,yes\n", ",".join(COLUMNS) + "\n", ",".join(COLUMNS) + "\na,b\n", "", "\n"],
    ids=["other columns", "no rows", "short row", "empty", "blank line"],
)
def test_a_file_that_is_no_split_file_is_refused(tmp_path, text):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(SplitError, match="split file"):
        splits.read_split(tmp_path / "split.csv")


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00", b'"' + b"a" * 200_000])
def test_a_file_that_cannot_be_read_as_a_table_is_refused(tmp_path, data):
    if data is not None:
        (tmp_path / "split.csv").write_bytes(data)
    with pytest.raises(SplitError):
        splits.read_split(tmp_path / "split.csv")


def test_a_split_finds_its_cases_wherever_the_folder_is_mounted(folder, tmp_path, monkeypatch):
    cases = read_cases(folder)
    groups = group_cases(cases)
    parts = splits.split_cases(cases, groups)
    splits.write_split(tmp_path / "split.csv", cases, parts, groups=groups)
    shutil.copytree(folder, tmp_path / "elsewhere" / "heads")
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = splits.apply_split(read_cases("heads"), splits.read_split(Path("../split.csv")))
    assert [case.split for case in found] == parts
    assert all(not case.path.is_absolute() and case.path.is_file() for case in found)


def test_cases_that_the_split_does_not_name_are_left_out(made):
    cases, _, _, out = made
    more = [*cases, replace(cases[0], key="set/new.png")]
    assert len(splits.apply_split(more, splits.read_split(out))) == len(cases)


def test_a_split_of_other_folders_is_refused(made):
    other = [replace(case, key=f"other/{case.key}") for case in made[0]]
    with pytest.raises(SplitError, match="names none of the 40 cases"):
        splits.apply_split(other, splits.read_split(made[3]))


@pytest.fixture
def leaking(tmp_path) -> tuple[list[Case], splits.Split]:
    """Test cases 4 and 5; case 4 has a copy in training, case 5 a neighbor in validation."""
    cases = make_cases(["mri_healthy", "mri_tumor", "mri_healthy", "mri_healthy", "mri_healthy",
                        "mri_tumor", "mri_tumor"])  # fmt: skip
    groups = np.array([0, 1, 2, 3, 0, 1, 6])
    parts = ["train", "val", "train", "val", "test", "test", "test"]
    split = splits.write_split(
        tmp_path / "s.csv", cases, parts, groups=Groups(groups, np.arange(7))
    )
    return cases, split


def test_a_leaking_split_is_refused_with_its_counts(leaking):
    with pytest.raises(LeakError, match="2 of 3 test cases") as caught:
        splits.apply_split(*leaking)
    assert "--allow-leaks" in caught.value.fix


def test_a_leak_into_validation_alone_is_refused_too(tmp_path):
    cases = make_cases(["mri_healthy"] * 3)
    groups = np.array([0, 1, 1])
    parts = ["train", "val", "test"]
    split = splits.write_split(tmp_path / "s.csv", cases, parts, groups=Groups(groups, groups))
    with pytest.raises(LeakError, match="1 of 1 test cases"):
        splits.apply_split(cases, split)


def test_a_leaking_split_is_applied_where_that_is_allowed(leaking):
    found = splits.apply_split(*leaking, allow_leaks=True)
    assert [case.split for case in found].count("test") == 3
    assert found[4].group == found[0].group


def test_leaks_are_counted_by_label():
    labels = ["a", "b", "a", "a", "b", "a", "b"]
    parts = ["train", "train", "val", "test", "test", "test", "test"]
    groups = ["t", "u", "v", "t", "v", "w", "u"]
    counted = {
        leak.label: (leak.n, leak.in_train, leak.in_train_or_val)
        for leak in splits.find_leaks(labels, parts, groups)
    }
    assert counted == {"all": (4, 2, 3), "a": (2, 1, 1), "b": (2, 1, 2)}


def test_the_share_of_a_leak_counts_training_and_validation():
    parts, groups = ["train", "val", *["test"] * 8], [0, 1, 0, 1, *range(2, 8)]
    assert splits.find_leaks(["x"] * 10, parts, groups)[0].share == 0.25
    assert splits.find_leaks(["x"], ["train"], [0])[0].share == 0.0


def test_leaks_of_a_file_are_those_of_all_its_labels(leaking):
    leak = splits.leaks_of(leaking[1])
    assert (leak.n, leak.in_train, leak.in_train_or_val) == (3, 1, 2)


def test_published_parts_are_those_of_the_cases():
    cases = [replace(c, split=s) for c, s in zip(make_cases(["tumor"] * 3), PARTS, strict=True)]
    assert splits.published_parts(cases) == list(PARTS)


@pytest.mark.parametrize("split", [None, "fold1"])
def test_published_parts_need_a_known_part_for_every_case(split):
    cases = [replace(case, split="train") for case in make_cases(["tumor"] * 4)]
    cases[1:3] = [replace(case, split=split) for case in cases[1:3]]
    with pytest.raises(SplitError, match=r"set/1\.png: and 1 more cases publish no split"):
        splits.published_parts(cases)


@settings(max_examples=30)
@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    parts=st.data(),
)
def test_no_leak_is_counted_exactly_where_no_group_parts(groups, parts):
    chosen = [parts.draw(st.sampled_from(PARTS)) for _ in groups]
    assume("test" in chosen)
    sides: dict[int, set[bool]] = {}
    for group, part in zip(groups, chosen, strict=True):
        sides.setdefault(group, set()).add(part == "test")
    whole = splits.find_leaks(["x"] * len(groups), chosen, groups)[0]
    assert (whole.in_train_or_val == 0) == all(len(found) == 1 for found in sides.values())


def test_with_groups_writes_the_number_of_the_group():
    cases = splits.with_groups(make_cases(["tumor"] * 2), Groups(np.array([7, 7]), np.arange(2)))
    assert [case.group for case in cases] == ["g00007", "g00007"]


# --- what the search found, in the split file -----------------------------------------------


def audit_in(path: Path, cases: list[Case]) -> str:
    """Write a split of cases by their own groups, and give its column `audit`."""
    groups = group_links(cases, [])
    parts = ["train"] * len(cases)
    return splits.write_split(path, cases, parts, groups=groups).audit


def test_the_column_audit_is_the_same_for_another_order_and_mount_place(tmp_path):
    cases = [
        replace(case, patient=f"p{i // 2}") for i, case in enumerate(make_cases(["tumor"] * 6))
    ]
    first = audit_in(tmp_path / "a.csv", cases)
    moved = [replace(case, path=Path("/elsewhere") / case.path) for case in reversed(cases)]
    assert audit_in(tmp_path / "b.csv", moved) == first
    with (tmp_path / "a.csv").open(newline="") as file:
        assert {row["audit"] for row in csv.DictReader(file)} == {first}
    assert len(first) == 16


def test_the_column_audit_is_another_where_groups_differ(tmp_path):
    cases = make_cases(["tumor"] * 4)
    joined = [replace(case, patient="p") if i < 2 else case for i, case in enumerate(cases)]
    assert audit_in(tmp_path / "a.csv", cases) != audit_in(tmp_path / "b.csv", joined)


def test_another_audit_is_another_fingerprint_of_the_split(tmp_path):
    cases = make_cases(["tumor"] * 3)
    one, two = (
        splits.write_split(
            tmp_path / f"{name}.csv", cases, PARTS, groups=replace(alone(3), audit=name)
        )
        for name in ("aaaa", "bbbb")
    )
    assert one.fingerprint != two.fingerprint
    assert (one.audit, two.audit) == ("aaaa", "bbbb")


# --- the parts of any table -----------------------------------------------------------------


def table_of(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding=encoding)
    return path


def test_parts_of_a_split_file_are_found_by_case(made):
    cases, parts, _, path = made
    moved = [replace(case, path=Path("/elsewhere/x.png")) for case in reversed(cases)]
    assert splits.parts_in(path, moved) == list(reversed(parts))


@pytest.mark.parametrize(
    ("word", "part"),
    [("train", "train"), ("Training", "train"), (" valid ", "val"), ("VALIDATION", "val"),
     ("testing", "test")],
)  # fmt: skip
def test_parts_may_have_their_usual_names(tmp_path, monkeypatch, word, part):
    monkeypatch.chdir(tmp_path)
    table = table_of(tmp_path / "t.csv", "path,split", f"set/0.png,{word}")
    assert splits.parts_in(table, make_cases(["tumor", "tumor"])) == [part, ""]


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("t.csv", "set/1.png"),
        ("t.csv", "./set/../set/1.png"),
        ("t.csv", "{here}/set/1.png"),
        ("set/t.csv", "1.png"),
        ("deep/er/t.csv", "../../set/1.png"),
    ],
)
def test_paths_are_tried_from_here_and_from_the_folder_of_the_table(
    tmp_path, monkeypatch, table, path
):
    monkeypatch.chdir(tmp_path)
    made_table = table_of(
        tmp_path / table, "label,path,split", f"yes,{path.format(here=tmp_path)},test"
    )
    assert splits.parts_in(made_table, make_cases(["tumor"] * 3)) == ["", "test", ""]


def test_a_case_goes_before_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ("case,path,split", "set/0.png,elsewhere.png,test", "other/1.png,set/1.png,val")
    table = table_of(tmp_path / "t.csv", *rows)
    assert splits.parts_in(table, make_cases(["tumor"] * 2)) == ["test", "val"]


def test_a_table_with_a_byte_order_mark_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = table_of(tmp_path / "t.csv", "path,split", "set/0.png,val", encoding="utf-8-sig")
    assert splits.parts_in(table, make_cases(["tumor"])) == ["val"]


def test_rows_that_are_too_short_name_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = table_of(tmp_path / "t.csv", "path,split", "set/0.png", "", "set/1.png,test")
    assert splits.parts_in(table, make_cases(["tumor"] * 2)) == ["", "test"]


@pytest.mark.parametrize(
    "rows",
    [("path,part", "set/0.png,test"), ("file,split", "set/0.png,test"), ("path,split",), ("",)],
)
def test_a_table_without_the_columns_or_rows_is_refused(tmp_path, rows):
    with pytest.raises(SplitError, match="has not the columns path"):
        splits.parts_in(table_of(tmp_path / "t.csv", *rows), make_cases(["tumor"]))


def test_a_table_that_names_none_of_the_cases_is_refused(tmp_path):
    table = table_of(tmp_path / "t.csv", "path,split", "elsewhere/0.png,test")
    with pytest.raises(SplitError, match="names none of the 2 files given"):
        splits.parts_in(table, make_cases(["tumor"] * 2))


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_table_that_cannot_be_read_is_refused(tmp_path, name):
    with pytest.raises(SplitError, match="cannot be read as a table"):
        splits.parts_in(tmp_path / name, make_cases(["tumor"]))


def test_a_picture_instead_of_a_table_is_refused(tmp_path, head):
    path = write_picture(tmp_path / "x.png", head)
    with pytest.raises(SplitError, match="cannot be read as a table"):
        splits.parts_in(path, make_cases(["tumor"]))


def test_a_source_left_out_goes_to_test_with_all_that_belongs_with_it():
    cases = [
        Case(Path(f"{name}.png"), f"{name}/{i}.png", "mri_healthy", name)
        for name in ("ours", "theirs")
        for i in range(3)
    ]
    groups = Groups(np.array([0, 1, 2, 2, 3, 4]), np.arange(6))
    parts = splits.leave_out(cases, ["train"] * 6, groups, ["theirs/*"])
    assert parts == ["train", "train", "test", "test", "test", "test"]
    with pytest.raises(SplitError, match="matches no case"):
        splits.leave_out(cases, ["train"] * 6, groups, ["nobody/*"])
