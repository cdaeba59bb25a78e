"""The same job on an object store: planned, run, resumed, merged and verified."""

import errno
import tempfile

import pytest
from support.batch_jobs import planned, run_here, write_heads, write_world

from tumorlens.batch.index import read_index
from tumorlens.batch.parts import read_part
from tumorlens.batch.plan import Options, read_shard
from tumorlens.batch.results import job_status, merge_parts, verify_job
from tumorlens.batch.run import missing_shards
from tumorlens.batch.storage import Folder, file_system, open_system
from tumorlens.errors import BatchError, MissingExtraError, StorageError
from tumorlens.files import read_table

JOB = "s3://scans/jobs/first"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def heads(object_store, tmp_path):
    """A bucket with six images."""
    write_heads(tmp_path / "heads", 6)
    object_store.upload(tmp_path)
    return object_store


def errors_of(job, plan, number=0):
    return read_part(job, plan.shards[number])[0].column("error").to_pylist()


def test_a_job_is_planned_run_resumed_merged_and_verified(heads, tmp_path, tiny_bundle):
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    run_here(job, plan, [0])
    assert missing_shards(job, plan) == [1]
    run_here(job, plan)
    assert verify_job(job, plan) == []
    assert heads.puts == 2, "a part is one PUT"
    assert job_status(job, plan).scans_done == 6
    merge_parts(job, plan, "s3://scans/merged.csv")
    local, of_local = planned(tmp_path / "heads", tmp_path / "job", tiny_bundle)
    run_here(local, of_local)
    merge_parts(local, of_local, str(tmp_path / "local.csv"))
    (tmp_path / "remote.csv").write_bytes(Folder("s3://scans").read("merged.csv"))
    remote, local_rows = (read_table(tmp_path / name) for name in ("remote.csv", "local.csv"))
    assert remote[0]["path"] == "s3://scans/heads/head_00.png"
    drop = {"path", "id"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in remote] == [
        {k: v for k, v in row.items() if k not in drop} for row in local_rows
    ]


def test_a_worker_leaves_nothing_of_a_job_on_its_machine(heads, tmp_path, tiny_bundle, monkeypatch):
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    job, plan = planned(f"{heads.url}/heads", "s3://scans/jobs/second", tiny_bundle)
    run_here(job, plan)
    assert verify_job(job, plan) == []
    assert list(own.iterdir()) == []


def test_series_volumes_and_pairs_are_found_as_on_a_disk(object_store, tmp_path, tiny_bundle):
    import nibabel

    world = write_world(tmp_path / "world")
    volume = nibabel.load(world / "volume.nii.gz")
    nibabel.save(nibabel.Nifti1Pair(volume.get_fdata()[..., :3], volume.affine), world / "pair.img")
    object_store.upload(world)
    remote, of_remote = planned(object_store.url, JOB, tiny_bundle)
    local, of_local = planned(world, tmp_path / "job", tiny_bundle)
    run_here(remote, of_remote)
    run_here(local, of_local)
    assert verify_job(remote, of_remote) == []
    rows = [
        [{**row, "path": row["path"].rpartition("/")[2], "id": "", "series": ""}
         for n in range(len(plan.shards)) for row in read_part(job, plan.shards[n])[0].to_pylist()]
        for job, plan in ((remote, of_remote), (local, of_local))
    ]  # fmt: skip
    assert rows[0] == rows[1]
    merged = merge_parts(remote, of_remote, f"{object_store.url}/merged/all.parquet")
    merge_parts(local, of_local, str(tmp_path / "all.csv"))
    (tmp_path / "remote.csv").write_bytes(Folder(object_store.url).read("merged/series.csv"))
    of_store = read_table(tmp_path / "remote.csv")
    for row in of_store:
        named = {
            name: row[name].replace(object_store.url, str(world)) for name in ("path", "series")
        }
        row.update(named)
    assert of_store == read_table(tmp_path / "series.csv")
    assert merged.series_table == f"{object_store.url}/merged/series.csv"


def test_an_index_of_csv_is_read_on_the_store_in_any_encoding(heads, tmp_path):
    table = "path;id\nheads/head_00.png;first\n\nheads/head_01.png;zweite ä\n"
    for encoding in ("utf-8", "utf-16"):
        Folder("s3://scans").write("index.csv", table.encode(encoding))
        rows = [(row.number, row.path, row.id) for row in read_index("s3://scans/index.csv").rows()]
        assert rows == [
            (2, "s3://scans/heads/head_00.png", "first"),
            (4, "s3://scans/heads/head_01.png", "zweite ä"),
        ]


def test_a_plan_is_made_once_also_on_a_store(heads, tiny_bundle):
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    assert planned(f"{heads.url}/heads", JOB, tiny_bundle)[1] == plan
    with pytest.raises(BatchError, match="never changes"):
        planned(f"{heads.url}/heads", JOB, tiny_bundle, Options(shard_size=2))
    assert not job.create("plan.json", b"another")


def test_an_object_that_is_gone_or_refused_alone_is_a_row(heads, tiny_bundle):
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    heads.refuses = "head_01"
    run_here(job, plan, [0])
    errors = errors_of(job, plan)
    assert ["refuses access" in error for error in errors] == [False, True, False, False]
    assert verify_job(job, plan)[0].fact == "is missing"  # the other shard, and nothing else


def test_a_store_that_refuses_everything_stops_the_run_and_nothing_is_lost(heads, tiny_bundle):
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    run_here(job, plan, [0])
    heads.refuses = "/heads/"
    with pytest.raises(StorageError, match=r"refuses access .*Check the credentials"):
        run_here(job, plan)
    assert missing_shards(job, plan) == [1]
    heads.refuses = "/parts/"
    with pytest.raises(StorageError, match="refuses access"):
        run_here(job, plan)
    heads.refuses = ""
    run_here(job, plan)
    assert verify_job(job, plan) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), TimeoutError("slow")])
def test_a_full_disk_or_a_slow_store_is_no_fault_of_a_scan(heads, tiny_bundle, monkeypatch, error):
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    system, _ = file_system(heads.url)
    get = system.get_file

    def failing(path, to):
        if "head_02" in path:
            raise error
        return get(path, to)

    monkeypatch.setattr(system, "get_file", failing)
    with pytest.raises(StorageError, match="what is done stays"):
        run_here(job, plan)
    assert missing_shards(job, plan) == [0, 1]


def test_a_bucket_that_may_not_be_listed_says_so(heads):
    heads.refuses = "/scans"
    with pytest.raises(StorageError, match=r"refuses access .*Check the credentials"):
        read_index(f"{heads.url}/heads")


def test_a_store_that_does_not_answer_in_time_stops_the_run(heads, tiny_bundle, monkeypatch):
    import s3fs

    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    assert read_shard(job, plan, 0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 0.2)
    s3fs.S3FileSystem.clear_instance_cache()
    open_system.cache_clear()
    heads.delay_s = 0.5
    with pytest.raises(StorageError, match="cannot be read or written"):
        job.read("plan.json")


def test_credentials_are_written_nowhere(heads, tiny_bundle, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-written")
    open_system.cache_clear()
    job, plan = planned(f"{heads.url}/heads", JOB, tiny_bundle)
    run_here(job, plan)
    names = ["plan.json", plan.table, *(shard.part for shard in plan.shards)]
    assert not any(b"never-to-be-written" in job.read(name) for name in names)


def test_a_store_whose_package_is_not_installed_names_it():
    with pytest.raises(MissingExtraError, match="pip install"):
        Folder("gs://bucket/job").read("plan.json")
