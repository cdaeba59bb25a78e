"""A job is run where and as often as need be: every scan gets the one row that `predict` gives."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from support.batch_jobs import planned, run_here, write_heads, write_world, write_zip
from support.command import ended
from support.waiting import wait_until

from tumorlens.batch.parts import read_part
from tumorlens.batch.plan import Options
from tumorlens.batch.results import merge_parts, verify_job
from tumorlens.batch.run import missing_shards, remove_leftovers, slurm_part
from tumorlens.errors import SettingsError, StorageError
from tumorlens.files import read_table, write_table
from tumorlens.predictions.document import COLUMNS


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scans of every kind in one folder, and a zip of some of them."""
    folder = write_world(tmp_path_factory.mktemp("world") / "scans")
    write_zip(folder.parent / "some.zip", sorted((folder / "dicom").glob("*.dcm")))
    return folder


@pytest.fixture
def job(tmp_path, tiny_bundle):
    """A job of ten images in three shards."""
    write_heads(tmp_path / "heads", 10)
    return planned(tmp_path / "heads", tmp_path / "job", tiny_bundle)


@pytest.mark.parametrize("given", ["scans", "some.zip"])
def test_rows_and_series_are_those_of_predict(world, tmp_path, tiny_bundle, given):
    given = world.parent / given
    job, plan = planned(given, tmp_path / "job", tiny_bundle)
    run_here(job, plan)
    assert verify_job(job, plan) == []
    (tmp_path / "merged").mkdir()
    merged = merge_parts(job, plan, str(tmp_path / "merged" / "merged.csv"))
    words = ["predict", given, "--bundle", tiny_bundle.folder, "--out", "predict.csv"]
    ended([*map(str, words)], tmp_path, {})
    by_name = [
        sorted(({k: row[k] for k in COLUMNS} for row in read_table(tmp_path / name)), key=str)
        for name in ("merged/merged.csv", "predict.csv")
    ]
    assert by_name[0] == by_name[1]
    assert len(by_name[0]) > 5
    of_batch, of_predict = (
        sorted(read_table(tmp_path / name / "series.csv"), key=str) for name in ("merged", ".")
    )
    assert of_batch == of_predict
    assert merged.series == len([row for row in of_predict if row["series"]]) > 0


def test_a_rerun_does_only_what_is_missing(job):
    folder, plan = job
    assert run_here(folder, plan, [1]) == [plan.shards[1].id]
    assert missing_shards(folder, plan) == [0, 2]
    assert run_here(folder, plan) == [plan.shards[0].id, plan.shards[2].id]
    assert run_here(folder, plan) == []
    assert verify_job(folder, plan) == []


def test_shares_of_an_array_are_all_shards_once(job):
    folder, plan = job
    shares = [missing_shards(folder, plan, part=(number, 2)) for number in (1, 2)]
    assert sorted(shares[0] + shares[1]) == [0, 1, 2]
    with pytest.raises(SettingsError, match="3/2"):
        missing_shards(folder, plan, part=(3, 2))


def test_a_task_of_a_slurm_array_knows_its_share():
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")

    def task(*values):
        return {f"SLURM_ARRAY_TASK_{n}": str(v) for n, v in zip(names, values, strict=True)}

    assert slurm_part(task(0, 0, 3, 1, 4)) == (1, 4)
    assert slurm_part(task(7, 1, 7, 2, 4)) == (4, 4)
    with pytest.raises(SettingsError, match="gaps"):
        slurm_part(task(3, 3, 7, 1, 2))
    with pytest.raises(SettingsError, match="Slurm"):
        slurm_part({})


def test_files_that_cannot_be_read_are_rows(tmp_path, tiny_bundle):
    write_heads(tmp_path, 1)
    index = tmp_path / "index.csv"
    write_table(index, ("path", "slices"), [("head_00.png", ""), ("gone.nii.gz", "2")])
    job, plan = planned(index, tmp_path / "job", tiny_bundle)
    run_here(job, plan)
    table, record = read_part(job, plan.shards[0])
    errors = table.column("error").to_pylist()
    assert errors[0] == ""
    assert all("cannot be opened" in error for error in errors[1:])
    assert table.column("frame").to_pylist() == [None, 0, 1]
    assert record.failed == 2
    assert verify_job(job, plan) == []


