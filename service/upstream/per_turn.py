"""So much in a turn of the loop: handshakes, messages, steps of decoding or URLs that come together are spread.

A hundred that are carried out in one turn take 10 ms, and a message of that turn waits for all
of them, twice: once until its publish is read, and once until readers are visited.
"""

import asyncio

from service.core.fair_queue import FairQueue
from service.core.owner import Owner

__all__ = ["PerTurnLimiter", "TurnBudget"]


class PerTurnLimiter:
    """Lets ``each`` pass in a turn of the loop, the others in the turns after it: owners take turns.

    What passes may have a cost other than 1; the last one of a turn may cost more than is left of it. An owner's
    turn among those that wait is worth ``quantum``.
    """

    def __init__(self, each: int, quantum: int = 1) -> None:
        self._each = each
        self._left = each
        self._waiting: FairQueue[tuple[asyncio.Future[None], int]] = FairQueue(quantum)
        self._turning = False

    def __repr__(self) -> str:
        return f"<PerTurnLimiter {len(self._waiting)} waiting>"

    async def wait(self, owner: Owner, cost: int = 1) -> None:
        """Return when it is the caller's turn."""
        if self._left > 0:
            self._left -= cost
            if not self._turning:
                self._turning = True
                asyncio.get_running_loop().call_soon(self._turn)
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, (place, cost))
        await place

    def _turn(self) -> None:
        """Let the next ones pass; one that has gone in the meantime takes nobody's place."""
        idle = self._left == self._each
        self._left = self._each
        while self._left > 0 and self._waiting:
            place, cost = self._waiting.first.items.popleft()
            if place.done():
                cost = 0
            else:
                place.set_result(None)
            self._waiting.spend(cost)
            self._left -= cost
        self._turning = not idle
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)


class TurnBudget:
    """What those who share it may spend in one turn, without waiting; the last one may spend more than is left."""

    def __init__(self, each: int) -> None:
        self._each = each
        self.left = each
        """What is left of this turn; 0 or less where it is over."""

    def __repr__(self) -> str:
        return f"<TurnBudget {self.left} of {self._each}>"

    def spend(self, amount: int) -> None:
        """Take some; the next turn begins with all of it again."""
        if self.left == self._each:
            asyncio.get_running_loop().call_soon(self._refill)
        self.left -= amount

    def _refill(self) -> None:
        self.left = self._each
