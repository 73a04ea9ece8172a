"""Connections and routes over a store that answers late, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from service.core.sessions.closing import EXPIRED
from service.core.sessions.late_answers import PATIENCE
from tests.core.stores import FakeStore, Kept
from tests.edge.running import Client, call, client_of

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def late(*, late_history: bool = False) -> AsyncIterator[tuple[Client, FakeStore]]:
    """Run the service over a store that answers on command."""
    async with client_of() as client:
        store = FakeStore(late_history=late_history)
        client.service.hub.store = store
        yield client, store


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def ask(socket: Socket, store: FakeStore, *publishes: tuple[int, str], array: bool = False) -> None:
    """Send publishes, and return when the store has all of them."""
    waiting = len(store.appends)
    requests: list[Any] = [
        {"jsonrpc": "2.0", "id": number, "method": "publish", "params": {"topic": topic, "data": number}}
        for number, topic in publishes
    ]
    for value in [requests] if array else requests:
        await socket.send_json(value)
    await until(lambda: len(store.appends) == waiting + len(publishes))


async def test_a_late_answer_comes_before_the_message() -> None:
    async with late() as (client, store), client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        await ask(socket, store, (5, "t"), (6, "t"))
        answered = client.service.sockets.traffic.answered
        store.answer()
        store.answer()
        came = [await socket.receive_json() for _ in range(4)]
        assert client.service.sockets.traffic.answered == answered + 2
    assert [(one.get("id"), one.get("params", {}).get("data")) for one in came] == [
        (5, None), (6, None), (None, 5), (None, 6),
    ]  # fmt: skip


class Recorded:
    """A transport whose writes are counted."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.writes = 0
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.writes += 1
        self._transport.write(data)


async def test_late_answers_of_one_turn_leave_in_one_write() -> None:
    async with late() as (client, store), client.socket() as socket:
        await ask(socket, store, *((number, "t") for number in range(20)))
        (connection,) = client.service.sockets.connections
        recorded: Any = Recorded(connection.transport)
        connection.transport = recorded
        for _ in range(20):
            store.answer()
        assert [(await socket.receive_json())["id"] for _ in range(20)] == list(range(20))
        assert recorded.writes == 1


async def test_an_answer_that_comes_with_the_end_is_before_the_close_frame() -> None:
    async with late() as (client, store), client.socket() as socket:
        await ask(socket, store, (1, "t"))
        (connection,) = client.service.sockets.connections
        connection.end(EXPIRED)
        store.answer()
        assert (await socket.receive_json())["id"] == 1
        closed = await socket.receive()
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, EXPIRED.code)


async def test_the_answer_to_an_array_comes_before_all_of_its_messages_for_its_sender_alone() -> None:
    async with late() as (client, store), client.socket() as socket, client.socket() as other:
        for one in (socket, other):
            await call(one, "subscribe", topic="b")
        await ask(socket, store, (1, "a"), (2, "b"), array=True)
        store.answer("b")
        assert (await other.receive_json())["params"]["data"] == 2
        # One that subscribes meanwhile waits likewise.
        assert (await call(socket, "subscribe", topic="a"))["offset"] == 0
        store.answer("a")
        answer = await socket.receive_json()
        assert [one["result"]["offset"] for one in answer] == [1, 1]
        messages = [await socket.receive_json() for _ in range(2)]
        assert sorted(one["params"]["topic"] for one in messages) == ["a", "b"]
        # From here on it is as fast as before.
        await ask(other, store, (3, "b"))
        store.answer()
        assert (await socket.receive_json())["params"]["data"] == 3


async def test_a_publish_over_http_waits_for_the_store() -> None:
    async with late() as (client, store):
        answers = [asyncio.create_task(client.session.post(client.url("/topics/t"), json=1)) for _ in range(2)]
        await until(lambda: len(store.appends) == 2)
        store.answer()
        store.fail()
        statuses = []
        for answer in answers:
            response = await answer
            statuses.append(response.status)
            body = await response.json()
            if response.status == 200:
                assert (body["offset"], body["readers"]) == (1, 0)
            else:
                assert (body["reason"], response.headers["Retry-After"]) == ("storage", "5")
    assert sorted(statuses) == [200, 503]