def test_a_file_that_changed_since_the_plan_says_so(tmp_path, tiny_bundle):
    write_heads(tmp_path, 1)
    index = tmp_path / "index.csv"
    write_table(index, ("path", "slices"), [("head_00.png", "3")])
    job, plan = planned(index, tmp_path / "job", tiny_bundle)
    run_here(job, plan)
    errors = read_part(job, plan.shards[0])[0].column("error").to_pylist()
    assert ["holds 1 slices, 3 planned" in error for error in errors] == [True] * 3


def test_shards_with_errors_are_done_again_where_that_is_asked_for(tmp_path, tiny_bundle):
    write_heads(tmp_path, 5)
    head = (tmp_path / "head_04.png").read_bytes()
    (tmp_path / "head_04.png").write_bytes(b"")
    job, plan = planned(tmp_path, tmp_path / "job", tiny_bundle)
    run_here(job, plan)
    assert missing_shards(job, plan) == []
    assert missing_shards(job, plan, failed_again=True) == [1]
    (tmp_path / "head_04.png").write_bytes(head)
    run_here(job, plan, [1])
    assert missing_shards(job, plan, failed_again=True) == []


def test_evidence_and_embeddings_are_columns_on_demand(tmp_path, tiny_bundle):
    write_heads(tmp_path / "heads", 2)
    (tmp_path / "heads" / "broken.png").write_bytes(b"")
    options = Options(heatmaps=True, embeddings=True)
    job, plan = planned(tmp_path / "heads", tmp_path / "job", tiny_bundle, options)
    run_here(job, plan)
    rows = read_part(job, plan.shards[0])[0].to_pylist()
    assert rows[0]["heatmap"] is rows[0]["embedding"] is None
    width = tiny_bundle.ood_reference.references.shape[1]
    assert [len(row["embedding"]) for row in rows[1:]] == [width] * 2
    assert [len(row["heatmap_matrix"]) for row in rows[1:]] == [6] * 2
    assert len(rows[1]["heatmap"][0]) == len(rows[1]["heatmap"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of the size of files")
def test_a_full_disk_stops_the_run_and_what_is_done_stays(job):
    folder, plan = job
    run_here(folder, plan, [0])
    with files_of_at_most(100), pytest.raises(StorageError, match=r"no space left .*Free space"):
        run_here(folder, plan)
    assert missing_shards(folder, plan) == [1, 2]
    assert len(folder.names("parts")) == 1
    run_here(folder, plan)
    assert verify_job(folder, plan) == []


@contextmanager
def files_of_at_most(size):
    """Let the system refuse to write more into a file, as a quota does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_killed_workers_left_goes_once_all_parts_are_there(job):
    folder, plan = job
    run_here(folder, plan, [0])
    left = f"{plan.shards[1].part}.0123456789abcdef.partial"
    folder.write(left, b"half")
    remove_leftovers(folder, plan)
    assert len(folder.names("parts")) == 2
    run_here(folder, plan)
    remove_leftovers(folder, plan)
    assert len(folder.names("parts")) == 3


def test_a_killed_run_goes_on_with_what_is_missing(tmp_path, tiny_bundle):
    write_heads(tmp_path / "heads", 40)
    options = Options(shard_size=1)
    job, plan = planned(tmp_path / "heads", tmp_path / "job", tiny_bundle, options)
    # Nice, so that who looks for its parts is not the slower one on a busy machine.
    words = ["batch", "run", job.url, "--workers", "1"]
    words = ["nice", "-n", "19", sys.executable, "-m", "tumorlens", *words]
    driver = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: len(job.names("parts")) >= 2 or driver.poll() is not None)
    assert driver.poll() is None
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    done = len(plan.shards) - len(missing_shards(job, plan))
    assert done >= 2
    assert len(run_here(job, plan)) == len(plan.shards) - done
    assert verify_job(job, plan) == []
