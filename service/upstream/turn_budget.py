"""So much in a turn of the loop: what costs little each comes in thousands, and all others wait for the whole."""

import asyncio

__all__ = ["TurnBudget"]


class TurnBudget:
    """What those who share it may spend in one turn; the last one may spend more than is left."""

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
