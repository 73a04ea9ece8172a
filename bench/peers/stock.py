"""A plain aiohttp server as its documentation shows one.

/ws broadcasts what a datagram brings, POST / sends a body back.
"""

import asyncio
import sys

from aiohttp import web

PORT = int(sys.argv[1])
sockets: set[web.WebSocketResponse] = set()
sending: set[asyncio.Task[None]] = set()


class Control(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        for one in sockets:
            task = asyncio.create_task(one.send_bytes(data))
            sending.add(task)
            task.add_done_callback(sending.discard)


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=4.0)
    await socket.prepare(request)
    sockets.add(socket)
    try:
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                await socket.send_str(message.data)
    finally:
        sockets.discard(socket)
    return socket


async def body(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def listen(app: web.Application) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(Control, local_addr=("127.0.0.1", PORT))


app = web.Application()
app.router.add_get("/ws", handle)
app.router.add_post("/", body)
app.on_startup.append(listen)
web.run_app(
    app,
    host="127.0.0.1",
    port=PORT,
    access_log=None,
    keepalive_timeout=4.0,
    shutdown_timeout=10.0,
    print=lambda *text: print("ready", flush=True),
)
