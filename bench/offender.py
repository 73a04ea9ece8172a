"""One client that misbehaves: ``python -m bench.offender KIND PORT COUNT SECONDS``; prints what it was answered.

``requests``, ``pings``, ``churn``: COUNT messages a second over one connection, made again whenever it is
closed. ``handshakes``, ``strangers``: COUNT connections that say nothing, half a header or a byte each half
second, about a thousand a second; or that upgrade and show no credentials. ``tokens``: COUNT handshakes with
a wrong token.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import uvloop

_HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Forwarded-For: %b\r\n"
)
_CLOSE = 8
_AT_ONCE = 100


class _Link:
    """One connection, and the answers that it got."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reported: Counter[str]) -> None:
        self.reader = reader
        self.writer = writer
        self._reported = reported

    @classmethod
    async def open(cls, port: int, reported: Counter[str]) -> "_Link":
        return cls(*await asyncio.open_connection("127.0.0.1", port), reported)

    async def upgrade(self, *headers: bytes, address: bytes = b"198.51.100.1") -> bool:
        """Return whether it was let in; where not, its status is counted."""
        try:
            self.writer.write(_HEAD % address + b"".join(header + b"\r\n" for header in headers) + b"\r\n")
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            self._reported["cut"] += 1
            return False
        status = head.split(b" ", 2)[1].decode()
        if status != "101":
            self._reported[status] += 1
        return status == "101"

    async def listen(self) -> None:
        """Count errors by code, and how it ends: a close code, or ``cut``."""
        try:
            while True:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                payload = await self.reader.readexactly(size)
                if first & 0x0F == _CLOSE:
                    self._reported[str(int.from_bytes(payload[:2], "big"))] += 1
                    return
                if b'"error"' in payload:
                    self._reported[str(json.loads(payload)["error"]["code"])] += 1
        except (OSError, asyncio.IncompleteReadError):
            self._reported["cut"] += 1

    def close(self) -> None:
        self.writer.transport.abort()


def _frame(opcode: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes((0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def _call(method: bytes, params: bytes = b"{}") -> bytes:
    return _frame(1, b'{"jsonrpc":"2.0","id":1,"method":"%b","params":%b}' % (method, params))


_MESSAGES = {
    "requests": _call(b"ping"),
    "pings": _frame(9, b""),
    "churn": _call(b"subscribe", b'{"topic":"u"}') + _call(b"unsubscribe", b'{"topic":"u"}'),
}


def _flood(kind: str) -> Callable[[int, int, float, Counter[str]], Awaitable[None]]:
    message = _MESSAGES[kind]
    # Each kind from an address of its own: one that has flooded waits for its next connection.
    address = b"198.51.100.%d" % (list(_MESSAGES).index(kind) + 1)
    each = 2 if kind == "churn" else 1

    async def run(port: int, rate: int, seconds: float, reported: Counter[str]) -> None:
        begin, sent = time.monotonic(), 0
        while (now := time.monotonic()) < begin + seconds:
            link = await _Link.open(port, reported)
            if not await link.upgrade(address=address):
                link.close()
                await asyncio.sleep(0.1)
                continue
            sent = int((now - begin) * rate)
            reported["connections"] += 1
            listening = asyncio.create_task(link.listen())
            while not listening.done() and (now := time.monotonic()) < begin + seconds:
                due = int((now - begin) * rate) - sent
                sent += due
                reported["sent"] += due
                link.writer.write(message * (due // each))
                try:
                    await link.writer.drain()
                except OSError:
                    break
                await asyncio.sleep(0.005)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            link.close()

    return run


async def _handshakes(port: int, count: int, seconds: float, reported: Counter[str]) -> None:
    links = []
    for _ in range(count):
        links.append(await _Link.open(port, reported))
        await asyncio.sleep(0.001)
    begin = time.monotonic()
    ended: list[float] = []

    async def end(link: _Link) -> None:
        try:
            await link.reader.read()
        except OSError:
            reported["reset"] += 1
        ended.append(time.monotonic() - begin)

    ends = asyncio.gather(*map(end, links))
    head = _HEAD % b"198.51.100.1"
    for step in range(int(seconds * 2)):
        for number, link in enumerate(links):
            if link.writer.transport.is_closing():
                continue
            if number % 3 == 1 and step == 0:
                link.writer.write(head[:60])
            elif number % 3 == 2:
                link.writer.write(head[step % len(head) :][:1])
        if ends.done():
            break
        await asyncio.sleep(0.5)
    ends.cancel()
    await asyncio.gather(ends, return_exceptions=True)
    reported["closed"] = len(ended)
    reported["last closed after, ms"] = round(max(ended, default=0.0) * 1000)


async def _strangers(port: int, count: int, seconds: float, reported: Counter[str]) -> None:
    links = [await _Link.open(port, reported) for _ in range(count)]
    for number, link in enumerate(links):
        # From many addresses: one alone would be stopped by its number of connections.
        await link.upgrade(address=b"198.51.%d.%d" % divmod(number % 5000, 250))
    listening = [asyncio.create_task(link.listen()) for link in links]
    _, left = await asyncio.wait(listening, timeout=seconds)
    reported["still open"] = len(left)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for link in links:
        link.close()


async def _tokens(port: int, count: int, seconds: float, reported: Counter[str]) -> None:
    end, left = time.monotonic() + seconds, iter(range(count))

    async def guess() -> None:
        for number in left:
            if time.monotonic() > end:
                return
            reported["sent"] += 1
            link = await _Link.open(port, reported)
            if await link.upgrade(b"Authorization: Bearer %d" % number):
                await link.listen()
            link.close()

    await asyncio.gather(*(guess() for _ in range(_AT_ONCE)))


_KINDS = {
    **{kind: _flood(kind) for kind in _MESSAGES},
    "handshakes": _handshakes,
    "strangers": _strangers,
    "tokens": _tokens,
}


def _main() -> None:
    kind, port, count, seconds = sys.argv[1:]
    # It stands for another machine: who measures on the same core goes first.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    reported: Counter[str] = Counter()
    uvloop.run(_KINDS[kind](int(port), int(count), float(seconds), reported))  # type: ignore[arg-type]
    print(json.dumps(reported), flush=True)


if __name__ == "__main__":
    _main()
