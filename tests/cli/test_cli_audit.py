"""`tumorlens audit`, and `tumorlens split --audit`: what they print, write and how they end."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.command import Ended, Run, command_runner
from support.command import ended as ended_command
from support.planted import ARTIST, BURNED, head_of, plant, write

from tumorlens.models.bundle import Bundle
from tumorlens.outputs import MARK
from tumorlens.study.data.splits import read_split

TABLES = (
    "groups.csv", "pairs.csv", "conflicts.csv", "label_check.csv", "text.csv", "files.csv",
)  # fmt: skip
OUT = "deep/out"


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, cache, tiny_bundle: Bundle) -> Run:
    """Run `tumorlens ...` in this process and an empty folder, with a tiny bundle by default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUMORLENS_CACHE", str(cache))
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    return command_runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    plant(root)
    return root


@pytest.fixture(scope="module")
def audited_sets(planted, cache, tiny_bundle: Bundle) -> tuple[Path, Ended]:
    """Where the planted sets were audited into `deep/out`, named relative to it, and the end."""
    said = {"TUMORLENS_CACHE": str(cache), "TUMORLENS_BUNDLE": str(tiny_bundle.folder)}
    return planted, ended_command(["audit", "hospital", "register", "--out", OUT], planted, said)


@pytest.fixture
def sets(planted, tmp_path) -> tuple[str, str]:
    """The planted sets in the working folder, named relative to it."""
    for name in ("hospital", "register"):
        shutil.copytree(planted / name, tmp_path / name)
    return "hospital", "register"


@pytest.fixture
def clean(tmp_path) -> str:
    """A set whose published split shares nothing."""
    for number in range(4):
        write(tmp_path / f"clean/{('train', 'test')[number % 2]}/yes/{number}.png", head_of(number))
    return "clean"


