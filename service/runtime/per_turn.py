"""So much in a turn of the loop: what comes together is spread over turns, and owners that wait take turns.

A hundred handshakes that are carried out in one turn take 10 ms, and a message of that turn waits for all
of them, twice: once until its publish is read, and once until readers are visited.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from service.core.owner import Owner
from service.core.rotation import FairQueue
from service.runtime.containment import contain

__all__ = ["PerTurn"]


class PerTurn:
    """What all who share it may do in one turn of the loop: ``each`` things, or as many as have so much cost.

    The last one of a turn may cost more than is left of it. The turn of an owner among those that wait is worth
    ``quantum``. ``what`` is how a call that raises is reported.
    """

    def __init__(self, each: int, quantum: int = 1, *, what: str = "a call that had to wait failed") -> None:
        self.left = each
        """What is left of this turn; 0 or less where it is over."""
        self._each = each
        self._what = what
        self._ahead = 0
        """What those cost that were let pass in this turn: their tasks go on in the next one."""
        self._waiting: FairQueue[_Waiting] = FairQueue(quantum)
        self._count = 0
        """How many wait, counted here because everything that comes looks at it."""
        self._turning = False

    def __repr__(self) -> str:
        return f"<PerTurn {self.left} of {self._each} left, {self._count} waiting>"

    def spend(self, cost: int) -> None:
        """Take some of this turn without waiting: all is there again a turn of the loop after the first of it."""
        self.left -= cost
        if not self._turning:
            self._turn_soon()

    async def wait(self, owner: Owner, cost: int = 1) -> None:
        """Return when it is the caller's turn."""
        if self.left > 0 and not self._count:
            self.spend(cost)
            return
        place = asyncio.get_running_loop().create_future()
        self._put(owner, _Waiting(partial(_let_pass, place), cost, ahead=True))
        await place

    def call(self, owner: Owner, action: Callable[[], object], cost: int = 1) -> None:
        """Carry out a short action: now, or when it is its turn."""
        if self.left > 0 and not self._count:
            self.spend(cost)
            contain(self._what, action)
        else:
            self._put(owner, _Waiting(partial(_carry_out, self._what, action), cost, ahead=False))

    def _put(self, owner: Owner, waiting: "_Waiting") -> None:
        self._waiting.put(owner, waiting)
        self._count += 1
        if not self._turning:
            self._turn_soon()

    def _turn_soon(self) -> None:
        self._turning = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Let the next ones pass; one that has gone in the meantime takes nobody's place."""
        self._turning = False
        self.left, self._ahead = self._each - self._ahead, 0
        if self._count:
            # Before those who pass go on: what is left of this turn is not theirs.
            self._turn_soon()
        while self._count:
            items = self._waiting.first.items
            first = items[0]
            if (self._ahead >= self._each) if first.ahead else (self.left <= 0):
                break
            items.popleft()
            spent = first.cost if first.passes() else 0
            self._waiting.spend(spent)
            self._count -= 1
            if first.ahead:
                self._ahead += spent
            else:
                self.left -= spent
        if not self._turning and (self._ahead or self.left < self._each):
            self._turn_soon()


class _Waiting(NamedTuple):
    """One that waits."""

    passes: Callable[[], bool]
    """Has it go on; returns whether it is still there."""
    cost: int
    ahead: bool
    """Whether it goes on in the next turn of the loop: a task that waits does."""


def _let_pass(place: "asyncio.Future[None]") -> bool:
    if place.done():
        return False
    place.set_result(None)
    return True


def _carry_out(what: str, action: Callable[[], object]) -> bool:
    contain(what, action)
    return True