async def test_one_body_to_many_topics_is_in_all_or_in_none_and_once_in_each() -> None:
    async with late() as (client, store):
        bodies: list[Any] = []
        for finish in (store.fail, store.answer):
            asked = {"topics": ["a", "b", "a"], "data": 1}
            task = asyncio.create_task(client.session.post(client.url("/publish"), json=asked))
            await until(lambda: store.appends)
            finish()
            response = await task
            bodies.append((response.status, await response.json()))
        heads = {name: client.service.hub.topics[name].head for name in ("a", "b")}
    assert bodies[0][0] == 503
    assert {name: one["offset"] for name, one in bodies[1][1]["topics"].items()} == heads == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/topics/t", 1), ("POST", "/publish", {"topics": ["t"], "data": 1}), ("GET", "/topics/t", None),
     ("GET", "/topics/t/events", None)],
)  # fmt: skip
async def test_a_request_whose_store_never_answers_ends(method: str, path: str, body: Any) -> None:
    async with late(late_history=True) as (client, store):
        store.topics["t"] = Kept("e0")
        begun = asyncio.get_running_loop().time()
        status, problem, _ = await client.ask(method, path, json=body)
        assert (status, problem["reason"], problem["temporary"]) == (504, "gateway_timeout", True)
        assert problem["detail"].startswith("storage: it has not answered within 30 s")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(PATIENCE, abs=1)
        # What comes too late harms nothing, and the next is answered.
        store.settle()
        await until(lambda: not client.service.access.slots.used)


@pytest.mark.parametrize("array", [False, True])
async def test_a_request_of_a_websocket_whose_store_never_answers_ends(array: bool) -> None:
    async with late() as (client, store), client.socket() as socket:
        begun = asyncio.get_running_loop().time()
        await ask(socket, store, (1, "t"), (2, "u"), array=array)
        answers = await socket.receive_json() if array else [await socket.receive_json() for _ in range(2)]
        assert [(one["id"], one["error"]["code"]) for one in answers] == [(1, -32011), (2, -32011)]
        assert asyncio.get_running_loop().time() - begun == pytest.approx(PATIENCE, abs=1.5)
        # What comes too late harms nothing, and the connection goes on.
        store.settle()
        assert await call(socket, "presence", topic="t") == {"readers": 0}
        assert client.service.hub.topics["t"].head == 1


async def test_a_caller_that_leaves_harms_nothing() -> None:
    async with late() as (client, store):
        task = asyncio.create_task(client.session.post(client.url("/topics/t"), json=1))
        await until(lambda: store.appends)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: not client.service.access.slots.used)
        store.answer()
        assert client.service.hub.topics["t"].head == 1


async def test_history_that_is_read_later_is_waited_for() -> None:
    async with late(late_history=True) as (client, store):
        store.topics["t"] = Kept("kept", 3, [b"0", b"1", b"2"], [client.service.hub.clock()] * 3)
        info = asyncio.create_task(client.session.get(client.url("/topics/t")))
        await until(lambda: store.histories)
        store.open()
        body = await (await info).json()
        assert (body["offset"], body["oldest"]) == (3, 1)
        async with client.session.get(client.url("/topics/t/events?since=oldest")) as stream:
            lines = [await stream.content.readline() for _ in range(4)]
    assert [b'"offset":%d' % number in line for number, line in enumerate(lines)] == [True] * 4


async def test_a_drain_waits_for_what_is_unanswered() -> None:
    async with late() as (client, store), client.socket() as socket:
        await ask(socket, store, (1, "t"))
        client.service.sockets.end_idle()
        await asyncio.sleep(1)
        assert not socket.closed
        store.answer()
        assert (await socket.receive_json())["result"]["offset"] == 1
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001
