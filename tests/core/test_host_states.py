"""Who has most of the hosts in trouble loses the oldest of them; who has few keeps them."""

import pytest

from service.core.fetching import host_states
from service.core.fetching.backoff import Backoff
from service.core.fetching.host_states import HostStates
from service.core.owner import Owner

A, B = Owner("a"), Owner("b")


def add(some: HostStates, origin: str, owner: Owner, of: Owner | None = None) -> Backoff:
    return some.get((origin, of), owner, Backoff(1, 1))


def test_a_state_is_kept_until_its_host_is_well() -> None:
    some = HostStates()
    state = add(some, "h", A)
    assert add(some, "h", B) is state
    assert repr(some) == "<HostStates 1 of 1 owners>"
    some.forget(("h", None))
    assert repr(some) == "<HostStates 0 of 0 owners>"
    assert add(some, "h", B) is not state


def test_beyond_the_bound_who_has_most_loses_the_one_that_has_rested_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_states, "_MOST", 5)
    some = HostStates()
    add(some, "b", B)
    for number in range(4):
        add(some, f"a{number}", A)
    add(some, "a0", B)  # whose it is stays as it is
    add(some, "new", B)
    assert [origin for origin, _ in some.by_key] == ["b", "a0", "a2", "a3", "new"]


def test_one_that_has_lost_or_freed_its_states_is_not_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_states, "_MOST", 5)
    some = HostStates()
    for number in range(4):
        add(some, f"a{number}", A, A)
    for number in range(3):
        some.forget((f"a{number}", A))
    for number in range(5):
        add(some, f"b{number}", B)
    assert [origin for origin, _ in some.by_key] == ["a3", "b1", "b2", "b3", "b4"]
