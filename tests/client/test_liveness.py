"""A connection from which nothing comes is asked for a sign of life, then given up."""

from collections.abc import Callable
from typing import Any

from service.client.liveness import Liveness


class Looks:
    """Runs each look when the test says so, and counts the outcome of them."""

    def __init__(self) -> None:
        self.due: Callable[[], None] | None = None
        self.asked = self.lost = 0
        timers: Any = self
        self.liveness = Liveness(timers, self.ask, self.lose)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        assert seconds == 5.0
        self.due = action

    def ask(self) -> None:
        self.asked += 1

    def lose(self) -> None:
        self.lost += 1

    def look(self, times: int) -> None:
        for _ in range(times):
            action, self.due = self.due, None
            assert action is not None
            action()


def test_after_five_silent_looks_it_is_asked_and_after_three_more_given_up() -> None:
    looks = Looks()
    looks.look(4)
    assert (looks.asked, looks.lost) == (0, 0)
    looks.look(1)
    assert (looks.asked, looks.lost) == (1, 0)
    assert repr(looks.liveness) == "<Liveness silent for 5 looks>"
    looks.look(3)
    assert (looks.asked, looks.lost) == (1, 1)
    assert looks.due is None, "it is not looked at any more"


def test_a_frame_begins_the_silence_anew() -> None:
    looks = Looks()
    looks.look(7)
    looks.liveness.heard = True
    looks.look(1)
    looks.look(4)
    assert (looks.asked, looks.lost) == (1, 0)


def test_a_pause_of_our_own_is_not_a_silence() -> None:
    looks = Looks()
    looks.liveness.paused = True
    looks.look(20)
    assert (looks.asked, looks.lost) == (0, 0)
