"""What only asks changes nothing: each question is asked in a busy state, and the state is compared."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import msgspec
import pytest

from service.core.fetching.batch import BatchLimits
from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

FULL, FREE, SHUT = (f"http://h{number}.example:80" for number in (0, 1, 2))
LIMITS = replace(BatchLimits(), active=30, active_per_host=4, active_per_client=20, hosts_shared=True)


def busy() -> Planned:
    """Return a plan in which URLs run, wait for a host, wait for a retry, and have left."""
    planned = Planned(LIMITS)
    planned.add(batch_of(hosts(40, 3), name="a", owner="a", timeout=5.0))
    planned.add(batch_of(hosts(40, 3), name="b", owner="b", timeout=50.0))
    running = planned.start()
    planned.hosts.record(SHUT, "fine", 0.0, 0.0, owner=Owner("b"))
    planned.hosts.record(SHUT, "slow", 0.1, 0.1, 3.0, f"{SHUT}/1", Owner("a"))
    for task in running[:3]:
        planned.plan.free(task)
        planned.plan.landed(task)
    planned.plan.retry(running[0], 7.0)
    return planned


def state_of(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Return all that can be reached from a value, as nested tuples that can be compared."""
    seen = {} if seen is None else seen
    if value is None or isinstance(value, bool | int | float | str | bytes) or callable(value):
        return value
    if id(value) in seen:
        return ("seen", seen[id(value)])
    seen[id(value)] = len(seen)
    if isinstance(value, dict):
        return [(state_of(key, seen), state_of(one, seen)) for key, one in value.items()]
    if isinstance(value, list | tuple | set | frozenset) or hasattr(value, "popleft"):
        return [state_of(one, seen) for one in value]
    return type(value).__name__, [(name, state_of(getattr(value, name, None), seen)) for name in _names(value)]


def _names(value: Any) -> list[str]:
    if is_dataclass(value):
        return [field.name for field in fields(value)]
    if isinstance(value, msgspec.Struct):
        return list(value.__struct_fields__)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(value, "__dict__", ())]


QUERIES: dict[str, Callable[[Planned], object]] = {
    "wake_at": lambda planned: planned.plan.wake_at(),
    "room": lambda planned: [
        planned.hosts.has_place(origin, now, owner)
        for origin in (FULL, FREE, SHUT)
        for now in (0.0, 1.0, 9.0)
        for owner in (None, Owner("a"), Owner("b"))
    ],
    "opens_at": lambda planned: planned.hosts.opens_at(SHUT),
    "opens_for": lambda planned: planned.hosts.opens_for(SHUT, Owner("a")),
    "used_up": lambda planned: [planned.plan.shares.used_up(one) for one in planned.plan.owners.states.values()],
    "next_deadline": lambda planned: planned.plan.parking.next_deadline(),
    "at": lambda planned: planned.plan.parking.at(FULL),
    "overdue": lambda planned: planned.plan.admitted.overdue(60.0),
    "open and left": lambda planned: [(one.open, one.left) for one in planned.plan.owners.backlogs.values()],
    "statistics": lambda planned: (planned.hosts.statistics(), planned.plan.shares.statistics()),
    "repr": lambda planned: repr(planned.plan),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_changes_nothing(name: str) -> None:
    planned = busy()
    before = state_of((planned.plan, planned.hosts))
    answer = QUERIES[name](planned)
    assert state_of((planned.plan, planned.hosts)) == before
    assert QUERIES[name](planned) == answer


def test_the_comparison_sees_a_change() -> None:
    planned = busy()
    before = state_of((planned.plan, planned.hosts))
    planned.hosts.spend_retry(FREE)
    assert state_of((planned.plan, planned.hosts)) != before