def rows_of(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def audit_json(out: str | Path) -> dict:
    return json.loads(Path(out, "audit.json").read_text(encoding="utf-8"))


def is_one_error_line(ended: Ended) -> bool:
    lines = ended.err.strip().splitlines()
    return ended.status == 2 and len(lines) == 1 and lines[0].startswith("error: ")


def test_a_leaking_split_ends_with_status_1_and_everything_written(audited_sets):
    folder, ended = audited_sets
    assert ended.status == 1
    assert ended.out == f"{OUT}/audit.html\n"
    assert {p.name for p in (folder / OUT).iterdir()} == {
        *TABLES, "audit.json", "audit.html", "images", MARK,
    }  # fmt: skip
    assert "1 of 29 scans could not be read" in ended.err
    assert "29 files, 24 distinct images, 23 independent groups; 1 unreadable" in ended.err
    assert "contradictory labels 1, refining 1; files with burned-in text 1" in ended.err
    assert "test tumors with a known patient 1, of them with that patient in train 1" in ended.err
    assert "The split leaks: 33.3% of its 6 test files" in ended.err


def test_allowing_the_leak_ends_well_and_says_the_same(run, sets, audited_sets):
    refused = audited_sets[1]
    allowed = run("audit", *sets, "--out", "two", "--allow")
    assert (refused.status, allowed.status) == (1, 0)
    assert allowed.err == refused.err


def test_a_clean_split_ends_well(run, clean):
    ended = run("audit", clean, "--out", "out")
    assert ended.status == 0
    assert "The split does not leak: none of its 2 test files" in ended.err


def test_a_set_without_a_split_ends_well_whatever_it_holds(run):
    for name in "ab":
        write(Path(f"set/yes/{name}.png"), head_of(0))
    ended = run("audit", "set", "--out", "out")
    assert ended.status == 0
    assert "2 files are 1 images in 1 independent groups; no split was given" in ended.err


def test_paths_stand_in_the_tables_as_they_were_given(audited_sets, monkeypatch):
    monkeypatch.chdir(audited_sets[0])
    paths = [row["path"] for row in rows_of(f"{OUT}/groups.csv")]
    assert len(set(paths)) == 29
    assert all(path.startswith(("hospital/", "register/")) for path in paths)
    assert all(Path(path).is_file() for path in paths)
    pairs = {end for row in rows_of(f"{OUT}/pairs.csv") for end in (row["a"], row["b"])}
    assert pairs <= set(paths)


@pytest.mark.parametrize("given", ["./hospital", "{here}/hospital", "hospital/../hospital"])
def test_a_folder_keeps_the_way_it_was_written(run, sets, tmp_path, given):
    folder = given.format(here=tmp_path)
    run("audit", folder, "--out", "out")
    paths = [row["path"] for row in rows_of("out/groups.csv")]
    assert len(paths) == 26
    assert all(path.startswith(str(Path(folder))) for path in paths)


def test_nothing_personal_reaches_any_output_or_the_terminal(audited_sets):
    folder, ended = audited_sets
    files = (folder / OUT).glob("*.*")
    texts = [ended.out, ended.err, *(p.read_text(encoding="utf-8") for p in files)]
    assert not any(word in text for text in texts for word in (*BURNED.split(), *ARTIST.split()))


def test_twice_the_same_is_written(run, sets, audited_sets):
    before = audited_sets[0] / OUT
    run("audit", *sets, "--out", "two", "--cache", "fresh")
    for name in TABLES:
        assert Path(before, name).read_bytes() == Path("two", name).read_bytes()
    one, two = audit_json(before), audit_json("two")
    assert one | {"created": ""} == two | {"created": ""}
    assert Path("fresh/fingerprints").is_dir()


def test_the_fingerprint_is_the_same_wherever_the_sets_lie(run, audited_sets):
    planted = audited_sets[0]
    run("audit", planted / "register", planted / "hospital", "--out", "there")
    assert audit_json(planted / OUT)["fingerprint"] == audit_json("there")["fingerprint"]


def test_the_shipped_bundle_is_asked_where_none_is_named(run, clean, monkeypatch):
    monkeypatch.delenv("TUMORLENS_BUNDLE")
    assert run("audit", clean, "--out", "out").status == 0
    assert audit_json("out")["bundle"].startswith("tumorlens-")


def test_a_bundle_can_be_named(run, clean, tiny_bundle, monkeypatch):
    monkeypatch.delenv("TUMORLENS_BUNDLE")
    assert run("audit", clean, "--out", "out", "--bundle", tiny_bundle.folder).status == 0
    assert audit_json("out")["bundle"] == tiny_bundle.version


# --- a split of one's own -------------------------------------------------------------------


def copied_pair(folder: str = "set") -> None:
    """Two heads, and a mirrored copy of the first."""
    write(Path(folder, "yes/a.png"), head_of(0))
    write(Path(folder, "yes/b.png"), np.fliplr(head_of(0)).copy())
    write(Path(folder, "yes/c.png"), head_of(1))


def split_csv(path: str, parts: dict[str, str], *, columns: str = "path,split") -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    rows = [columns, *(f"{name},{part}" for name, part in parts.items())]
    Path(path).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


LEAKY = {"a": "training", "b": "Testing", "c": "train"}
FAIR = {"a": "train", "b": "train", "c": "test"}


@pytest.mark.parametrize(("parts", "status"), [(LEAKY, 1), (FAIR, 0)])
@pytest.mark.parametrize(
    "place",
    [
        ("mine.csv", "set/yes/"),  # from the working folder
        ("set/mine.csv", "yes/"),  # from the folder of the table
        ("tables/mine.csv", "../set/yes/"),
        ("mine.csv", "{here}/set/yes/"),
    ],
)
def test_a_table_of_ones_own_is_judged(run, tmp_path, place, parts, status):
    copied_pair()
    table, prefix = place
    named = {f"{prefix.format(here=tmp_path)}{name}.png": part for name, part in parts.items()}
    assert run("audit", "set", "--split", split_csv(table, named), "--out", "o").status == status
    assert audit_json("o")["split"]["name"] == table
    found = {Path(row["path"]).stem: row["split"] for row in rows_of("o/files.csv")}
    expected = {"training": "train", "Testing": "test"}
    assert found == {name: expected.get(part, part) for name, part in parts.items()}


def test_a_table_may_name_cases(run):
    copied_pair()
    parts = {f"set/yes/{name}.png": part for name, part in LEAKY.items()}
    table = split_csv("away/mine.csv", parts, columns="case,split")
    assert run("audit", "set", "--split", table, "--out", "o").status == 1


def test_files_that_a_table_does_not_name_are_in_no_part(run):
    copied_pair()
    table = split_csv("mine.csv", {"set/yes/b.png": "test", "set/yes/c.png": "train"})
    assert run("audit", "set", "--split", table, "--out", "o").status == 0
    found = {Path(row["path"]).stem: row["split"] for row in rows_of("o/files.csv")}
    assert found == {"a": "", "b": "test", "c": "train"}


def test_a_split_file_of_ours_is_judged_wherever_the_set_lies(run):
    for number in range(12):
        write(Path(f"set/{('yes', 'no')[number % 2]}/{number}.png"), head_of(number))
    assert run("split", "set", "--out", "split.csv").status == 0
    Path("deep").mkdir()
    shutil.move("set", "deep/set")
    ended = run("audit", "deep/set", "--split", "split.csv", "--out", "o")
    assert ended.status == 0
    assert audit_json("o")["split"]["name"] == "split.csv"
    parts = {row["case"]: row["split"] for row in rows_of("o/files.csv")}
    assert parts == dict(read_split(Path("split.csv")).parts)


def test_a_given_table_wins_over_the_published_split(run, sets):
    paths = [str(p) for p in Path("hospital").rglob("*") if p.is_file()]
    table = split_csv("mine.csv", dict.fromkeys(paths[1:], "train"))
    assert run("audit", "hospital", "--split", table, "--out", "o").status == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,part\nset/yes/a.png,test\n", "has not the columns"),
        ("split\ntest\n", "has not the columns"),
        ("", "has not the columns"),
        ("path,split\nelsewhere/a.png,test\n", "names none of the 3 files given"),
        ("path,split\n\xff", "cannot be read as a table"),
        (None, "cannot be read as a table"),
    ],
)
def test_a_table_that_says_nothing_is_one_error_line(run, text, said):
    copied_pair()
    if text is not None:
        Path("mine.csv").write_bytes(text.encode("latin-1"))
    ended = run("audit", "set", "--split", "mine.csv", "--out", "o")
    assert is_one_error_line(ended)
    assert said in ended.err
    assert not Path("o").exists()


