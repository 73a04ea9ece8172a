"""The life of one job, row by row of its table."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from service.core.errors import InvalidParams
from service.core.jobs import job as module
from service.core.jobs.events import Event, Instant, ProgressEvent, is_last
from service.core.jobs.job import Job
from service.core.jobs.summary import JobState
from tests.core.jobs.jobs import new_job

STEPS: dict[str, Callable[[Job], Event | None]] = {
    "accept": lambda job: job.accept(),
    "move": lambda job: job.move(200.0),
    "cancel": lambda job: job.cancel(150.0),
    "begin": lambda job: job.begin("w"),
    "progress": lambda job: job.progress(ProgressEvent(done=1.0)),
    "succeed": lambda job: job.succeed(msgspec.Raw(b"1"), 150.0),
    "fail, retried": lambda job: job.fail("timeout", "slow", 150.0, retries=1, chance=0.5),
    "fail": lambda job: job.fail("timeout", "slow", 150.0, retries=None, chance=0.5),
    "lose": lambda job: job.lose("gone", 150.0),
    "lose, 3 in a row": lambda job: _lose_thrice(job),
    "stopped": lambda job: job.stopped(150.0),
}


def _lose_thrice(job: Job) -> Event:
    job.lost = 2
    return job.lose("gone", 150.0)


def in_state(state: str) -> Job:
    job = new_job()
    if state != "-":
        job.accept()
    if state in ("running", "done", "failed"):
        job.begin("w")
    if state == "done":
        job.succeed(msgspec.Raw(b"1"), 120.0)
    if state == "failed":
        job.fail("timeout", "slow", 120.0, retries=None, chance=0.0)
    if state == "cancelled":
        job.cancel(120.0)
    return job


def table() -> list[tuple[str, str, str, str]]:
    lines = (module.__doc__ or "").split("event\n")[1].split("\n\n")[0].splitlines()
    return [tuple(re.split(r" {2,}", line.strip())) for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(("state", "step", "following", "event"), table())
def test_each_row_of_the_table_is_what_happens(state: str, step: str, following: str, event: str) -> None:
    job = in_state(state)
    before = job.head
    said = STEPS[step](job)
    assert job.state == following
    assert (said.__struct_config__.tag if said is not None else "-") == event
    assert job.head == before + (said is not None)
    assert (said is not None and is_last(said)) == (following in ("done", "failed", "cancelled"))
    assert (job.ended is not None) == job.state.ended


ALLOWED = {(state, step) for state, step, _, _ in table()}


REFUSED = [
    (state, step)
    for state in ("scheduled", "running", "done", "failed", "cancelled")
    for step in STEPS
    if step not in ("accept", "cancel") and (state, step) not in ALLOWED
]


@pytest.mark.parametrize(("state", "step"), REFUSED)
def test_what_is_not_in_the_table_is_refused_and_changes_nothing(state: str, step: str) -> None:
    job = in_state(state)
    before = (job.state, job.head)
    with pytest.raises((ValueError, InvalidParams)):
        STEPS[step](job)
    assert job.state == before[0]


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_the_cancel_of_an_ended_job_changes_nothing(state: str) -> None:
    job = in_state(state)
    before = msgspec.structs.asdict(job)
    assert job.cancel(999.0) is None
    assert msgspec.structs.asdict(job) == before


def test_delays_grow_with_the_failures_are_jittered_and_have_an_end() -> None:
    delays = []
    job = in_state("scheduled")
    for _ in range(20):
        job.begin("w")
        job.fail("timeout", "", 1000.0, retries=99, chance=0.5)
        delays.append(job.due - 1000.0)
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(delays) == delays[-1] == 3600.0
    job.begin("w")
    job.fail("timeout", "", 1000.0, retries=99, chance=0.0)
    assert job.due == 2800.0
    job.begin("w")
    job.fail("timeout", "", 1000.0, retries=99, chance=0.0, after=7.0)
    assert job.due == 1007.0


def test_it_fails_when_its_retries_are_used_up_and_what_is_lost_uses_up_none() -> None:
    job = in_state("running")
    job.lose("gone", 150.0)
    job.begin("w")
    job.fail("timeout", "slow", 150.0, retries=1, chance=0.0)
    job.begin("w")
    job.lose("gone", 150.0)
    job.begin("w")
    assert job.lost == 1
    assert job.state is JobState.RUNNING
    job.fail("timeout", "slow", 160.0, retries=1, chance=0.0)
    assert (job.state, job.attempt, job.error, job.detail) == (JobState.FAILED, 4, "timeout", "slow")


def test_a_job_that_runs_once_more_begins_anew_on_the_same_topic() -> None:
    job = in_state("failed")
    job.output = "of the run before"
    said: Any = job.move(300.0)
    assert job.output is None
    assert (said.run, said.due.seconds, job.first, job.attempt, job.error, job.ended) == (
        2,
        300.0,
        4,
        0,
        None,
        None,
    )
    job.begin("w")
    assert (job.attempt, job.head) == (1, 5)


@pytest.mark.parametrize("state", ["running", "done"])
def test_what_runs_or_is_done_does_not_move(state: str) -> None:
    with pytest.raises(InvalidParams, match="the job is"):
        in_state(state).move(200.0)


def test_it_is_queued_when_its_time_has_come() -> None:
    job = in_state("scheduled")
    assert [job.shown_state(now) for now in (109.9, 110.0)] == [JobState.SCHEDULED, JobState.QUEUED]
    job.begin("w")
    assert job.shown_state(500.0) is JobState.RUNNING


def test_the_request_wins_over_the_function_and_that_over_what_is_usual() -> None:
    job = new_job()
    assert (job.allowed_retries(), job.allowed_retries(2), job.time(), job.time(9.0)) == (5, 2, 30.0, 9.0)
    assert new_job(kind="run").time() == 600.0
    job = new_job(retries=0, timeout=1.0)
    assert (job.allowed_retries(2), job.time(9.0)) == (0, 1.0)


def test_logs_do_not_have_the_whole_id() -> None:
    assert "0" * 20 not in repr(new_job())
    assert repr(Instant(1.5)) == "<Instant 1.500>"


def test_an_effect_has_one_key_for_all_attempts_of_a_run_and_another_for_the_next_run() -> None:
    job = new_job()
    assert job.effect_key == job.id
    job.attempt = 3
    assert job.effect_key == job.id
    job.run = 2
    assert job.effect_key == f"{job.id}-2"
    job.key = "mine"
    assert (job.effect_key, job.run_key) == ("mine", f"{job.id}-2")
