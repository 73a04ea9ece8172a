"""Short calls that come by the hundred, spread over turns of the loop: else everyone waits for all of them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from service.runtime.containment import contain

__all__ = ["Spread"]


class Spread:
    """Makes ``each`` calls in a turn of the loop, in order: the first at once, the others in the turns after it.

    ``what`` is how one that raises is reported.
    """

    def __init__(self, what: str, each: int) -> None:
        self._what = what
        self._each = each
        self._left = each
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def __repr__(self) -> str:
        return f"<Spread {len(self._waiting)} waiting>"

    def call(self, action: Callable[..., object], *arguments: Any) -> None:
        """Call now, or in a later turn where this one has had its calls."""
        if self._left == self._each:
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left > 0:
            self._left -= 1
            contain(self._what, action, *arguments)
        else:
            self._waiting.append((action, arguments))

    def _turn(self) -> None:
        self._left = self._each
        waiting = self._waiting
        for _ in range(min(self._each, len(waiting))):
            action, arguments = waiting.popleft()
            self.call(action, *arguments)
