"""How far a job is, its rows as one table, and the proof that it is whole."""

from pathlib import Path

import pyarrow.parquet
import pytest
from support.batch_jobs import copy_of, planned, run_here, write_heads

from tumorlens.batch import parts
from tumorlens.batch.results import Merged, job_status, merge_parts, verify_job
from tumorlens.errors import BatchError, OutputError
from tumorlens.files import read_table


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_bundle):
    """A job of six images in two shards that is done; it is not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    write_heads(folder / "heads", 5)
    (folder / "heads" / "empty.png").write_bytes(b"")
    job, plan = planned(folder / "heads", folder / "job", tiny_bundle)
    run_here(job, plan)
    return job, plan


@pytest.fixture
def harmed(whole, tmp_path):
    """A copy of that job."""
    return copy_of(whole[0], tmp_path / "job"), whole[1]


def pathed(job, shard):
    return Path(job.path(shard.part))


def test_status_counts_scans_answers_and_failures_by_reason(whole):
    found = job_status(*whole)
    assert (found.shards_done, found.scans_done, found.scans) == (2, 6, 6)
    assert found.failures == {"is empty": 1}
    assert sum(found.decisions.values()) == 5
    assert found.core_rate
    assert found.seconds_left in (None, 0)


def test_status_of_a_job_that_was_not_run_is_nothing_yet(harmed):
    job, plan = harmed
    for shard in plan.shards:
        pathed(job, shard).unlink()
    found = job_status(job, plan)
    assert (found.shards_done, found.scans_done, found.rate) == (0, 0, None)


def test_merged_tables_hold_every_row_in_the_order_of_the_plan(whole, tmp_path):
    merged = merge_parts(*whole, str(tmp_path / "all.parquet"))
    assert merge_parts(*whole, str(tmp_path / "all.csv")) == merged == Merged(6, 0, "")
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table.column("scan").to_pylist() == list(range(6))
    assert [row["path"] for row in read_table(tmp_path / "all.csv")] == table.column(
        "path"
    ).to_pylist()


def test_a_merge_of_parts_that_lack_is_refused_unless_asked_for(harmed, tmp_path):
    job, plan = harmed
    pathed(job, plan.shards[0]).unlink()
    with pytest.raises(BatchError, match="lacks 1 of 2 parts"):
        merge_parts(job, plan, str(tmp_path / "all.csv"))
    merged = merge_parts(job, plan, str(tmp_path / "all.csv"), partial=True)
    assert merged.rows == plan.shards[1].scans


@pytest.mark.parametrize("name", ["index.csv", "index.parquet"])
def test_a_merge_writes_over_one_before_and_over_nothing_else(whole, tmp_path, name):
    out = tmp_path / name
    merge_parts(*whole, str(out))
    merge_parts(*whole, str(out))
    out.write_bytes(b"path\nmine.png\n")
    with pytest.raises(OutputError, match="--overwrite"):
        merge_parts(*whole, str(out))
    assert out.read_bytes() == b"path\nmine.png\n"
    assert merge_parts(*whole, str(out), overwrite=True).rows == 6


def test_verify_finds_a_part_that_is_missing(harmed):
    job, plan = harmed
    pathed(job, plan.shards[1]).unlink()
    (problem,) = verify_job(job, plan)
    assert problem.fact == "is missing"


@pytest.mark.parametrize("at", [8, 300, -900, -30])
def test_verify_finds_every_byte_that_was_changed(harmed, at):
    job, plan = harmed
    path = pathed(job, plan.shards[0])
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    (problem,) = verify_job(job, plan)
    assert problem.part == str(path)


def test_verify_finds_a_part_of_another_shard(harmed):
    job, plan = harmed
    one, other = (pathed(job, shard) for shard in plan.shards)
    one.write_bytes(other.read_bytes())
    (problem,) = verify_job(job, plan)
    assert "another shard" in problem.fact


def test_verify_finds_rows_that_lack_or_stand_twice(harmed):
    job, plan = harmed
    table, record = parts.read_part(job, plan.shards[0])
    doubled = [*table.slice(0, 1).to_batches(), *table.slice(0, 2).to_batches()]
    parts.write_part(job, plan.shards[0], doubled, record)
    (problem,) = verify_job(job, plan)
    assert problem.fact.startswith(f"lacks {plan.shards[0].scans - 2} planned scans, holds 1 twice")
