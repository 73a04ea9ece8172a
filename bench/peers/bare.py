"""A bare loop over aiohttp's WebSocket connections: what a broadcast costs at the least.

The second argument says how it writes: transport, descriptor (os.write), or aiofastnet (that package's transports).
"""

import asyncio
import gc
import os
import resource
import socket
import sys

import uvloop
from aiohttp import web

WAY = sys.argv[2] if len(sys.argv) > 2 else "transport"
transports: dict[asyncio.Transport, int] = {}


class Control(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        size = len(data)
        head = bytes((0x81, size)) if size < 126 else bytes((0x81, 126)) + size.to_bytes(2, "big")
        frame = head + data
        if WAY == "descriptor":
            for transport in transports:
                os.write(transports[transport], frame)
        else:
            for transport in transports:
                transport.write(frame)


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket_ = web.WebSocketResponse(compress=False)
    await socket_.prepare(request)
    assert request.transport is not None
    transports[request.transport] = request.transport.get_extra_info("socket").fileno()
    try:
        async for _ in socket_:
            pass
    finally:
        del transports[request.transport]
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


factory = uvloop.new_event_loop
if WAY == "aiofastnet":
    import aiofastnet

    factory = aiofastnet.loop_factory(uvloop.new_event_loop)
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main(int(sys.argv[1])))
