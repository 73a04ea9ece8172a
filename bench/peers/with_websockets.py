"""broadcast() of the package websockets."""

import asyncio
import resource
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

connections: set[ServerConnection] = set()


class Control(asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        broadcast(connections, data.decode())


async def handle(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connections.discard(connection)


async def main(port: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    async with serve(
        handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=4096, open_timeout=60
    ):
        await asyncio.get_running_loop().create_datagram_endpoint(Control, local_addr=("127.0.0.1", port))
        print("ready", flush=True)
        await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
