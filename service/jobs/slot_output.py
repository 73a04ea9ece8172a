"""What the process of a slot prints: the newest of it is kept, function by function.

The pipe is ours to close: what a function has started may hold its other end open for ever.
"""

import asyncio
import os
from typing import Final

from service.jobs.slot_messages import END
from service.runtime.awaiting import readable
from service.runtime.containment import end_task

__all__ = ["SlotOutput"]

_KEPT: Final = 16 << 10
"""Bytes of output that are kept, the newest."""
_LATE: Final = 1.0
"""Seconds that its output has to arrive after a function has ended: it comes through a pipe of its own."""
_PAUSE: Final = 0.02
"""Seconds between two reads of much output: a function that prints for ever slows down itself alone."""


class SlotOutput:
    """The end of a pipe that is read; made by :meth:`open`."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self._complete = asyncio.Event()
        """Whether all is here that the function has printed."""
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="job output")
        self._reading.add_done_callback(lambda _: os.close(pipe))

    def __repr__(self) -> str:
        return f"<SlotOutput {len(self._kept)} bytes>"

    @classmethod
    def open(cls) -> tuple["SlotOutput", int]:
        """Return it, and the descriptor that the process writes to, which the caller has to close."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        return cls(ours), theirs

    @property
    def text(self) -> str:
        """What the function has printed: the newest 16 KiB."""
        return self._kept.decode(errors="replace")

    def clear(self) -> None:
        """Begin with the output of another function."""
        self._kept.clear()
        self._complete.clear()

    async def complete(self) -> bool:
        """Wait a moment for all that the function has printed; return False where it has closed its output."""
        try:
            async with asyncio.timeout(_LATE):
                await self._complete.wait()
        except TimeoutError:
            return False
        return True

    async def _read(self) -> None:
        while piece := await self._piece():
            self._kept += piece
            if (end := self._kept.rfind(END)) >= 0:
                del self._kept[end : end + len(END)]
                self._complete.set()
            del self._kept[:-_KEPT]
            if len(piece) > _KEPT // 4:
                await asyncio.sleep(_PAUSE)

    async def _piece(self) -> bytes:
        await readable(self._pipe)
        return os.read(self._pipe, _KEPT)

    async def close(self) -> None:
        """Read no more."""
        await end_task("the output of a job could not be read", self._reading)
