"""A client's limits, and those that its token puts in their place."""

from service.core.access.grants import ClientLimits
from service.core.access.rate_limits import ClientRateLimiter, SessionLimits


def test_what_a_token_does_not_name_stays_and_costs_no_memory() -> None:
    limits = SessionLimits(topics=5, rate=10.0, burst=50)
    assert limits.granted(ClientLimits()) is limits
    more = limits.granted(ClientLimits(topics=9))
    assert (more.topics, more.rate, more.burst) == (9, 10.0, 50)


def test_a_burst_is_as_many_seconds_of_another_rate() -> None:
    limits = SessionLimits(rate=10.0, burst=50)
    assert limits.granted(ClientLimits(rate=100.0)).burst == 500
    assert limits.granted(ClientLimits(rate=0.01)).burst == 1


def test_limits_may_be_replaced_while_the_client_is_there() -> None:
    pace = ClientRateLimiter(SessionLimits(rate=10.0, burst=5))
    assert [pace.control(0, 0.0) for _ in range(6)] == [True] * 5 + [False]
    pace.limits = pace.limits.granted(ClientLimits(rate=1000.0))
    assert [pace.control(0, 0.01) for _ in range(9)] == [True] * 9


def test_a_client_that_goes_on_after_many_refusals_floods_until_it_pauses() -> None:
    pace = ClientRateLimiter(SessionLimits(rate=1.0, burst=1, refusals=1.0, refusals_burst=2))
    seen = []
    for _ in range(5):
        pace.control(0, 0.0)
        seen.append(pace.flooding)
    assert seen == [False, False, False, True, True]


def test_pings_count_as_bytes_too() -> None:
    pace = ClientRateLimiter(SessionLimits(bytes=1.0, bytes_burst=10, refusals=1.0, refusals_burst=1))
    assert pace.control(10, 0.0)
    assert not pace.control(10, 0.0)
    assert not pace.control(10, 0.0)
    assert pace.flooding
