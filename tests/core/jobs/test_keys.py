"""Keys of jobs: one job for each key of an owner."""

from service.core.jobs.keys import JobKeys
from service.core.owner import Owner
from tests.core.jobs.jobs import new_job

A, B = Owner("a"), Owner("b")


def test_a_key_belongs_to_its_owner_and_is_forgotten_with_its_job() -> None:
    keys, first, second = JobKeys(), new_job(1, key="k"), new_job(2, key="k")
    keys.put(first)
    assert (keys.rows(A, "k"), keys.rows(B, "k"), keys.rows(A, "l")) == ([1], [], [])
    keys.put(second)
    assert keys.rows(A, "k") == [2, 1]
    keys.forget(first)
    assert keys.rows(A, "k") == [2]
    keys.forget(second)
    assert (keys.rows(A, "k"), repr(keys), keys._buckets) == ([], "<JobKeys 0>", {})


def test_a_job_without_a_key_has_none() -> None:
    keys = JobKeys()
    keys.put(new_job(1))
    keys.forget(new_job(1))
    assert repr(keys) == "<JobKeys 0>"


def test_each_of_many_is_found() -> None:
    keys = JobKeys()
    for row in range(1, 5001):
        keys.put(new_job(row, key=f"k{row}"))
    assert all(row in keys.rows(A, f"k{row}") for row in range(1, 5001))
    for row in range(1, 5001, 2):
        keys.forget(new_job(row, key=f"k{row}"))
    assert [row in keys.rows(A, f"k{row}") for row in range(1, 7)] == [False, True] * 3
