"""A server that speaks as much of the protocol as a broadcast needs, and does one thing wrong.

``python faulty.py FAULT``: ``none``; ``stall`` (does nothing for a second, once); ``drop`` (every 250th delivery);
``repeat`` (message 50 twice, to one reader); ``swap`` (51 before 50, to one reader); ``late`` (the last fiftieth of the readers
has everything 300 ms later); ``die`` (ends itself at message 50); ``shuffle`` (nothing wrong: a new order of the readers for each message, so that any part of
them sees what all see). ``/echo`` sends back, and stalls as well.
"""

import asyncio
import base64
import hashlib
import os
import random
import sys
import time

import orjson
import uvloop

from loadtest.frames import frames

ODD = 50
DROPPED = 250
LATE = 0.3
STALL = 1.0


def frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126)) + size.to_bytes(2, "big")
    return head + payload


def unmasked(data: bytes) -> bytes:
    """Return a client's frames as a server would write them, so that one parser does for both."""
    out, at = bytearray(), 0
    while len(data) - at >= 6:
        size, start = data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        key = data[start : start + 4]
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(data[start + 4 : start + 4 + size]))
        out += frame(payload) if data[at] & 15 == 1 else b""
        at = start + 4 + size
    return bytes(out)


class Server:
    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.readers: list[asyncio.Transport] = []
        self.head = self.delivered = self.echoed = 0
        self.kept = b""

    def publish(self, data: object) -> int:
        self.head += 1
        params = {"topic": "loadtest/0", "offset": self.head, "data": data}
        message = frame(orjson.dumps({"jsonrpc": "2.0", "method": "message", "params": params}))
        if self.fault == "die" and self.head == ODD:
            os._exit(1)
        if self.fault == "stall" and self.head == ODD:
            time.sleep(STALL)
        asyncio.get_running_loop().call_soon(self.deliver, self.head, message)
        return self.head

    def deliver(self, offset: int, message: bytes) -> None:
        if self.fault == "shuffle":
            random.shuffle(self.readers)
        late = len(self.readers) - len(self.readers) // 50 if self.fault == "late" else len(self.readers)
        for place, reader in enumerate(self.readers):
            self.delivered += 1
            data = message
            if self.fault == "drop" and self.delivered % DROPPED == 0:
                continue
            if place == 7 and self.fault == "repeat" and offset == ODD:
                data = message * 2
            elif place == 7 and self.fault == "swap" and offset == ODD:
                self.kept = message
                continue
            elif place == 7 and self.fault == "swap" and offset == ODD + 1:
                data = message + self.kept
            if place >= late:
                asyncio.get_running_loop().call_later(LATE, reader.write, data)
            else:
                reader.write(data)


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.echo = self.up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self.up:
            self.up = True
            head, _, data = data.partition(b"\r\n\r\n")
            if b"Sec-WebSocket-Key: " not in head:
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.transport.close()
                return
            self.echo = head.startswith(b"GET /echo ")
            key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            accept = base64.b64encode(digest)
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")  # fmt: skip
        for _, payload, _ in frames(unmasked(data)):
            self.take(payload)

    def take(self, payload: bytes) -> None:
        if self.echo:
            self.server.echoed += 1
            if self.server.fault == "stall" and self.server.echoed == ODD * 2:
                time.sleep(STALL)
            self.transport.write(frame(payload))
            return
        request = orjson.loads(payload)
        result: object = {}
        if request["method"] == "subscribe":
            self.server.readers.append(self.transport)
            result = {"topic": request["params"]["topic"], "epoch": "e", "offset": 0, "recovered": False}
        elif request["method"] == "publish":
            result = {"epoch": "e", "offset": self.server.publish(request["params"]["data"])}
        self.transport.write(frame(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result})))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport in self.server.readers:
            self.server.readers.remove(self.transport)


async def main(fault: str) -> None:
    server = Server(fault)
    listening = await asyncio.get_running_loop().create_server(
        lambda: Connection(server), "127.0.0.1", 0, backlog=4096
    )
    print(f"listening on http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
