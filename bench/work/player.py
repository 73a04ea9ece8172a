"""Plays a video into a pipeline, at a rate, and takes what comes out."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

__all__ = ["Played", "play"]

_SAMPLED: Final = 7
"""Of how many outputs one is looked at afterwards: to decode them takes time from the service."""


@dataclass
class Played:
    """What went in and came out; items count from 0."""

    sent: int = 0
    dropped: int = 0
    failed: int = 0
    seconds: float = 0.0
    sampled: list[tuple[int, bytes]] = field(default_factory=list)
    """Items and their outputs, some of all."""
    times: list[float] = field(default_factory=list)
    """Seconds from when an item was to be sent until it came out, in the order in which they came out."""

    @property
    def rate(self) -> float:
        """Items that came out in a second."""
        return len(self.times) / self.seconds

    @property
    def p99_ms(self) -> tuple[float, float]:
        """The p99 of the times, of the first half and of the second."""
        half = len(self.times) // 2
        first, second = sorted(self.times[:half]), sorted(self.times[half:])
        return first[int(len(first) * 0.99)] * 1000, second[int(len(second) * 0.99)] * 1000


def play(uri: str, video: Sequence[bytes], rate: float, seconds: float) -> Played:
    """Send frames for so long, each when it is its time or as soon as it is taken; return what came out."""
    return asyncio.run(_play(uri, video, rate, seconds))


async def _play(uri: str, video: Sequence[bytes], rate: float, seconds: float) -> Played:
    played, due = Played(), list[float]()
    async with aiohttp.ClientSession() as session, session.ws_connect(uri, max_msg_size=0) as socket:
        # Both ways at once: with one lock for both, both ends would wait for each other.
        taking = asyncio.create_task(_take(socket, played, due))
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds and not taking.done():
            at = max(now, begin + played.sent / rate)
            await asyncio.sleep(at - now)
            due.append(at)
            played.sent += 1
            await socket.send_bytes(video[(played.sent - 1) % len(video)])
        await socket.send_str('{"event":"end"}')
        async with asyncio.timeout(60):
            await taking
    if len(played.times) + played.dropped + played.failed != played.sent:
        raise RuntimeError(f"{played.sent} went in, {len(played.times)} came out, {played.dropped} were dropped")
    return played


async def _take(socket: aiohttp.ClientWebSocketResponse, played: Played, due: list[float]) -> None:
    begin, item = time.monotonic(), 0
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            played.times.append(time.monotonic() - due[item])
            if len(played.times) % _SAMPLED == 1:
                played.sampled.append((item, message.data))
            item += 1
            continue
        event = json.loads(message.data)
        if event["event"] == "dropped":
            played.dropped += event["count"]
            item += event["count"]
        elif event["event"] == "failed":
            played.failed += 1
            item += 1
    played.seconds = time.monotonic() - begin
