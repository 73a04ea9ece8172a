"""Whose answers go on in this turn of the loop.

Hundreds of requests of one client may be under way when another comes, and each goes on as soon as some of its
answer is here: that takes 0.1 ms and more. Those of a client that has fetched for long go on one in each turn while
newcomers fetch.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
from service.upstream.http1.head import Head

__all__ = ["AnswerTurns"]

_EACH: Final = 1
"""Answers, or pieces of them, in one turn of the loop."""

HeadOrError = Head | Exception


class AnswerTurns:
    """Wakes what waits for answers, or for more of them; ``gives_way`` says whose are to wait for newcomers."""

    def __init__(self) -> None:
        self.gives_way: Callable[[Owner], bool] = _nobody
        self._turns = PerTurn(_EACH, what="an answer could not go on")

    def __repr__(self) -> str:
        return f"<AnswerTurns {self._turns!r}>"

    def wake(self, owner: Owner, waiter: "asyncio.Future[Head]", outcome: HeadOrError) -> None:
        """End the wait of a request of an owner, now or in a turn of its own."""
        if self.gives_way(owner):
            self._turns.call(owner, partial(_end, waiter, outcome))
        else:
            _end(waiter, outcome)


def _nobody(_: Owner) -> bool:
    return False


def _end(waiter: "asyncio.Future[Head]", outcome: HeadOrError) -> None:
    if waiter.done():
        return
    if isinstance(outcome, Exception):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
