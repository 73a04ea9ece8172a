"""One client of a pipeline: its binary messages are items, and the results go back to it, in order."""

import asyncio
from typing import Any, Final

import msgspec
import orjson
from aiohttp import WSMsgType, web

from service.core.errors import SluiceError
from service.core.owner import Owner
from service.core.sessions.closing import DRAINED, NOT_TEXT, CloseReason, Reconnect
from service.core.topics.hub import Hub
from service.edge.http.answers import answer_of
from service.edge.websocket.connection import Connection
from service.edge.websocket.conversation import Conversation
from service.edge.websocket.frames import ClientSocket
from service.work.pipelines.events import (
    ClosingEvent,
    DroppedEvent,
    ErrorEvent,
    ItemFailedEvent,
    PipelineEvent,
    UnpublishedEvent,
)
from service.work.pipelines.pipeline import Full, Item
from service.work.pipelines.pipelines import DeclaredPipeline, Frame, PipelineRun, Pipelines

__all__ = ["ENDED", "PipelineClient"]

ENDED: Final = CloseReason(1000, "ended", Reconnect.NOW)
"""The client ended its input, and has received every output."""
_UNKNOWN: Final = 'text: only {"event": "end"} is supported; items are binary messages'


class _Abandoned(Exception):
    """The client has gone, or is to go at once: nobody waits for what is under way."""


class PipelineClient:
    """Puts what a client sends into a run of a pipeline, and sends back what comes out."""

    def __init__(
        self,
        pipelines: Pipelines,
        declared: DeclaredPipeline,
        hub: Hub,
        conversation: Conversation,
        owner: Owner,
        *,
        topic: str | None,
        full: Full,
        patience: float,
    ) -> None:
        self._run: PipelineRun = pipelines.run(declared, owner, self._deliver, full)
        self._hub = hub
        self._conversation = conversation
        self._owner = owner
        self._topic = topic
        self._patience = patience
        self._socket: ClientSocket
        self._connection: Connection

    def __repr__(self) -> str:
        return f"<PipelineClient {self._run!r}>"

    async def serve(self, socket: ClientSocket, connection: Connection) -> None:
        """Serve it until it leaves, or until all that it sent before the end has come out."""
        self._socket, self._connection = socket, connection
        try:
            async with self._run:
                await self._read()
        except* _Abandoned:
            pass

    async def _read(self) -> None:
        """Put in each message of the client, until it ends its input or the service drains."""
        connection = self._connection
        try:
            await self._conversation.run(self._socket, connection, self)
        except asyncio.CancelledError:
            if connection.closing is not DRAINED or connection.task.uncancel() > 0:
                raise
        if connection.closing is DRAINED:
            await self._event(ClosingEvent("draining", 1.0))
        elif connection.closing is not ENDED:
            raise _Abandoned
        connection.busy = True

    async def binary(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Put an item in, and wait for room: until there is some, nothing else is read from the client."""
        connection.busy = True
        await self._run.put(data)
        connection.busy = False

    async def text(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Take the end of the input."""
        try:
            given = orjson.loads(data)
        except orjson.JSONDecodeError:
            connection.leave(NOT_TEXT)
            return
        if isinstance(given, dict) and given.get("event") == "end":
            connection.leave(ENDED)
        else:
            await self._event(ErrorEvent(_UNKNOWN))

    async def _deliver(self, item: Item[Frame]) -> None:
        """Send the result of an item, and how many before it were dropped."""
        if item.dropped:
            await self._event(DroppedEvent(item.dropped))
        line: dict[str, Any] = {"item": item.number}
        if item.error is None:
            data = bytes(item.value.value)
            await self._send(data, WSMsgType.BINARY)
            line |= {**item.value.facts, **line, "bytes": len(data)}
        else:
            await self._event(ItemFailedEvent(item.number, str(item.error)))
            line["error"] = str(item.error)
        if self._topic is not None:
            await self._publish(self._topic, {**line, "ms": round(1000 * self._run.age(item), 1)})

    async def _publish(self, topic: str, line: dict[str, Any]) -> None:
        while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
            await asyncio.sleep(0)
        try:
            data = orjson.dumps(line)
            await answer_of(self._hub.publish(topic, data, self._hub.clock(), owner=self._owner))
        except (SluiceError, web.HTTPException) as error:
            detail = error.detail if isinstance(error, SluiceError) else error.text
            await self._event(UnpublishedEvent(line["item"], detail or ""))

    async def _event(self, event: PipelineEvent) -> None:
        await self._send(msgspec.json.encode(event), WSMsgType.TEXT)

    async def _send(self, data: bytes, kind: WSMsgType) -> None:
        """Send a message, and wait until the client has taken most of it; cut one that takes nothing."""
        transport, loop = self._connection.transport, asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def check(before: int) -> None:
            nonlocal timer
            left = transport.get_write_buffer_size()
            if left == before:
                self._run.count_cut()
                self._connection.cut_slow("pipeline")
            else:
                timer = loop.call_later(self._patience, check, left)

        timer = loop.call_later(self._patience, check, -1)
        try:
            await self._socket.send_frame(data, kind)
        except ConnectionError:  # not every one that aiohttp raises is a ConnectionResetError
            raise _Abandoned from None
        finally:
            timer.cancel()
