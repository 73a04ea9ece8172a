"""Keys of jobs: one job for each key of an owner."""

from service.core.jobs.keys import JobKeys
from service.core.owner import Owner
from tests.core.jobs.jobs import new_job


def test_a_key_belongs_to_its_owner_and_is_forgotten_with_its_job() -> None:
    keys, first, second = JobKeys(), new_job(1, key="k"), new_job(2, key="k")
    keys.put(first)
    assert (keys.get(Owner("a"), "k"), keys.get(Owner("b"), "k"), keys.get(Owner("a"), "l")) == (1, 0, 0)
    keys.put(second)
    keys.forget(first)
    assert keys.get(Owner("a"), "k") == 2
    keys.forget(second)
    assert (keys.get(Owner("a"), "k"), repr(keys)) == (0, "<JobKeys 0>")


def test_a_job_without_a_key_has_none() -> None:
    keys = JobKeys()
    keys.put(new_job(1))
    keys.forget(new_job(1))
    assert repr(keys) == "<JobKeys 0>"
