"""Work that can wait gives way to work that has to be over soon, though not for ever."""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["GivingWay"]

_LOOK: Final = 0.005
_PATIENCE: Final = 0.03
"""Seconds that work waits at most: where there is always something to give way to, it goes on, more slowly."""


class GivingWay:
    """``busy`` says whether there is something that goes first; it is set once that is there."""

    def __init__(self) -> None:
        self.busy: Callable[[], bool] = _never

    def __repr__(self) -> str:
        return f"<GivingWay{', to what is under way' if self.busy() else ''}>"

    async def wait(self) -> None:
        """Return when nothing goes first any more, or after a while."""
        waited = 0.0
        while waited < _PATIENCE and self.busy():
            await asyncio.sleep(_LOOK)
            waited += _LOOK


def _never() -> bool:
    return False
