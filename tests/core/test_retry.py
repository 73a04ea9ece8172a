"""What is tried again, and when."""

import pytest

from service.core.fetching.outcome import Failure, FailureKind, memory_delay, retry_delay, verdict


def delay(outcome: int | Failure, *, method: str = "GET", attempts: int = 1, retry_after: float | None = None,
          chance: float = 1.0) -> float | None:  # fmt: skip
    return retry_delay(method, outcome, attempts=attempts, retries=2, retry_after=retry_after, chance=chance)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_passing_troubles_are_tried_again(status: int) -> None:
    assert delay(status) is not None


@pytest.mark.parametrize("status", [200, 301, 400, 404, 500, 501])
def test_answers_that_will_not_change_are_not(status: int) -> None:
    assert delay(status) is None


@pytest.mark.parametrize(("kind", "again"), [("connect", True), ("timeout", True), ("blocked", False), ("dns", False),
                                             ("tls", False), ("protocol", False), ("redirects", False)])  # fmt: skip
def test_only_failures_of_the_way_there_are(kind: FailureKind, again: bool) -> None:
    assert (delay(Failure(kind, "")) is not None) is again


def test_a_failure_that_is_called_temporary_is_tried_again() -> None:
    assert delay(Failure("dns", "", temporary=True)) is not None


def test_a_method_that_changes_something_is_never_repeated() -> None:
    assert delay(503, method="POST") is None
    assert delay(503, method="PUT") is not None


def test_it_ends_after_the_retries() -> None:
    assert delay(503, attempts=2) is not None
    assert delay(503, attempts=3) is None


def test_full_jitter_over_a_doubling_ceiling_with_a_cap() -> None:
    assert [delay(503, attempts=n) for n in (1, 2)] == [0.2, 0.4]
    assert delay(503, chance=0.0) == 0.0
    assert retry_delay("GET", 503, attempts=60, retries=99, retry_after=None, chance=1.0) == 5.0


def test_what_the_host_asks_for_wins() -> None:
    assert delay(429, retry_after=7.0, chance=0.1) == 7.0


@pytest.mark.parametrize(
    ("outcome", "lasted", "said"),
    [
        (200, 0.1, "fine"),
        (404, 0.1, "fine"),
        (500, 0.1, "fine"),
        (429, 0.1, "slow"),
        (503, 0.1, "busy"),
        (Failure("connect", ""), 0.1, "down"),
        (Failure("dns", ""), 0.1, "down"),
        (Failure("tls", ""), 0.1, "down"),
        (Failure("timeout", ""), 6.0, "down"),
        (Failure("timeout", ""), 0.5, None),  # an impatient client must not close a host for everyone
        (Failure("blocked", ""), 0.1, None),
        (Failure("redirects", ""), 0.1, None),
    ],
)
def test_what_an_attempt_says_of_its_host(outcome: int | Failure, lasted: float, said: str | None) -> None:
    assert verdict(outcome, lasted) == said


def test_what_memory_was_short_for_is_tried_again_later_and_later_and_only_where_repeating_is_safe() -> None:
    assert [memory_delay("GET", short, 1.0) for short in (0, 1, 2, 20)] == [0.1, 0.2, 0.4, 5.0]
    assert memory_delay("GET", 0, 0.0) == 0.05
    assert memory_delay("POST", 0, 1.0) is None
