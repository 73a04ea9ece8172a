"""Topics over HTTP: publish, look, and stream."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson
from aiohttp import web

from service.core.access.grants import Grant
from service.core.errors import Forbidden, TooLarge
from service.core.owner import Owner
from service.core.parsing import convert
from service.core.sessions.messages import Broadcast, published
from service.core.topics.hub import Hub
from service.core.topics.names import check_name, check_writable
from service.core.topics.topic import Position, Topic, default_on_lag
from service.edge.access.credentials import GRANT, OWNER
from service.edge.http.answers import answer_of, json_answer
from service.edge.http.queries import STREAM, check_query
from service.edge.http.request_body import read_json, requested_key
from service.edge.routes.streams import requested_lag, requested_since, stream_topic
from service.runtime.per_turn import PerTurn

__all__ = ["TopicRoutes"]

_SLICE: Final = 16
"""Topics that are made, or published to, in one turn of the loop, 5 to 30 us each; those that are kept on disk are
published to together all the same, because they are stored together."""
_CHEAPER: Final = 8
"""How many names are checked in the time that one topic takes."""
_CHECKED: Final = _CHEAPER * _SLICE


class _InSlices:
    """One message on its way to topics in memory, a slice of them in each turn of the loop.

    It goes on where its client has left: it reaches all of them, or none.
    """

    def __init__(self, hub: Hub, turns: PerTurn, names: Sequence[str], data: bytes, owner: Owner) -> None:
        """Begin; what it needs is reserved."""
        self.positions: asyncio.Future[Sequence[Position]] = asyncio.get_running_loop().create_future()
        self._hub = hub
        self._turns = turns
        self._names = names
        self._data = data
        self._owner = owner
        self._done: list[Position] = []
        self._go_on()

    def _go_on(self) -> None:
        self._turns.call(self._owner, self._step, min(_SLICE, len(self._names) - len(self._done)))

    def _step(self) -> None:
        begin = len(self._done)
        names, later = self._names[begin : begin + _SLICE], self._names[begin + _SLICE :]
        try:
            self._done += self._hub.append_reserved(names, self._data, self._hub.clock(), self._owner)
        except Exception as error:
            self._hub.release_reserved(later, len(self._data), self._owner)
            if not self.positions.done():
                self.positions.set_exception(error)
            raise
        if later:
            self._go_on()
        elif not self.positions.done():
            self.positions.set_result(self._done)


class TopicRoutes:
    """The handlers; ``add_to`` puts them into an application."""

    def __init__(self, hub: Hub, *, body_size: int, body_time: float) -> None:
        self._hub = hub
        self._body_size = body_size
        self._body_time = body_time
        self._topics = PerTurn(_SLICE, _SLICE)
        """For publishes to many of them."""

    def add_to(self, app: web.Application) -> None:
        """Add the routes.

        A topic's name may contain slashes; one before a last part ``events`` has to be written as %2F.
        """
        app.router.add_get("/topics/{name:.+}/events", self.events)
        app.router.add_post("/topics/{name:(?!.*/events$).+}", self.publish)
        app.router.add_get("/topics/{name:(?!.*/events$).+}", self.info)
        app.router.add_post("/publish", self.broadcast)

    async def publish(self, request: web.Request) -> web.Response:
        """Append the body to a topic; ``Idempotency-Key`` makes a repetition harmless."""
        name = request.match_info["name"]
        check_writable(name)
        request[GRANT].publish.check(name)
        key = requested_key(request)
        data = _compact(await read_json(request, request[OWNER], self._body_size, self._body_time))
        await self._room_for_visits()
        position = await answer_of(self._hub.publish(name, data, self._hub.clock(), key=key, owner=request[OWNER]))
        topic = self._hub.topics.get(name)
        return json_answer(orjson.dumps({**published(position), "readers": len(topic.readers) if topic else 0}))

    async def broadcast(self, request: web.Request) -> web.Response:
        """Append one body to many topics, or to none: all is checked before the first gets it."""
        params = convert(await read_json(request, request[OWNER], self._body_size, self._body_time), Broadcast)
        data, owner, names = _compact(params.data), request[OWNER], tuple(dict.fromkeys(params.topics))
        for number, name in enumerate(names):
            if number % _CHECKED == 0:
                await self._topics.wait(owner, 1 + min(_CHECKED, len(names) - number) // _CHEAPER)
            check_writable(name)
            request[GRANT].publish.check(name)
        self._hub.check_room(names, len(data), owner)
        await self._open(names, owner)
        await self._room_for_visits()
        positions = await self._publish_all(names, data, owner)
        return json_answer(orjson.dumps({"topics": dict(zip(names, map(published, positions), strict=True))}))

    async def _open(self, names: Sequence[str], owner: Owner) -> None:
        """Have topics made, a slice in each turn of the loop, clients in turns."""
        for number, name in enumerate(names):
            if number % _SLICE == 0:
                await self._topics.wait(owner, min(_SLICE, len(names) - number))
            await answer_of(self._hub.ring(name, owner=owner))

    async def _publish_all(self, names: Sequence[str], data: bytes, owner: Owner) -> Sequence[Position]:
        if any(map(self._hub.store.durable, names)):
            await self._topics.wait(owner, len(names))
            return await answer_of(self._hub.publish_all(names, data, self._hub.clock(), owner))
        self._hub.reserve(names, len(data), owner)
        return await _InSlices(self._hub, self._topics, names, data, owner).positions

    async def _room_for_visits(self) -> None:
        while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
            await asyncio.sleep(0)

    async def info(self, request: web.Request) -> web.Response:
        """Answer with where a topic stands."""
        name = request.match_info["name"]
        request[GRANT].check_read(name)
        topic = await answer_of(self._hub.find(name, request[OWNER]))
        document = {
            "topic": topic.name,
            "epoch": topic.epoch,
            "offset": topic.head,
            "oldest": topic.first,
            "bytes": topic.size,
            "readers": len(topic.readers),
            "durable": self._hub.store.durable(topic.name),
        }
        return json_answer(orjson.dumps(document))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream a topic as NDJSON or SSE."""
        check_query(request, STREAM)
        topic = await self._readable(request.match_info["name"], request[GRANT], request[OWNER])
        return await stream_topic(
            request,
            self._hub,
            topic,
            since=requested_since(request, "newest"),
            on_lag=requested_lag(request, default_on_lag(topic.name)),
            batch=False,
        )

    async def _readable(self, name: str, grant: Grant, owner: Owner) -> Topic:
        check_name(name)
        if name.startswith("batch:"):
            raise Forbidden("topic: a batch is read at /batches/ID/events")
        grant.check_read(name)
        return await answer_of(self._hub.readable(name, owner))


def _compact(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise TooLarge(f"data: {error}") from None
