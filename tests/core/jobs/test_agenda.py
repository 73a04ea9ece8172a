"""What is due, in which order, and how little is known of each job."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.jobs.agenda import _TIDIED, Agenda
from service.core.jobs.job import Job
from service.core.jobs.summary import JobState
from tests.core.jobs.jobs import new_job


def filled(*jobs: Job) -> Agenda:
    agenda = Agenda()
    for job in jobs:
        agenda.put(job)
    return agenda


def test_the_one_that_is_due_first_comes_first_and_none_before_its_time() -> None:
    agenda = filled(new_job(1, due=3.0), new_job(2, due=1.0), new_job(3, due=2.0, kind="run"))
    assert (agenda.next_due("publish"), agenda.next_due("run"), agenda.next_due("call")) == (1.0, 2.0, None)
    assert [agenda.pop_due("publish", now) for now in (0.999, 1.0, 2.999, 3.0, 9.0)] == [None, 2, None, 1, None]
    assert agenda.pop_due("run", 9.0) == 3


def test_what_is_known_without_reading_it() -> None:
    agenda = filled(new_job(7, owner=("b", 2.0, False), kind="fetch", due=12.345))
    entry = agenda.get(7)
    assert entry == (JobState.SCHEDULED, "fetch", "b", 12.345)
    assert (entry.owner.weight, entry.owner.shares_fetches) == (2.0, False)
    assert (7 in agenda, 8 in agenda, len(agenda), repr(agenda)) == (True, False, 1, "<Agenda 1 jobs>")
    with pytest.raises(KeyError):
        agenda.get(8)


def test_an_agenda_that_is_filled_at_once_knows_what_one_knows_that_is_filled_job_by_job() -> None:
    ended: dict[str, Any] = {"state": JobState.DONE, "ended": 5.0}
    jobs = [
        *(new_job(row, due=float(row * 7 % 5), owner=("ab"[row % 2], 1.0, True)) for row in range(1, 200)),
        new_job(300, kind="call", due=-5.0), new_job(301, **ended), new_job(302, state=JobState.RUNNING),
    ]  # fmt: skip
    at_once, one_by_one = Agenda(), filled(*jobs)
    at_once.fill(jobs[:150])
    at_once.fill(jobs[150:])
    at_once.fill([new_job(1, due=99.0), new_job(302)])  # jobs that are there already stay as they are

    def known(agenda: Agenda) -> list[Any]:
        rows = [*agenda.rows_before(1000, 1000)]
        return [len(agenda), dict(agenda.counts), rows, [agenda.get(row) for row in rows]]

    def taken_out(agenda: Agenda) -> list[Any]:
        due = [[agenda.pop_due(kind, 9.0) for _ in range(201)] for kind in ("publish", "call")]
        return [due, agenda.pop_expired(64.0), agenda.pop_expired(65.0)]

    assert known(at_once) == known(one_by_one)
    assert taken_out(at_once) == taken_out(one_by_one)
    for agenda in (at_once, one_by_one):
        for row in (*range(1, 200), 300, 301, 302):
            agenda.remove(row)
        assert (len(agenda), agenda._owners._numbers) == (0, {})


def test_a_job_that_was_moved_is_due_at_its_new_time_alone() -> None:
    job = new_job(1, due=5.0)
    agenda = filled(job)
    job.due = 2.0
    agenda.put(job)
    assert [agenda.pop_due("publish", 9.0) for _ in range(2)] == [1, None]
    job.due = 20.0
    agenda.put(job)
    assert [agenda.pop_due("publish", now) for now in (9.0, 20.0)] == [None, 1]


def test_what_runs_is_not_due_and_what_has_ended_is_forgotten_in_time() -> None:
    job = new_job(1, due=5.0)
    agenda = filled(job)
    job.accept()
    job.begin("w")
    agenda.put(job)
    assert (agenda.pop_due("publish", 9.0), agenda.pop_expired(999.0)) == (None, None)
    job.succeed(msgspec.Raw(b"1"), 50.0)
    agenda.put(job)
    assert [agenda.pop_expired(now) for now in (109.9, 110.0, 999.0)] == [None, 1, None]
    assert agenda.counts["publish", JobState.DONE] == 1
    agenda.remove(1)
    assert (len(agenda), agenda.counts["publish", JobState.DONE]) == (0, 0)


def test_rows_of_a_list_are_the_newest_first_and_bounded() -> None:
    agenda = filled(*(new_job(row) for row in (1, 2, 4, 9)))
    assert list(agenda.rows_before(10, 100)) == [9, 4, 2, 1]
    assert list(agenda.rows_before(9, 5)) == [4]


def test_numbers_of_owners_without_jobs_are_used_again() -> None:
    agenda = Agenda()
    for number in range(5):
        agenda.put(new_job(1, owner=(f"o{number}", 1.0, True)))
        assert agenda.get(1).owner == f"o{number}"
        agenda.remove(1)
    agenda.put(new_job(2, owner=("x", 1.0, True)))
    assert agenda.get(2).owner == "x"
    assert len(agenda._owners._names) == 1


@pytest.mark.parametrize("times", [range(10_000), [5, 6] * 5_000, [7] * 10_000])
def test_a_job_that_is_moved_again_and_again_costs_no_memory(times: Sequence[int]) -> None:
    agenda, job = filled(new_job(2, due=1e6)), new_job(1)
    for due in times:
        job.due = float(due)
        agenda.put(job)
    heap = agenda._due["publish"]
    assert len(heap._items) + len(heap._old) < 2_000
    assert [agenda.pop_due("publish", 10_000.0) for _ in range(2)] == [1, None]
    assert agenda.pop_due("publish", 1e6) == 2


def test_what_is_outdated_is_tidied_a_few_at_a_time_and_nothing_is_lost() -> None:
    agenda = filled(*(new_job(row, due=float(row)) for row in range(1, 4001)))
    for row in range(1, 4001):
        if row % 3:
            agenda.remove(row)
    heap = agenda._due["publish"]
    agenda.put(new_job(9000, due=0.0))
    assert len(heap._old) == 4001 - _TIDIED
    assert [agenda.pop_due("publish", 6.0) for _ in range(4)] == [9000, 3, 6, None]
    for row in range(5001, 6001):
        agenda.put(new_job(row, due=9.0))
    assert heap._old == []
    due = [agenda.pop_due("publish", 4000.0) for _ in range(2333)]
    assert due == [9, *range(5001, 6001), *range(12, 4001, 3), *[None] * 2]


def test_pages_without_jobs_are_given_up() -> None:
    agenda = filled(*(new_job(row) for row in range(1, 1000)))
    for row in range(1, 1000):
        if row not in (64, 700):
            agenda.remove(row)
    assert len(agenda._entries._pages) == 2
    assert list(agenda.rows_before(1000, 1000)) == [700, 64]
    assert (64 in agenda, 65 in agenda, 7 in agenda, len(agenda)) == (True, False, False, 2)
    assert [agenda.pop_due("publish", 110.0) for _ in range(3)] == [64, 700, None]


def test_a_job_that_is_put_twice_for_one_time_comes_up_once() -> None:
    job = new_job(1, due=5.0)
    agenda = filled(job, new_job(2, due=5.0), job, job)
    assert [agenda.pop_due("publish", 9.0) for _ in range(3)] == [1, 2, None]
    agenda.put(job)
    assert [agenda.pop_due("publish", 9.0) for _ in range(2)] == [1, None]


def test_a_job_that_is_forgotten_when_it_was_due_comes_up_for_that_alone() -> None:
    agenda = filled(new_job(1, due=17.0))
    agenda.put(new_job(1, due=17.0, state=JobState.FAILED, ended=7.0, keep=10.0))
    assert (agenda.pop_due("publish", 17.0), agenda.pop_expired(17.0)) == (None, 1)
    agenda.put(new_job(1, due=17.0))
    assert (agenda.pop_expired(17.0), agenda.pop_due("publish", 17.0)) == (None, 1)


def test_the_states_of_jobs_that_have_ended_are_the_last() -> None:
    assert [state for state in JobState if state.ended] == list(JobState)[-3:]


MOVES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(("put", "remove", "end", "pop")), st.integers(0, 50)), max_size=60
)


@given(MOVES)
def test_it_agrees_with_a_plain_dictionary(moves: list[tuple[int, str, int]]) -> None:
    agenda, model = Agenda(), dict[int, tuple[str, float]]()
    popped: set[int] = set()
    for row, move, time in moves:
        if move == "put":
            agenda.put(new_job(row, due=float(time)))
            model[row] = ("due", float(time))
            popped.discard(row)
        elif move == "end":
            job: Any = new_job(row, state=JobState.DONE, ended=float(time), keep=10.0)
            agenda.put(job)
            model[row] = ("ended", time + 10.0)
            popped.discard(row)
        elif move == "remove" and row in model:
            agenda.remove(row)
            del model[row]
        elif move == "pop":
            pops: dict[str, Callable[[float], int | None]] = {
                "due": partial(agenda.pop_due, "publish"),
                "ended": agenda.pop_expired,
            }
            for kind, pop in pops.items():
                due = {at for one, (what, at) in model.items() if what == kind and at <= time and one not in popped}
                found = pop(float(time))
                assert (found is None) == (not due)
                if found is not None:
                    assert model[found] == (kind, min(due))
                    popped.add(found)
    assert set(model) == {row for row in range(1, 7) if row in agenda}
