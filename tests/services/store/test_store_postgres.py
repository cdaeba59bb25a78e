"""The store on PostgreSQL, with the facts of SQLite; skipped where it is not installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text
from support.live_server import free_port
from support.tampering import OF_ROWS, TAMPERINGS, fill, recompute, tampered

from tumorlens.errors import StoreError
from tumorlens.records import Heatmap, Prediction, PreparedScan
from tumorlens.services.store import (
    NewPrediction,
    Review,
    Store,
    expire_predictions,
    find_predictions,
    get_prediction,
    latest_reviews,
    open_store,
    save_predictions,
    save_review,
    verify,
)
from tumorlens.services.store.audit_log import days_ago
from tumorlens.services.store.database import PredictionRow, Table, is_writable
from tumorlens.services.store.jobs import JobScan, NewJob, get_job, save_answers, save_job
from tumorlens.services.store.keys import create_key, find_key
from tumorlens.services.store.verification import verify_connection

pytestmark = pytest.mark.postgres
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def account() -> dict[str, Any]:
    """The server of PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    found = pwd.getpwnam("postgres")
    return {"user": found.pw_uid, "group": found.pw_gid, "cwd": "/"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed (looked in /usr/lib/postgresql)")
    # Its account has to reach the folder, and temporary folders of tests are closed to others.
    folder = Path("/var/tmp") / f"tumorlens-postgres-{os.getpid()}"
    folder.mkdir()
    if "user" in account():
        os.chown(folder, account()["user"], account()["group"])
    port, data = free_port(), folder / "data"

    def run(program: str, *words: str) -> None:
        command = [str(PROGRAMS / program), "-D", str(data), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **account())

    run("initdb", "-U", "tumorlens", "--auth=trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://tumorlens@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[Store]:
    opened = open_store(url)
    yield opened
    opened.close()


def new(**more: Any) -> NewPrediction:
    heatmap = Heatmap(np.eye(3, dtype=np.float32), np.arange(64, dtype=np.uint8).reshape(8, 8))
    answer = Prediction("slice", decision="tumor", tumor_probability=1 / 3, heatmap=heatmap)
    return NewPrediction(
        answer, input_sha256="a" * 64, bundle_sha256="b" * 64, owner="ann", source="http", **more
    )


def test_a_prediction_and_its_review_come_back_as_they_went_in(store: Store):
    (id,) = save_predictions(store, [new(keep=True)])
    found = get_prediction(store, id)
    assert found.prediction.tumor_probability == 1 / 3
    assert np.array_equal(found.evidence, np.eye(3))
    assert found.prepared is not None
    review = save_review(store, Review(id, "ann", "correct", "no tumor", reason="artifact"))
    assert latest_reviews(store, [id]) == {id: review}


def test_the_migrations_end_where_the_tables_are(store: Store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_opening_again_changes_nothing(store: Store, url: str):
    save_predictions(store, [new()])
    before = len(find_predictions(store))
    again = open_store(url)
    assert len(find_predictions(again)) == before
    again.close()


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_trail SET actor = 'x'", "DELETE FROM audit_trail", "TRUNCATE audit_trail"],
)
def test_the_database_refuses_to_change_the_trail(store: Store, statement: str):
    save_predictions(store, [new()])
    with pytest.raises(StoreError), store.writing() as connection:
        connection.execute(text(statement))
    assert verify(store).problems == ()


def test_two_services_on_one_database_keep_one_chain(store: Store, url: str):
    from concurrent.futures import ThreadPoolExecutor

    other = open_store(url)
    before = verify(store).entries
    with ThreadPoolExecutor(4) as pool:
        for opened in [store, other] * 10:
            pool.submit(save_predictions, opened, [new(), new()])
    other.close()
    verdict = verify(store)
    assert (verdict.entries - before, verdict.problems) == (40, ())


def test_keys_and_jobs_work(store: Store):
    key, secret = create_key(store, "ward")
    assert find_key(store, secret) == key
    scan = PreparedScan("scan", np.arange(64, dtype=np.uint8).reshape(8, 8))
    job = NewJob("ann", [JobScan(0, scan, "c" * 64)], [])
    save_job(store, job)
    save_answers(store, [new(job=job.id, position=0)])
    save_answers(store, [new(job=job.id, position=0)])
    assert (get_job(store, job.id).state, get_job(store, job.id).answered) == ("done", 1)


def test_retention_removes_and_the_trail_still_verifies(store: Store):
    assert expire_predictions(store, before=days_ago(-1)) > 0
    assert find_predictions(store) == []
    assert verify(store).problems == ()
    assert is_writable(store)


@pytest.fixture
def signed(url: str) -> Iterator[Store]:
    """A signed store in a database of its own."""
    with open_store(url).engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("DROP DATABASE IF EXISTS signed"))
        connection.execute(text("CREATE DATABASE signed"))
    opened = open_store(url.replace("/postgres", "/signed"), audit_key="ab" * 32)
    fill(opened)
    yield opened
    opened.close()


def test_every_tampering_shows_and_a_trail_made_anew_by_its_signature(signed: Store):
    assert verify(signed).problems == verify(signed).notes == ()
    unnoticed = []
    for name in TAMPERINGS:
        for is_anew in {False, name in OF_ROWS}:
            with tampered(signed, name) as connection:
                if is_anew:
                    recompute(connection)
                if not verify_connection(connection).problems:
                    unnoticed.append((name, is_anew))
    assert unnoticed == []


def test_a_damaged_answer_is_an_error_of_that_row_alone(signed: Store):
    with signed.writing() as connection:
        connection.execute(text("UPDATE predictions SET document = '[' WHERE number = 1"))
        connection.execute(text("UPDATE predictions SET evidence = 'x' WHERE number = 2"))
    found = find_predictions(signed)
    assert [row.damaged for row in found] == [(), (), ("evidence",), ("document",)]
    assert "damaged" in found[-1].prediction.error


def test_a_connection_that_saw_an_exception_is_not_used_again(signed: Store):
    held = []

    def fail() -> None:
        with signed.reading(snapshot=True) as connection:
            held.append(connection.execute(select(PredictionRow.__table__)))
            raise ZeroDivisionError  # the snapshot is open, and somebody keeps the cursor

    with pytest.raises(ZeroDivisionError):
        fail()
    save_predictions(signed, [new()])
    assert len(find_predictions(signed)) == 5


def test_a_server_that_does_not_answer_is_an_error_without_its_password():
    with pytest.raises(StoreError) as caught:
        open_store(f"postgresql://tumorlens:secret@127.0.0.1:{free_port()}/postgres")
    assert "secret" not in str(caught.value)
    assert "OperationalError" in str(caught.value)
