"""Large documents: parsed beside the loop, one at a time, clients in turns, and only for a part of the time.

A text of 16 MiB takes 20 ms to parse, and one that is malformed or has long numbers up to two seconds. In a thread
the loop goes on meanwhile, but both share one interpreter, so that a client that sends one after another would slow
everyone down.
"""

import asyncio
from time import monotonic
from typing import Any, Final

from aiohttp import web

from service.core.owner import Owner
from service.core.parsing import parse
from service.runtime.per_turn import PerTurn
from service.runtime.threads import call_in_thread
from service.runtime.turns import Turns

__all__ = ["LARGE", "LARGE_JSON", "STEPS", "LargeJson"]

LARGE: Final = 256 << 10
"""Bytes from which a document is large; smaller ones take less than a millisecond."""
STEPS: Final = 8
"""Steps of decoding, of 64 KiB each, in one turn of the loop, of all bodies together: 1 ms."""
_REST: Final = 3.0
"""Times what a document took until the next may begin, and the longest such rest in seconds."""
_LONGEST_REST: Final = 2.0


class LargeJson:
    """Parses large documents for the clients that wait their turn."""

    def __init__(self) -> None:
        self._turns = Turns()
        self.steps = PerTurn(STEPS)
        """For taking off content codings before."""

    def __repr__(self) -> str:
        return f"<LargeJson {self._turns!r}>"

    async def parse(self, text: bytes | bytearray, owner: Owner) -> Any:
        """Return the JSON value; raise what ``parsing.parse`` does, and ThreadUnavailable."""
        async with self._turns.turn(owner):
            begun = monotonic()
            try:
                return await call_in_thread(None, parse, text)
            finally:
                await asyncio.sleep(min(_LONGEST_REST, _REST * (monotonic() - begun)))


LARGE_JSON: Final = web.AppKey("large_json", LargeJson)
