"""The requests of one array: carried out in parts of about a millisecond, and answered together.

A hundred requests that each begin a watch take 20 ms: carried out at once, they would delay every other client.
"""

from collections.abc import Callable
from typing import Any, Final

from service.core.pending import Pending
from service.core.sessions.closing import Reply
from service.core.sessions.late_answers import LateAnswers
from service.core.sessions.messages import Answer, dump

__all__ = ["RequestArray"]

_MOMENT: Final = 0.001
"""About how many seconds of requests are carried out at once."""


class RequestArray:
    """The requests of an array that are left, and the answers to those before them.

    ``carry_out(value, now)`` returns the answer to a request; ``answer(text)`` returns the reply that sends a text.
    """

    def __init__(
        self,
        values: list[Any],
        carry_out: Callable[[Any, float], Answer | Pending[Answer]],
        answer: Callable[[bytes], Reply],
        late: LateAnswers,
        clock: Callable[[], float],
    ) -> None:
        self._left = values[::-1]
        """In reverse order."""
        self._replies: list[Answer | Pending[Answer]] = []
        self._carry_out = carry_out
        self._answer = answer
        self._late = late
        self._held = False
        self._clock = clock

    def __repr__(self) -> str:
        return f"<RequestArray {len(self._replies)} carried out, {len(self._left)} left>"

    def go_on(self, now: float) -> Reply:
        """Carry out the next requests, at least one; after the last, answer the array."""
        until = now + _MOMENT
        while self._left:
            self._replies.append(self._carry_out(self._left.pop(), now))
            if self._clock() >= until:
                break
        if not self._held and (self._left or any(isinstance(reply, Pending) for reply in self._replies)):
            self._held = True
            self._late.hold()
        if self._left:
            return Reply(rest=self.go_on)
        if self._held:
            self._late.send_array(self._replies)
            return self._answer(b"")
        return self._answer(dump([reply for reply in self._replies if reply]))
