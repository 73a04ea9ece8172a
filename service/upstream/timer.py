"""A call at a time, which knows its time."""

import asyncio
from collections.abc import Callable

__all__ = ["Timer"]


class Timer:
    """Like the handle of ``call_at``, with ``at``.

    The loop's own handle cannot be asked: what is due within half a millisecond uvloop calls soon, and gives a
    handle that has no ``when``; others it rounds to milliseconds.
    """

    __slots__ = ("_handle", "at")

    def __init__(self, at: float, callback: Callable[..., None], *arguments: object) -> None:
        self.at = at
        self._handle: asyncio.Handle = asyncio.get_running_loop().call_at(at, callback, *arguments)

    def __repr__(self) -> str:
        return f"<Timer at {self.at:.3f}>"

    def cancel(self) -> None:
        """Call nothing; doing it again, or too late, is harmless."""
        self._handle.cancel()