# --- input that is no set -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ([], "holds no labeled scans"),
        (["yes/"], "holds no labeled scans"),
        (["zebra/a.png"], "zebra (1)"),
        (None, "does not exist"),
    ],
)
def test_a_folder_that_is_no_set_is_one_error_line(run, inside, said):
    for name in inside or ():
        path = Path("set", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            write(path, head_of(0))
    if inside is not None:
        Path("set").mkdir(exist_ok=True)
    ended = run("audit", "set", "--out", "o")
    assert is_one_error_line(ended)
    assert said in ended.err


def test_a_set_of_unreadable_files_has_a_whole_report(run):
    Path("set/yes").mkdir(parents=True)
    for name in "ab":
        Path(f"set/yes/{name}.png").write_bytes(b"no picture")
    ended = run("audit", "set", "--out", "o")
    assert ended.status == 0
    assert "2 files, 2 distinct images, 2 independent groups; 2 unreadable" in ended.err
    assert all(row["error"] for row in rows_of("o/files.csv"))
    assert Path("o/audit.html").is_file()


def test_one_file_alone_has_a_whole_report(run):
    write(Path("set/yes/a.png"), head_of(0))
    assert run("audit", "set", "--out", "o").status == 0
    assert (audit_json("o")["n"], rows_of("o/pairs.csv")) == (1, [])


def test_out_is_required(run, clean):
    assert run("audit", clean).status == 2


# --- groups of an audit in a split ----------------------------------------------------------


@pytest.fixture
def audited(run) -> str:
    """Twelve heads of two labels; only a register knows that two of them are of one patient."""
    for number in range(12):
        write(Path(f"set/{('yes', 'no')[number % 2]}/{number:02}.png"), head_of(number))
    for number in (0, 2):
        write(Path(f"register/{number}.png"), np.flipud(head_of(number)).copy())
    rows = "path,label,patient\n0.png,tumor,p1\n2.png,tumor,p1\n"
    Path("register/cases.csv").write_text(rows, encoding="utf-8")
    assert run("audit", "set", "register", "--out", "audit").status == 0
    return "audit"


def test_a_split_takes_the_groups_of_an_audit_that_saw_more(run, audited):
    alone, told = (
        run("split", "set", "--out", "alone.csv"),
        run("split", "set", "--out", "told.csv", "--audit", audited),
    )
    assert (alone.status, told.status) == (0, 0)
    assert "12 scans, 12 distinct images, 12 groups" in alone.err
    assert "12 scans, 12 distinct images, 11 groups" in told.err
    groups = read_split(Path("told.csv")).groups
    assert groups["set/yes/00.png"] == groups["set/yes/02.png"]
    assert read_split(Path("told.csv")).audit == audit_json(audited)["fingerprint"]


def test_a_split_of_an_audit_is_clean_to_that_audit(run, audited):
    run("split", "set", "--out", "told.csv", "--audit", audited)
    ended = run("audit", "set", "register", "--split", "told.csv", "--out", "again")
    assert ended.status == 0


def test_a_published_split_is_judged_by_the_groups_of_an_audit(run, sets, audited_sets):
    shutil.copytree(audited_sets[0] / OUT, "audit")
    for name in ("test/pred",):
        shutil.rmtree(Path("hospital", name))
    ended = run("split", "hospital", "--published", "--out", "s.csv", "--audit", "audit")
    assert ended.status == 0
    assert "2 (2) of 5  = 40.0%" in ended.err


def test_an_audit_of_other_scans_is_one_error_line(run, audited):
    write(Path("set/yes/new.png"), head_of(20))
    ended = run("split", "set", "--out", "told.csv", "--audit", audited)
    assert is_one_error_line(ended)
    assert "did not see 1 of the scans given, first set/yes/new.png" in ended.err
    assert not Path("told.csv").exists()


def test_a_folder_without_an_audit_is_one_error_line(run, audited):
    ended = run("split", "set", "--out", "told.csv", "--audit", "set")
    assert is_one_error_line(ended)
    assert "tumorlens audit" in ended.err


@pytest.mark.parametrize("command", ["audit", "split"])
def test_help_holds_an_example(run, command):
    ended = run(command, "--help")
    text = " ".join(ended.out.split())
    assert f"tumorlens {command}" in text.split("Example:")[1]
    assert "--split" in text if command == "audit" else "--audit" in text
