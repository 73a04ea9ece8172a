"""The states of a URL: the table that is printed is the one that holds."""

import pytest

from service.core.fetching import task as module
from service.core.fetching.batch import Batch, Keep
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.target import Target
from service.core.fetching.task import ENDED, LANDED, PARKED, QUEUED, RETRY, RUNNING, STATES, FetchTask, TaskState
from service.core.owner import SERVICE
from service.core.topics.topic import Topic
from tests.core.listeners import FakeListener

URL = "http://h.example/"


def one() -> FetchTask:
    group = Batch("b", Topic("batch:b", "e", None), SERVICE, Keep.DETACHED, [URL], Options(), 0.0, FakeListener())
    target = Target(URL, "http", "h.example", 80, "http://h.example:80", "/")
    return FetchTask(group, 0, FetchRequest(URL), target, None)


def printed() -> dict[str, tuple[int, int, set[str]]]:
    """Return the table of the module's docstring: what each state counts as, and what follows it."""
    assert module.__doc__ is not None
    rows = {}
    for line in module.__doc__.splitlines():
        state, counts, following = line[4:14].strip(), line[14:36].strip(), line[36:].strip()
        if line.startswith("    ") and state != "state":
            names = set() if following == "-" else set(following.split(", "))
            rows[state] = (int("active" in counts), int("under way" in counts), names)
    return rows


def test_the_printed_table_is_the_one_that_holds() -> None:
    assert printed() == {
        state.name: (state.active, state.under_way, {one.name for one in state.following} - {"ended"} | ends)
        for state in STATES
        for ends in [{"ended"} if state is LANDED else set()]
    }


def test_every_url_can_end_at_once_and_nothing_follows_that() -> None:
    assert all(ENDED in state.following for state in STATES if state is not ENDED)
    assert ENDED.following == ()


@pytest.mark.parametrize("before", STATES, ids=repr)
@pytest.mark.parametrize("after", STATES, ids=repr)
def test_a_url_moves_as_the_table_allows_and_is_counted_in_its_group(before: TaskState, after: TaskState) -> None:
    task = one()
    task.state = before
    task.group.active, task.group.under_way = before.active, before.under_way
    if after in before.following:
        task.move(after)
        assert (task.group.active, task.group.under_way) == (after.active, after.under_way)
    else:
        with pytest.raises(ValueError, match=f"that is {before} cannot become {after}"):
            task.move(after)
        assert task.state is before


def test_a_url_that_is_tried_again_waits_and_runs_as_before() -> None:
    task = one()
    assert task.state is QUEUED
    for state in (RUNNING, LANDED, RETRY, PARKED):
        assert not task.waiting
        task.move(state)
    assert task.waiting


def test_a_request_with_a_body_is_like_no_other() -> None:
    plain, posted = FetchRequest(URL), FetchRequest(URL, body="x")
    task = one()
    assert module.flight_key(task.group, plain, task.target) is not None
    assert module.flight_key(task.group, posted, task.target) is None
    assert module.flight_key(task.group, FetchRequest(URL, method="POST"), task.target) is None


def test_the_log_has_the_beginning_of_an_id_alone() -> None:
    group = one().group
    assert module.asker_of(group) == "b"
    assert isinstance(group, Batch)
    group.id = "0123456789abcdef0123456789abcdef"
    assert module.asker_of(group) == "012345…"
