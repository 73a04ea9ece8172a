"""A crowd to drain: readers, a publisher, batches and watches in one process, which sends the SIGTERM itself.

    python -m bench.crowd URL ORIGIN READERS BATCHES WATCHES RATE

Prints ``ready SECONDS`` when all are connected, subscribed and served. A process id on standard input has it note
what was accepted by then, send the SIGTERM, and print one line of JSON when every connection has ended.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import uvloop

from bench.processes import raise_descriptors

_LONGEST = 60.0
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


class Peer(asyncio.Protocol):
    """One WebSocket: makes its request when it is up, and notes what it receives."""

    def __init__(self, crowd: "Crowd", method: str, params: dict[str, Any]) -> None:
        self.crowd = crowd
        self.request = _frame(_TEXT, orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        self.up = False
        self.rest = b""
        self.served: asyncio.Future[None] = crowd.loop.create_future()
        self.over: asyncio.Future[None] = crowd.loop.create_future()
        self.reported = 0
        self.code = 0
        self.offset = 0
        self.holes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's are of no class of asyncio's
        self.transport.write(self.crowd.upgrade)

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        if not self.up:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(f"refused: {head[:60]!r}")
            self.up = True
            self.transport.write(self.request)
        self.rest = self._frames(data)

    def _frames(self, data: bytes) -> bytes:
        """Handle the whole frames, and return what is left."""
        at = 0
        while len(data) - at >= 2:
            size, head = data[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, head = int.from_bytes(data[head : head + width], "big"), head + width
            if len(data) < head + size:
                break
            self._frame(data[at], data[head : head + size])
            at = head + size
        return data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self.text(orjson.loads(payload))
        elif opcode == _PING:
            self.transport.write(_frame(_PONG, payload))
        elif opcode == _CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            self.transport.write(_frame(_CLOSE, payload[:2]))

    def text(self, value: dict[str, Any]) -> None:
        """Take an answer or a notification."""
        if value.get("method") == "message":
            self.message(value["params"])
        elif value.get("method") == "closing":
            self.reported += 1
            self.crowd.first_notified()
        elif "id" in value:
            self.answer(value)

    def answer(self, value: dict[str, Any]) -> None:
        if "error" in value:
            raise RuntimeError(str(value))
        self.offset = value["result"].get("offset", 0)
        self.served.set_result(None)

    def message(self, params: dict[str, Any]) -> None:
        self.holes += params["offset"] != self.offset + 1
        self.offset = params["offset"]

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set_result(None)


class Batch(Peer):
    """A batch, some of whose URLs end within the drain."""

    def __init__(self, crowd: "Crowd", method: str, params: dict[str, Any]) -> None:
        super().__init__(crowd, method, params)
        self.events: Counter[str] = Counter()
        self.done: dict[str, Any] | None = None

    def message(self, params: dict[str, Any]) -> None:
        super().message(params)
        event = params["data"]
        self.events[event.get("error") or event["event"]] += 1
        if event["event"] == "done":
            self.done = event

    @property
    def whole(self) -> bool:
        """Whether every URL had its event, and then came a ``done`` that says so."""
        urls = self.events.total() - 1
        return self.done is not None and urls == self.done["total"] == self.done["ok"] + self.done["failed"]


class Publisher(Peer):
    """Publishes at a rate for as long as it can; ``offset`` is the last that was accepted."""

    def answer(self, value: dict[str, Any]) -> None:
        self.offset = value["result"]["offset"]
        if not self.served.done():
            self.served.set_result(None)
        self.crowd.loop.call_later(1 / self.crowd.rate, self._again)

    def _again(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.request)


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """End at the first mistake, of ours or of the service."""
    print(context["message"], repr(context.get("exception")), file=sys.stderr, flush=True)
    os._exit(1)


class Crowd:
    """All of them."""

    def __init__(self, url: str, rate: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.rate = rate
        self.host, self.port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self.upgrade = (
            f"GET /ws HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: sluice.v1\r\n\r\n"
        ).encode()
        self.readyz: asyncio.Task[int] | None = None
        self.loop.set_exception_handler(_give_up)
        self._handshakes = asyncio.Semaphore(500)

    async def join(self, kind: type[Peer], method: str, **params: Any) -> Peer:
        """Connect one and return it when its request was answered."""
        async with self._handshakes:
            _, peer = await self.loop.create_connection(lambda: kind(self, method, params), self.host, self.port)
            await peer.served
        return peer

    def first_notified(self) -> None:
        """Look whether readiness was withdrawn before anyone was notified."""
        if self.readyz is None:
            self.readyz = self.loop.create_task(self._readyz())

    async def _readyz(self) -> int:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status


async def _main(url: str, origin: str, numbers: list[str]) -> None:
    readers, batches, watches = map(int, numbers[:3])
    crowd, begun = Crowd(url, float(numbers[3])), time.monotonic()
    slow = [f"{origin}/slow/{ms}?" for ms in (100, 1000, 60_000, 60_000)]
    joining = [crowd.join(Peer, "subscribe", topic="t") for _ in range(readers)]
    joining += [
        crowd.join(Batch, "fetch", urls=[f"{u}{n}" for u in slow], options={"timeout": 120}) for n in range(batches)
    ]
    joining += [crowd.join(Peer, "watch", url=f"{origin}/etag/{n}?period=1", every=1) for n in range(watches)]
    peers = await asyncio.gather(*joining)
    publisher = await crowd.join(Publisher, "publish", topic="t", data="x" * 100)
    print(f"ready {time.monotonic() - begun:.2f}", flush=True)
    pid = int(await crowd.loop.run_in_executor(None, sys.stdin.readline))
    accepted, begun = publisher.offset, time.monotonic()
    os.kill(pid, signal.SIGTERM)
    _, left = await asyncio.wait([peer.over for peer in peers], timeout=_LONGEST)
    listeners, all_batches = peers[:readers], [peer for peer in peers if isinstance(peer, Batch)]
    report = {
        "peers": len(peers),
        "readyz_when_notified": await crowd.readyz if crowd.readyz else None,
        "notified_once": sum(peer.reported == 1 for peer in peers),
        "closed_1001": sum(peer.code == 1001 for peer in peers),
        "still_open": len(left),
        "seconds": round(time.monotonic() - begun, 2),
        "accepted_before": accepted,
        "accepted": publisher.offset,
        "holes": sum(peer.holes for peer in peers),
        "missing_what_was_accepted_before": sum(peer.offset < accepted for peer in listeners),
        "batches_whole": sum(batch.whole for batch in all_batches),
        "events": dict(sum((batch.events for batch in all_batches), Counter())),
    }
    print(orjson.dumps(report).decode(), flush=True)


if __name__ == "__main__":
    raise_descriptors()
    _url, _origin, *_numbers = sys.argv[1:]
    uvloop.run(_main(_url, _origin, _numbers))
