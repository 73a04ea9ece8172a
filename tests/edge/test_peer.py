"""The contract of a session's connection, for a WebSocket's over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from loadtest.frames import frames
from service.core.access.grants import EVERYTHING
from service.core.pool import Pool
from service.core.topics.wire import text_frame
from service.edge.websocket.connection import Connection
from service.edge.websocket.counters import WebSocketCounters
from service.edge.websocket.stalled import Stalled
from tests.core.test_peer import PeerContract

LAST = text_frame(b'"last"')


class TestConnection(PeerContract):
    """Its client reads frames from a socket."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), "127.0.0.1", 0)
        self.socket, theirs = await asyncio.open_connection(*server.sockets[0].getsockname())
        ours, task = await accepted, asyncio.current_task()
        assert task is not None
        pool, owner, stalled = Pool("websockets", 2, strict=True), EVERYTHING.owner("::1"), Stalled()
        pool.charge(owner, 1)
        transport: Any = ours.transport
        self.bytes = b""
        try:
            yield Connection("one", transport, task, stalled, "::1", pool, owner, WebSocketCounters())
        finally:
            stalled.close()
            for writer in (ours, theirs):
                writer.close()
                await writer.wait_closed()
            server.close()

    async def received(self, peer: Connection) -> list[Any]:
        """Return what came before an answer that is sent now."""
        peer.answer(orjson.dumps("last"))
        self.bytes = self.bytes.removesuffix(LAST)
        while not self.bytes.endswith(LAST):
            self.bytes += await self.socket.read(1 << 16)
        values = [orjson.loads(payload) for _, payload, _ in frames(self.bytes)]
        return [one["params"]["data"] if "params" in one else one for one in values if one != "last"]
