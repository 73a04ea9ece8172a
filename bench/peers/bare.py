"""A bare loop of transport.write over aiohttp's WebSocket connections: what a broadcast costs at the least."""

import asyncio
import gc
import resource
import socket
import sys

import uvloop
from aiohttp import web

transports: set[asyncio.Transport] = set()


class Control(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        size = len(data)
        head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126)) + size.to_bytes(2, "big")
        frame = head + data
        for transport in transports:
            transport.write(frame)


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket_ = web.WebSocketResponse(compress=False)
    await socket_.prepare(request)
    assert request.transport is not None
    transports.add(request.transport)
    try:
        async for _ in socket_:
            pass
    finally:
        transports.discard(request.transport)
    return socket_


async def main(port: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
    listener.bind(("127.0.0.1", port))
    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=4096).start()
    await asyncio.get_running_loop().create_datagram_endpoint(Control, local_addr=("127.0.0.1", port))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    print("ready", flush=True)
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
