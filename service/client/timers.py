"""Timers that end with what they belong to."""

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Timers"]


class Timers:
    """Calls that are due later, all of which can be called off."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handles: set[asyncio.TimerHandle] = set()

    def __repr__(self) -> str:
        return f"<Timers {len(self._handles)}>"

    def after(self, delay: float, then: Callable[..., None], *args: Any) -> None:
        """Call something after this many seconds."""

        def due() -> None:
            self._handles.discard(handle)
            then(*args)

        handle = self._loop.call_later(delay, due)
        self._handles.add(handle)

    def clear(self) -> None:
        """Call off what is not due yet."""
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()
