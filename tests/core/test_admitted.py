"""URLs on the clock: found when they are overdue, forgotten when they have their event."""

from service.core.fetching.backlog import AdmittedTasks
from service.core.fetching.batch import Batch
from service.core.fetching.dial_policy import Policy
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Target, check_url
from service.core.fetching.task import FetchTask
from tests.core.test_plan import batch_of

URLS = ["http://h.example/1", "http://h.example/2"]


def tasks(batch: Batch, *deadlines: float) -> list[FetchTask]:
    made = []
    for index, deadline in enumerate(deadlines):
        target = check_url(URLS[index], Policy())
        assert isinstance(target, Target)
        made.append(FetchTask(batch, index, FetchRequest(URLS[index]), target, None, deadline=deadline))
    return made


def test_what_is_overdue_is_found_across_batches_in_the_order_of_deadlines() -> None:
    admitted = AdmittedTasks()
    first, second = tasks(batch_of(URLS, name="a"), 5.0, 9.0), tasks(batch_of(URLS, name="b"), 6.0)
    for task in (*first, *second):
        admitted.begin(task)
    assert admitted.overdue(4.9) == []
    assert admitted.overdue(6.0) == [first[0], second[0]]
    assert admitted.overdue(9.0) == [*first, *second]


def test_a_url_that_has_its_event_is_forgotten_and_so_is_a_batch_without_urls() -> None:
    admitted, batch = AdmittedTasks(), batch_of(URLS)
    for task in tasks(batch, 5.0, 5.0):
        admitted.begin(task)
    admitted.end(batch, 0)
    admitted.end(batch, 0)
    assert [task.index for task in admitted.overdue(5.0)] == [1]
    admitted.end(batch, 1)
    assert not admitted
    admitted.end(batch, 1)


def test_a_whole_batch_is_forgotten_once() -> None:
    admitted, batch = AdmittedTasks(), batch_of(URLS)
    admitted.begin(tasks(batch, 5.0)[0])
    assert repr(admitted) == "<AdmittedTasks 1 of 1 groups>"
    admitted.forget(batch)
    admitted.forget(batch)
    assert not admitted
