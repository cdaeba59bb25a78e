"""A plan: what an index or a folder holds, as shards that never change."""

import tracemalloc
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet
import pytest
from support.batch_jobs import planned, write_heads, write_world, write_zip

from tumorlens.batch.index import read_index
from tumorlens.batch.plan import Options, load_plan, read_shard
from tumorlens.errors import BatchError
from tumorlens.files import read_table, write_table

ROWS = 10_000  # of a long index


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scans of every kind in one folder."""
    return write_world(tmp_path_factory.mktemp("world") / "scans")


@pytest.fixture
def heads(tmp_path):
    """Six images."""
    return write_heads(tmp_path / "heads", 6)


def scans_of(job, plan):
    return [scan for n in range(len(plan.shards)) for scan in read_shard(job, plan, n)]


def write_index(path, columns, rows):
    write_table(path, columns, rows)
    return path


def test_volumes_stacks_and_series_count_their_slices(world, tmp_path, tiny_bundle):
    job, plan = planned(world, tmp_path / "job", tiny_bundle)
    names = [scan.path.removeprefix(f"{world}/").split("/")[0] for scan in scans_of(job, plan)]
    slices = names.count("dicom")
    assert slices > 5
    assert names.count("volume.nii.gz") == slices
    assert names.count("stack.tif") == 3
    assert names.count("images") == 4
    assert plan.scans == len(names)


def test_a_series_is_never_cut_and_other_shards_keep_their_size(world, tmp_path, tiny_bundle):
    job, plan = planned(world, tmp_path / "job", tiny_bundle)
    shards = [read_shard(job, plan, n) for n in range(len(plan.shards))]
    (whole,) = [rows for rows in shards if any("/dicom/" in scan.path for scan in rows)]
    assert len({scan.path for scan in whole if "/dicom/" in scan.path}) > 5
    assert all(len(rows) <= 4 for rows in shards if len({scan.unit for scan in rows}) > 1)


def test_a_zip_counts_the_scans_in_it(heads, tmp_path, tiny_bundle):
    archive = write_zip(tmp_path / "heads.zip", heads)
    job, plan = planned(archive, tmp_path / "job", tiny_bundle)
    assert [scan.path for scan in scans_of(job, plan)] == [
        f"{archive}/inner/{head.name}" for head in heads
    ]
    assert len(plan.shards) == 1


def test_the_same_plan_again_is_the_same_and_another_is_refused(heads, tmp_path, tiny_bundle):
    job, plan = planned(tmp_path / "heads", tmp_path / "job", tiny_bundle)
    before = job.read("plan.json")
    assert planned(tmp_path / "heads", tmp_path / "job", tiny_bundle)[1] == plan
    write_heads(tmp_path / "heads", 1, first=6)
    with pytest.raises(BatchError, match="never changes"):
        planned(tmp_path / "heads", tmp_path / "job", tiny_bundle)
    assert job.read("plan.json") == before
    assert load_plan(job) == plan


@pytest.mark.parametrize(
    "changes", [{"heatmaps": True}, {"embeddings": True}, {"all_series": True}]
)
def test_ids_of_shards_depend_on_what_is_asked_for(heads, tmp_path, tiny_bundle, changes):
    plain = Options(shard_size=4)
    one, other = (
        planned(tmp_path / "heads", tmp_path / name, tiny_bundle, options)[1]
        for name, options in (("a", plain), ("b", replace(plain, **changes)))
    )
    assert not {shard.id for shard in one.shards} & {shard.id for shard in other.shards}


def test_an_index_of_parquet_and_one_of_csv_make_the_same_plan(heads, tmp_path, tiny_bundle):
    names = [f"heads/{head.name}" for head in heads]
    write_index(tmp_path / "a.csv", ("path",), [(name,) for name in names])
    pyarrow.parquet.write_table(pa.table({"path": names}), tmp_path / "a.parquet")
    one, other = (
        planned(tmp_path / f"a.{kind}", tmp_path / kind, tiny_bundle)[1]
        for kind in ("csv", "parquet")
    )
    assert one.shards == other.shards
    assert one.scans == 6


def test_of_the_rows_of_a_table_nothing_but_a_hash_is_held(tmp_path):
    index = write_index(tmp_path / "index.csv", ("path",), ((f"{n}.png",) for n in range(ROWS)))
    (tmp_path / "0.png").touch()
    tracemalloc.start()
    assert sum(1 for _ in read_index(str(index)).rows()) == ROWS
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100 * ROWS


def test_slices_and_series_in_an_index_save_opening_the_files(tmp_path, tiny_bundle):
    rows = [("a.nii.gz", "3", ""), ("b.dcm", "1", "s"), ("c.png", "", ""), ("d.dcm", "1", "s")]
    write_heads(tmp_path, 1)  # so that not every file is missing
    rows.append(("head_00.png", "", ""))
    index = write_index(tmp_path / "index.csv", ("path", "slices", "series"), rows)
    job, plan = planned(index, tmp_path / "job", tiny_bundle)
    found = [(scan.path.rpartition("/")[2], scan.frame) for scan in scans_of(job, plan)]
    assert found == [("a.nii.gz", 0), ("a.nii.gz", 1), ("a.nii.gz", 2), ("b.dcm", None),
                     ("d.dcm", None), ("c.png", None), ("head_00.png", None)]  # fmt: skip


def test_a_row_that_stands_twice_is_refused_unless_rows_have_ids(heads, tmp_path, tiny_bundle):
    names = ["heads/head_00.png", "heads/head_01.png", "heads/head_00.png"]
    index = write_index(tmp_path / "index.csv", ("path",), [(name,) for name in names])
    with pytest.raises(BatchError, match="rows 2, 4"):
        read_index(str(index))
    named = write_index(tmp_path / "named.csv", ("path", "id"), zip(names, "abc", strict=True))
    job, plan = planned(named, tmp_path / "job", tiny_bundle)
    assert [scan.id for scan in scans_of(job, plan)] == ["a", "b", "c"]
    again = write_index(tmp_path / "again.csv", ("path", "id"), zip(names, "aba", strict=True))
    with pytest.raises(BatchError, match="rows 2, 4"):
        read_index(str(again))


def test_rows_of_parquet_are_compared_by_name_and_never_by_hash_alone(tmp_path, monkeypatch):
    write_heads(tmp_path, 3)
    names = [f"head_0{n}.png" for n in (0, 1, 2)]
    monkeypatch.setattr("tumorlens.batch.index.hash", lambda _: 1, raising=False)
    pyarrow.parquet.write_table(pa.table({"path": names}), tmp_path / "once.parquet")
    assert [row.id for row in read_index(str(tmp_path / "once.parquet")).rows()] == [
        f"{tmp_path}/{name}" for name in names
    ]
    pyarrow.parquet.write_table(pa.table({"path": [*names, names[1]]}), tmp_path / "twice.parquet")
    with pytest.raises(BatchError, match=r"head_01.png in rows 2, 4: no row"):
        read_index(str(tmp_path / "twice.parquet"))


@pytest.mark.parametrize(
    ("columns", "row", "fact"),
    [
        (("file",), ("a.png",), "no column `path`"),
        (("path", "slices"), ("b.png", "many"), "'many' in the column `slices`, row 3"),
        (("path", "id"), ("", "b"), "names no path in row 3"),
        (("path", "id"), ("head_00.png", "a"), "holds a in rows 2, 3"),
    ],
)
def test_what_is_wrong_in_an_index_is_named_by_its_row(tmp_path, columns, row, fact):
    write_heads(tmp_path, 1)
    first = ("head_00.png", "1" if "slices" in columns else "a")[: len(columns)]
    index = write_index(tmp_path / "index.csv", columns, [first, row])
    with pytest.raises(BatchError, match=fact):
        read_index(str(index))


def test_files_that_are_missing_are_counted_and_an_index_of_none_is_refused(tmp_path):
    write_heads(tmp_path, 1)
    rows = [("head_00.png",), ("gone.png",)]
    found = read_index(str(write_index(tmp_path / "index.csv", ("path",), rows)))
    assert (found.missing, found.tried) == (1, 2)
    with pytest.raises(BatchError, match=f"relative to {tmp_path}"):
        read_index(str(write_index(tmp_path / "none.csv", ("path",), rows[1:])))


def test_what_is_passed_over_in_a_folder_is_counted_as_predict_counts_it(world):
    assert read_index(str(world)).passed_over == {".txt file": 1}


def test_copies_of_slices_are_listed_and_not_planned(world, tmp_path, tiny_bundle):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in sorted(path.name for path in (world / "dicom").glob("*.dcm")):
        (folder / name).write_bytes((world / "dicom" / name).read_bytes())
    (folder / "zz_copy.dcm").write_bytes((folder / name).read_bytes())
    _, plan = planned(folder, tmp_path / "job", tiny_bundle)
    assert plan.left_out == 1
    rows = read_table(tmp_path / "job" / "left-out.csv")
    assert [row["path"] for row in rows] == [str(folder / "zz_copy.dcm")]
    assert plan.scans == len(list(folder.glob("*.dcm"))) - 1
