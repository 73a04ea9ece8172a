"""Hosts in trouble: one step an event, pauses that double, one probe, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.fetching import host_states
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import HostVerdict
from service.core.owner import Owner

A = Owner("a")

CAREFUL, GREEDY, OTHER = Owner("careful"), Owner("greedy"), Owner("other")
HOST = "http://h.example:80"


def hosts(limit: int = 16) -> HostLimiter:
    return HostLimiter(limit, chance=lambda: 1.0)


def capacity(all_hosts: HostLimiter, now: float) -> int:
    count = 0
    while all_hosts.has_place(HOST, now):
        all_hosts.begin(HOST)
        count += 1
    for _ in range(count):
        all_hosts.end(HOST)
    return count


def busy(all_hosts: HostLimiter, now: float = 0.0) -> int:
    count = 0
    while all_hosts.has_place(HOST, now):
        all_hosts.begin(HOST)
        count += 1
    return count


def test_a_host_has_its_limit() -> None:
    assert capacity(hosts(), 0.0) == 16


def test_twenty_refusals_of_one_moment_are_one_step() -> None:
    some = hosts()
    for _ in range(busy(some)):
        some.record(HOST, "slow", 0.0, 1.0)
        some.end(HOST)
    assert capacity(some, 1.0) == 0  # it pauses
    assert capacity(some, 1.5) == 8  # and goes on at half


def test_refusals_after_the_step_are_the_next_one() -> None:
    some = hosts()
    for now in (1.0, 3.0, 7.0):
        some.record(HOST, "slow", now, now)
    assert capacity(some, 8.9) == 0  # the third pause is of 2 s
    assert capacity(some, 9.0) == 1


def asked_to_wait(some: HostLimiter, path: str, now: float, seconds: float = 120.0) -> float:
    """Have a page ask for less; return when the host is asked again."""
    some.record(HOST, "slow", now, now, seconds, f"{HOST}/{path}")
    return some.opens_at(HOST)


def test_what_the_host_asks_for_wins_and_has_a_bound() -> None:
    some = hosts()
    assert asked_to_wait(some, "a", 0.0, 0.7) == 0.7
    assert some.wake_at() == 0.7
    assert [*some.pop_opened(0.7)] == [HOST]
    at = [1000.0 * number for number in range(1, 7)]
    assert [asked_to_wait(some, str(now), now, 86_400.0) - now for now in at] == [
        4.0,
        16.0,
        64.0,
        120.0,
        120.0,
        120.0,
    ]


def test_one_page_does_not_close_its_host_however_often_it_asks() -> None:
    some = hosts()
    assert asked_to_wait(some, "a", 0.0) == 1.0
    assert capacity(some, 1.0) == 8
    for now in range(2, 100):
        assert asked_to_wait(some, "a", float(now)) == 1.0
    assert capacity(some, 100.0) == 8


def test_good_answers_between_them_make_each_retry_after_the_first() -> None:
    some = hosts()
    for number in range(5):
        now = 10.0 * number + 1
        assert asked_to_wait(some, str(number), now) == now + 1
        some.record(HOST, "fine", now + 2, now + 2)
    assert asked_to_wait(some, "x", 100.0) == 101.0
    assert asked_to_wait(some, "y", 200.0) == 204.0


def test_success_brings_it_back_and_it_is_forgotten() -> None:
    some = hosts()
    for _ in range(busy(some)):
        some.record(HOST, "slow", 0.0, 0.0)
        some.end(HOST)
    assert some.throttled == 1
    for number in range(8 + 9 + 10):
        some.record(HOST, "fine", 1.0 + number, 2.0 + number)
    assert capacity(some, 100.0) == 11
    for number in range(500):
        some.record(HOST, "fine", 100.0 + number, 100.0 + number)
    assert (capacity(some, 1000.0), some.throttled) == (16, 0)
    assert "0 in trouble" in repr(some)


def test_what_began_before_the_step_does_not_take_it_back() -> None:
    some = hosts()
    some.record(HOST, "slow", 0.0, 5.0)
    limit = capacity(some, 10.0)
    for _ in range(100):
        some.record(HOST, "fine", 4.0, 6.0)
    assert capacity(some, 10.0) == limit


def test_a_page_that_is_always_503_slows_nobody_down() -> None:
    some = hosts()
    for number in range(1000):
        some.record(HOST, "busy" if number % 20 == 0 else "fine", number, number)
        assert capacity(some, number) == 16


def test_a_host_that_is_503_all_over_is_slowed_down() -> None:
    some = hosts()
    some.record(HOST, "busy", 0.0, 0.0)
    assert capacity(some, 0.0) == 16
    some.record(HOST, "busy", 0.0, 0.0)
    assert capacity(some, 0.0) == 0
    other = hosts()
    other.record(HOST, "busy", 0.0, 0.0, 3.0)  # it says so itself
    assert (capacity(other, 0.9), capacity(other, 1.0)) == (0, 8)


def test_every_fifth_is_too_many() -> None:
    some = hosts()
    for number in range(20):
        some.record(HOST, "busy" if number % 5 == 0 else "fine", number, number)
    assert some.throttled == 1


def test_a_dead_host_is_left_alone_and_probed_by_one() -> None:
    some = hosts()
    for _ in range(19):
        some.record(HOST, "down", 0.0, 0.0)
    assert capacity(some, 0.0) == 16
    some.record(HOST, "down", 0.0, 0.0)
    assert capacity(some, 0.4) == 0
    assert capacity(some, 0.5) == 1
    some.record(HOST, "down", 0.5, 0.6)  # the probe
    assert capacity(some, 1.5) == 0
    assert capacity(some, 1.6) == 1
    some.record(HOST, "fine", 1.6, 1.7)
    assert capacity(some, 1.7) == 2


def test_an_answer_between_failures_keeps_it_open() -> None:
    some = hosts()
    for _ in range(10):
        for _ in range(19):
            some.record(HOST, "down", 0.0, 0.0)
        some.record(HOST, "fine", 0.0, 0.0)
    assert capacity(some, 0.0) == 16


def test_retries_have_a_budget_that_success_refills() -> None:
    some = hosts()
    assert sum(some.spend_retry(HOST) for _ in range(1000)) == 50
    for _ in range(6):
        some.record(HOST, "fine", 0.0, 0.0)
    assert sum(some.spend_retry(HOST) for _ in range(1000)) == 1


def test_it_remembers_ten_thousand_at_most() -> None:
    some = hosts()
    for number in range(10_500):
        some.record(f"http://h{number}.example:80", "down", 0.0, 0.0)
    assert "10000 in trouble" in repr(some)


@given(
    st.lists(
        st.tuples(st.sampled_from(["fine", "busy", "slow", "down"]), st.floats(0, 5), st.floats(0, 3)), max_size=200
    )
)
def test_after_any_history_it_is_asked_again_within_two_minutes(events: list[tuple[str, float, float]]) -> None:
    some, now = hosts(4), 0.0
    for said, lasted, passed in events:
        now += passed
        some.record(HOST, said, now - lasted, now, None)  # type: ignore[arg-type]
        assert 0 <= capacity(some, now) <= 4
    assert capacity(some, now + 120.0) >= 1


def test_where_hosts_are_shared_one_owner_leaves_a_quarter_to_others() -> None:
    for limit, share in ((20, 15), (8, 6), (5, 4), (3, 3), (1, 1)):
        some = HostLimiter(limit, chance=lambda: 1.0, shared=True)
        count = 0
        while some.has_place(HOST, 0.0, A):
            some.begin(HOST, A)
            count += 1
        assert count == share
        assert some.has_place(HOST, 0.0, Owner("b")) == (share < limit)
        assert some.has_place(HOST, 0.0) == (share < limit), "a redirect waits for the host alone"
        some.end(HOST, A)
        assert some.has_place(HOST, 0.0, A)


def test_only_hosts_with_waiting_urls_are_reported() -> None:
    some = hosts(1)
    for waited_for, reported in (((), []), ((HOST,), [HOST])):
        some.waited_for = waited_for
        some.begin(HOST)
        some.end(HOST)
        assert [*some.pop_opened(0.0)] == reported
        assert [*some.pop_opened(0.0)] == []


def shared() -> HostLimiter:
    """Return hosts at which one owner has been answered, just now."""
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    some.record(HOST, "fine", 0.0, 0.0, owner=CAREFUL)
    return some


def test_what_one_owner_brings_about_holds_back_that_owner_alone() -> None:
    some = shared()
    for number in range(1, 6):
        some.record(HOST, "slow", float(number), float(number), 120.0, f"{HOST}/{number}", GREEDY)
        some.record(HOST, "busy", float(number), float(number), None, f"{HOST}/{number}", GREEDY)
        some.record(HOST, "down", float(number), float(number), None, f"{HOST}/{number}", GREEDY)
    assert capacity(some, 5.0) == 16
    assert some.has_place(HOST, 5.0, CAREFUL)
    assert not some.has_place(HOST, 5.0, GREEDY)
    assert some.opens_for(HOST, GREEDY) == 125.0
    assert some.opens_for(HOST, CAREFUL) == some.opens_at(HOST) == 0.0
    some.waited_for = {HOST}
    assert HOST in some.pop_opened(125.0)
    assert some.has_place(HOST, 125.0, GREEDY)


def test_what_two_owners_are_asked_for_is_the_host_s() -> None:
    some = shared()
    some.record(HOST, "fine", 0.0, 0.0, owner=GREEDY)
    some.record(HOST, "slow", 1.0, 1.0, 120.0, f"{HOST}/1", GREEDY)
    assert capacity(some, 1.0) == 16
    some.record(HOST, "slow", 1.0, 1.0, 120.0, f"{HOST}/2", CAREFUL)
    assert capacity(some, 1.0) == 0


def test_a_host_that_goes_down_for_all_is_shut_though_it_has_just_answered() -> None:
    some = shared()
    some.record(HOST, "fine", 0.0, 0.0, owner=OTHER)
    for number in range(60):
        some.record(HOST, "down", 1.0 + number / 100, 1.0 + number / 100, owner=(CAREFUL, OTHER)[number % 2])
    assert capacity(some, 1.6) == 0


@pytest.mark.parametrize("verdict", ["slow", "busy", "down"])
def test_a_host_that_nobody_else_has_asked_yet_is_there_for_the_first_who_does(verdict: HostVerdict) -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    for number in range(60):
        some.begin(HOST, GREEDY)
        some.record(HOST, verdict, float(number), float(number), 120.0, f"{HOST}/{number}", GREEDY)
        some.end(HOST, GREEDY)
    assert not some.has_place(HOST, 59.0, GREEDY)
    assert some.has_place(HOST, 59.0, CAREFUL)
    assert some.opens_for(HOST, CAREFUL) == 0.0
    assert not some.hands_on(HOST, GREEDY)
    assert some.hands_on(HOST, CAREFUL)
    assert some.throttled == 1


def test_as_many_requests_as_a_host_has_left_to_one_owner_are_counted_for_that_owner() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    for _ in range(8):
        some.begin(HOST, CAREFUL)
    some.begin(HOST, GREEDY)
    some.record(HOST, "slow", 0.0, 0.0, owner=GREEDY)
    some.end(HOST, GREEDY)
    assert some.has_place(HOST, 0.5, GREEDY), "one at a time, although others have eight"
    some.begin(HOST, GREEDY)
    assert not some.has_place(HOST, 0.5, GREEDY)
    for now in range(1, 100):
        some.record(HOST, "fine", float(now), float(now), owner=GREEDY)
    assert some.has_place(HOST, 100.0, GREEDY)


def test_each_owner_has_a_budget_of_retries() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    assert sum(some.spend_retry(HOST, GREEDY) for _ in range(1000)) == 50
    assert some.spend_retry(HOST, CAREFUL)


def test_a_pause_of_one_owner_is_reported_where_somebody_waits() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    some.record(HOST, "slow", 0.0, 0.0, 1.0, f"{HOST}/1", GREEDY)
    assert some.pop_shut() == ()
    some.waited_for = {HOST}
    some.record(HOST, "slow", 0.0, 0.0, 9.0, f"{HOST}/2", GREEDY)
    assert [*some.pop_shut()] == [(HOST, 4.0, GREEDY)]
    assert some.pop_shut() == ()
    assert [*some.pop_opened(0.0)] == [HOST]


def test_an_owner_without_a_place_at_a_host_is_forgotten_while_others_have_one() -> None:
    some = HostLimiter(4, chance=lambda: 1.0, shared=True)
    for owner in (A, A, OTHER):
        some.begin(HOST, owner)
    assert (some.statistics().owners, some.statistics().largest) == (2, 2)
    some.end(HOST, OTHER)
    assert (some.statistics().used, some.statistics().owners) == (2, 1)
    some.end(HOST, A)
    some.end(HOST, A)
    assert (some.statistics().used, some.statistics().owners) == (0, 0)


def test_a_shorter_retry_after_does_not_end_a_longer_pause() -> None:
    some = hosts()
    ends = [asked_to_wait(some, f"p{number}", number / 10, 60.0) for number in range(7)]
    later = asked_to_wait(some, "z", 2.0, 1.0)
    assert later >= max(ends)


def test_a_storm_of_retries_of_a_thousand_owners_has_an_end() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    owners = [Owner(f"o{number}") for number in range(1000)]
    made = [sum(some.spend_retry(HOST, owner) for _ in range(60)) for owner in owners]
    assert (made[:10], made[10:]) == ([50] * 10, [5] * 990), "an owner that comes late has a few all the same"
    for _ in range(5):
        some.record(HOST, "fine", 0.0, 1.0, owner=owners[0])
    assert [some.spend_retry(HOST, owners[0]) for _ in range(2)] == [True, False], "a fifth of the good answers"


def test_whose_retries_are_counted_keeps_handing_its_places_on() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    some.spend_retry(HOST, GREEDY)
    assert some.hands_on(HOST, CAREFUL)
    assert some.hands_on(HOST, GREEDY)
    some.record(HOST, "slow", 0.0, 1.0, owner=GREEDY)
    assert some.hands_on(HOST, CAREFUL)
    assert not some.hands_on(HOST, GREEDY), "it has fewer places now"


def test_who_meets_trouble_at_many_hosts_has_nobody_else_s_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_states, "_MOST", 10)
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    for owner in (CAREFUL, OTHER):
        some.record(HOST, "slow", 0.0, 0.0, retry_after=120.0, url=f"{HOST}/1", owner=owner)
    for number in range(100):
        some.record(f"http://dead{number}.example:80", "slow", 0.0, 0.0, owner=GREEDY)
        some.spend_retry(f"http://other{number}.example:80", GREEDY)
    assert [some.has_place(HOST, 0.5, owner) for owner in (CAREFUL, OTHER, GREEDY, None)] == [False] * 4
    assert repr(some) == "<HostLimiter 0 active, 10 in trouble>"


def test_two_owners_hold_back_others_for_two_seconds_and_more_for_longer() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    owners = [Owner(f"o{number}") for number in range(16)]
    opens = []
    for number, owner in enumerate(owners):
        # Each asks another page, and each page asks for two minutes: the host insists.
        some.record(HOST, "slow", number / 8, number / 8, retry_after=120.0, url=f"{HOST}/{number}", owner=owner)
        opens.append(some.opens_at(HOST) - number / 8)
    assert opens[:5] == [0.0, 1.0, 4.0, 8.0, 12.5], "the first is asked to wait for a second by its own state alone"
    assert opens[15] == 120.0


def test_what_is_held_back_longer_already_stays_so() -> None:
    some = HostLimiter(16, chance=lambda: 1.0, shared=True)
    for number in range(16):
        some.record(
            HOST, "slow", number, number, retry_after=120.0, url=f"{HOST}/{number}", owner=Owner(f"o{number}")
        )
    until = some.opens_at(HOST)
    assert until > 100.0
    for owner in (CAREFUL, GREEDY):
        some.record(HOST, "slow", 80.0, 80.0, retry_after=120.0, url=f"{HOST}/{owner}", owner=owner)
    assert some.opens_at(HOST) == until
