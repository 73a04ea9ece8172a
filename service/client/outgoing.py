"""What one connection sends: frames in order, from callers that do not wait."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Final

from aiohttp import ClientWebSocketResponse, WSMsgType

__all__ = ["Outgoing"]

_log = logging.getLogger("sluice.client")

_GOODBYE: Final = 1.0
"""Seconds for what was decided at the last moment."""


class Outgoing:
    """A queue of frames, bounded by the number of callers: each has at most one frame in it."""

    def __init__(self, socket: "ClientWebSocketResponse[bool]") -> None:
        self._socket = socket
        self._frames: deque[tuple[bytes, WSMsgType]] = deque()
        self._more = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Outgoing {len(self._frames)} frames>"

    def text(self, text: bytes) -> None:
        """Send a text frame."""
        self.frame(text, WSMsgType.TEXT)

    def frame(self, payload: bytes, opcode: WSMsgType) -> None:
        """Send a frame."""
        self._frames.append((payload, opcode))
        self._more.set()

    async def run(self) -> None:
        """Send what there is until cancelled; that a connection is broken is for its reader to notice.

        After any other error the connection is closed, so that its reader notices that as well.
        """
        try:
            while True:
                await self._send()
                self._more.clear()
                await self._more.wait()
        except ConnectionError:
            return
        except Exception:
            _log.exception("the connection is closed: it cannot be written to")
            await self._socket.close()

    async def close(self) -> None:
        """Send what is left, a batch's cancellation for one, as far as a moment is enough for it."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._send()

    async def _send(self) -> None:
        while self._frames:
            await self._socket.send_frame(*self._frames.popleft())
