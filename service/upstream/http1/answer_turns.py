"""Whose answers go on in this turn of the loop.

Hundreds of requests of one client may be under way, and each goes on as soon as some of its answer has come, which
takes 0.1 ms or more. When a batch begins, a hundred answers may come together and make a turn of 12 ms. That is
fastest for a client alone, and too long for others that fetch. While newcomers fetch, one answer goes on in each
turn for all clients that have fetched for long.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
from service.upstream.http1.head import Head

__all__ = ["AnswerTurns"]

_EACH: Final = 24
"""Answers, or pieces of them, in one turn of the loop, where several clients fetch."""
_BEHIND: Final = 1
"""The same for all owners that give way, together."""
_FAILED: Final = "an answer could not go on"

HeadOrError = Head | Exception


class AnswerTurns:
    """Wakes requests that wait for an answer, or for more of one.

    ``contended`` says whether several clients fetch, and ``gives_way`` whose answers are to wait for newcomers.
    """

    def __init__(self) -> None:
        self.contended: Callable[[], bool] = _never
        self.gives_way: Callable[[Owner], bool] = _nobody
        self._turns = PerTurn(_EACH, what=_FAILED)
        self._behind = PerTurn(_BEHIND, spare=0, what=_FAILED)

    def __repr__(self) -> str:
        return f"<AnswerTurns {self._turns!r}, {self._behind!r} for those who give way>"

    def wake(self, owner: Owner, waiter: "asyncio.Future[Head]", outcome: HeadOrError) -> None:
        """End the wait of a request of an owner, now or in a turn of its own."""
        turns = self._behind if self.gives_way(owner) else self._turns
        if not self.contended() or turns.take(owner):
            _end(waiter, outcome)
        else:
            turns.call(owner, partial(_end, waiter, outcome))


def _never() -> bool:
    return False


def _nobody(_: Owner) -> bool:
    return False


def _end(waiter: "asyncio.Future[Head]", outcome: HeadOrError) -> None:
    if waiter.done():
        return
    if isinstance(outcome, Exception):
        waiter.set_exception(outcome)
    else:
        waiter.set_result(outcome)
