"""So much in a turn of the loop: what costs little each comes in thousands, and all others wait for the whole."""

import asyncio

__all__ = ["TurnBudget"]


class TurnBudget:
    """What those who share it may spend in one turn; the last one may spend more than is left."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._left = each

    def __repr__(self) -> str:
        return f"<TurnBudget {self._left} of {self._each}>"

    @property
    def left(self) -> bool:
        """Whether anything is left of this turn."""
        return self._left > 0

    def spend(self, amount: int) -> None:
        """Take some; the next turn begins with all of it again."""
        if self._left == self._each:
            asyncio.get_running_loop().call_soon(self._refill)
        self._left -= amount

    def _refill(self) -> None:
        self._left = self._each
