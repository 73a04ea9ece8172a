"""One host in trouble: test_host_limiter.py has its steps; here is what ends it, and what it does not count."""

from service.core.fetching.backoff import Backoff


def test_a_good_answer_to_what_began_before_the_last_step_does_not_end_it() -> None:
    one = Backoff(1, 1)
    one.bad("slow", 0.0, 1.0, None, None, active=0, chance=1.0)
    assert not one.fine(1.0)
    assert [one.fine(2.0 + number) for number in range(2)] == [True, True]


def test_a_retry_that_is_not_paid_back_keeps_it() -> None:
    one = Backoff(4, 4)
    assert one.spend_retry()
    assert [one.fine(float(number)) for number in range(6)] == [False] * 4 + [True] * 2


def test_a_failure_of_the_same_event_lengthens_no_pause() -> None:
    one = Backoff(4, 4)
    for _ in range(20):
        one.bad("down", 0.0, 1.0, None, None, active=4, chance=1.0)
    until = one.not_before
    one.bad("down", 0.5, 1.2, None, None, active=4, chance=1.0)
    assert (one.limit, one.not_before) == (1, until == 1.5 and until)
