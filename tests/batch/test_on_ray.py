"""The same work on Ray; one cluster on loopback serves all tests of this file."""

import os

from support.batch_jobs import planned, write_heads
from support.tasks import be_killed_once, refuse

from tumorlens.batch.plan import Options
from tumorlens.batch.results import verify_job
from tumorlens.batch.run import missing_shards, run_shards


def test_a_job_on_ray_is_whole(on_ray, tmp_path, tiny_bundle):
    write_heads(tmp_path / "heads", 6)
    job, plan = planned(tmp_path / "heads", tmp_path / "job", tiny_bundle, Options(shard_size=2))
    done = run_shards(job, missing_shards(job, plan), on_ray)
    assert sorted(record.scans for record in done) == [2, 2, 2]
    assert verify_job(job, plan) == []


def test_on_ray_tasks_and_killed_workers_are_the_same(on_ray, tmp_path):
    outcomes = {outcome.task: outcome for outcome in on_ray.map(refuse, range(3))}
    assert [outcomes[n].result for n in (0, 2)] == [0, 2]
    assert str(outcomes[1].error) == "1 is odd"
    (killed,) = on_ray.map(be_killed_once, [tmp_path / "a"])
    assert killed.result == "done"


def test_a_cluster_of_our_own_listens_on_loopback_alone_and_asks_for_a_token(on_ray):
    import ray

    assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
    assert os.environ["RAY_AUTH_MODE"] == "token"
