"""Work that can wait gives way, for a short time, to work that has to be over soon."""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["GivingWay"]

_CHECK: Final = 0.005
_PATIENCE: Final = 0.03
"""Seconds that work waits at most: if something urgent is always under way, it still goes on, more slowly."""


class GivingWay:
    """``busy`` says whether something urgent is under way; the part that does such work sets it."""

    def __init__(self) -> None:
        self.busy: Callable[[], bool] = _never

    def __repr__(self) -> str:
        return f"<GivingWay{', to what is under way' if self.busy() else ''}>"

    async def wait(self) -> None:
        """Return when nothing urgent is under way any more, or after 30 ms."""
        waited = 0.0
        while waited < _PATIENCE and self.busy():
            await asyncio.sleep(_CHECK)
            waited += _CHECK


def _never() -> bool:
    return False
