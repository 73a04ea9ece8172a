"""When a client comes back: every documented code, delays that grow, chance, and what the service asked for."""

import pytest

from service.client.backoff import CLOSE_CODES, Advice, Backoff, advice_of_status
from service.client.errors import REASONS
from service.core import errors
from service.core.sessions.closing import CLOSINGS


def test_the_close_codes_are_the_contracts() -> None:
    assert {code: advice.value for code, advice in CLOSE_CODES.items()} == {
        closing.code: closing.reconnect.value for closing in CLOSINGS
    } | {4403: Advice.FIXED.value}, "the last one is of services to come"


def test_the_reasons_are_the_contracts() -> None:
    assert {getattr(errors, name).reason for name in errors.__all__ if name != "SluiceError"} == REASONS


def test_delays_double_up_to_the_most() -> None:
    backoff = Backoff(0.5, 30, chance=lambda: 1.0)
    assert [backoff.delay(Advice.LATER) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_chance_spreads_from_nothing_after_now_and_from_half_after_later() -> None:
    for chance, now, later in ((0.0, 0.0, 0.25), (0.5, 0.25, 0.375), (1.0, 0.5, 0.5)):
        assert Backoff(0.5, chance=lambda: chance).delay(Advice.NOW) == now  # noqa: B023
        assert Backoff(0.5, chance=lambda: chance).delay(Advice.LATER) == later  # noqa: B023


def test_a_connection_that_lasted_begins_anew_and_a_short_one_does_not() -> None:
    backoff = Backoff(1, 30, steady=10, chance=lambda: 1.0)
    assert [backoff.delay(Advice.NOW, lasted=1) for _ in range(3)] == [1, 2, 4]
    assert backoff.delay(Advice.NOW, lasted=10) == 1
    assert backoff.delay(Advice.NOW, lasted=9) == 2


def test_what_the_service_asks_for_comes_on_top_and_is_bounded() -> None:
    assert Backoff(1, chance=lambda: 0.5).delay(Advice.NOW, retry_after=7.0) == 7.5
    assert Backoff(1, chance=lambda: 0.5).delay(Advice.NOW, retry_after=1e9) == 600.5


def test_many_failures_do_not_overflow() -> None:
    backoff = Backoff(0.5, 30, chance=lambda: 1.0)
    assert [backoff.delay(Advice.LATER) for _ in range(2000)][-1] == 30


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, Advice.FIXED), (403, Advice.FIXED), (404, Advice.FIXED), (426, Advice.FIXED), (408, Advice.LATER),
     (429, Advice.LATER), (500, Advice.LATER), (502, Advice.LATER), (503, Advice.LATER), (504, Advice.LATER)],
)  # fmt: skip
def test_a_status_says_whether_trying_again_helps(status: int, advice: Advice) -> None:
    assert advice_of_status(status) is advice
