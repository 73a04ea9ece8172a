"""A cutting proxy that gives every connection a ration of bytes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tests.end_to_end.cutting import Cutter, serving


class Rationed(Cutter):
    """Ends each connection when its ration of the service's bytes is used up, even in the middle of a message."""

    def __init__(self, target: int, ration: Callable[[], int]) -> None:
        super().__init__(target)
        self.ration = ration

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, heard: bool) -> None:
        left = self.ration() if heard else 1 << 40
        while left and (data := await reader.read(min(left, 65536))):
            left -= len(data)
            writer.write(data)
            await writer.drain()


def rationed(target: int, ration: Callable[[], int]) -> AbstractAsyncContextManager[Rationed]:
    """Run one in front of a port until the block ends."""
    return serving(Rationed(target, ration))
