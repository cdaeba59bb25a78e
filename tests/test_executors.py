"""Tasks are done once, on workers that may be killed."""

import os
import signal

import pytest
from support.tasks import be_killed, be_killed_once, double, refuse

from tumorlens.errors import ExecutorError, SettingsError
from tumorlens.executors import MAX_TRIES, open_executor


def test_every_task_is_done_by_a_process_that_stays():
    with open_executor(workers=1) as executor:
        done = {outcome.task: outcome.result for outcome in executor.map(double, range(5))}
    assert {task: result[0] for task, result in done.items()} == {n: 2 * n for n in range(5)}
    assert len({result[1] for result in done.values()} - {os.getpid()}) == 1


def test_an_error_of_one_task_is_its_outcome_alone():
    with open_executor(workers=1) as executor:
        outcomes = {outcome.task: outcome for outcome in executor.map(refuse, range(4))}
    assert [outcomes[n].result for n in (0, 2)] == [0, 2]
    assert str(outcomes[1].error) == "1 is odd"


def test_a_task_whose_worker_is_killed_is_done_again_and_no_other(tmp_path):
    marks = [tmp_path / "a", tmp_path / "b"]
    with open_executor(workers=1) as executor:
        assert [outcome.result for outcome in executor.map(be_killed_once, marks)] == ["done"] * 2


def test_a_worker_that_was_killed_while_it_had_nothing_to_do_is_replaced():
    with open_executor(workers=1) as executor:
        (first,) = executor.map(double, [1])
        os.kill(first.result[1], signal.SIGKILL)
        (second,) = executor.map(double, [1])
    assert second.result[0] == 2
    assert second.result[1] != first.result[1]


def test_a_task_that_kills_its_worker_every_time_is_given_up():
    with open_executor(workers=1) as executor:
        (outcome,) = executor.map(be_killed, [1])
    assert isinstance(outcome.error, ExecutorError)
    assert f"{MAX_TRIES} times" in str(outcome.error)


def test_a_task_is_asked_for_only_after_the_outcome_before_it_was_seen():
    seen: list[int] = []

    def tasks():
        for number in range(4):
            assert len(seen) == number
            yield number

    with open_executor(workers=1) as executor:
        for outcome in executor.map(double, tasks()):
            seen.append(outcome.task)
    assert seen == [0, 1, 2, 3]


def test_what_is_no_executor_is_named():
    with pytest.raises(SettingsError, match="zebra"), open_executor("zebra"):
        pass
