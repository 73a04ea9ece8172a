"""The WebSocket endpoint over real sockets: the whole way from a frame to the session and back."""

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from service.core.sessions import request_array
from service.core.sessions.session import _METHODS, Session
from service.edge.websocket.connection import Connection
from tests.edge.running import Client, call, client_of

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
Socket = aiohttp.ClientWebSocketResponse


async def messages(socket: Socket, count: int) -> list[Any]:
    return [await socket.receive_json() for _ in range(count)]


async def closed_with(socket: Socket) -> int | None:
    while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
        pass
    return socket.close_code


class Mute:
    """A client that sends its upgrade and a subscribe, and then never reads again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, client: Client, *, on_lag: str = "disconnect") -> AsyncIterator["Mute"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        subscribe = b'{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"t","on_lag":"%b"}}' % on_lag.encode()
        writer.write(UPGRADE + bytes((0x81, 0x80 | len(subscribe), 0, 0, 0, 0)) + subscribe)
        await reader.readuntil(b"\r\n\r\n")
        while not client.service.hub.topics.get("t"):
            await asyncio.sleep(0)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()


async def test_everyone_gets_the_same_bytes_in_order() -> None:
    async with client_of() as client, client.socket() as one, client.socket() as two:
        for socket in (one, two):
            await call(socket, "subscribe", topic="t")
        for number in range(100):
            client.service.hub.publish("t", b"%d" % number, 0.0)
            if number % 7 == 0:
                await asyncio.sleep(0)
        texts = [[(await socket.receive()).data for _ in range(100)] for socket in (one, two)]
    assert texts[0] == texts[1]
    assert texts[0][0] == '{"jsonrpc":"2.0","method":"message","params":{"topic":"t","offset":1,"data":0}}'


async def test_answers_pongs_and_messages_never_cut_into_each_other() -> None:
    """Direct writes, the transport's buffer and aiohttp's own frames share one socket."""
    async with client_of(client_rate=1e6) as client, client.socket(max_msg_size=0, autoping=False) as socket:
        await call(socket, "subscribe", topic="t")
        big = b'"' + b"x" * 50_000 + b'"'

        async def publish() -> None:
            for _ in range(100):
                client.service.hub.publish("t", big, 0.0)
                await asyncio.sleep(0)

        async def ask() -> None:
            for number in range(200):
                await socket.send_json({"jsonrpc": "2.0", "id": number, "method": "ping"})
                await socket.ping(b"p%d" % number)

        jobs = asyncio.gather(publish(), ask())
        offsets, answers, pongs = [], [], []
        while len(offsets) < 100 or len(answers) < 200 or len(pongs) < 200:
            message = await socket.receive()
            if message.type is WSMsgType.PONG:
                pongs.append(message.data)
                continue
            assert message.type is WSMsgType.TEXT, message
            value = message.json()
            if "id" in value:
                answers.append(value["id"])
            else:
                assert len(value["params"]["data"]) == 50_000
                offsets.append(value["params"]["offset"])
        await jobs
    assert offsets == list(range(1, 101))
    assert answers == list(range(200))
    assert pongs == [b"p%d" % number for number in range(200)]


@pytest.mark.parametrize("pongs", [0, 3])
async def test_pongs_that_answer_no_ping_count_as_requests_and_the_others_do_not(
    pongs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    as_before = Session.control

    def control(session: Session, size: int, now: float) -> bool:
        counted.append(size)
        return as_before(session, size, now)

    monkeypatch.setattr(Session, "control", control)
    async with client_of(heartbeat=10.0) as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        answering = asyncio.create_task(socket.receive())
        (connection,) = client.service.sockets.connections
        for _ in range(pongs):
            await socket.pong()
        await asyncio.sleep(100)
        assert counted == [0] * pongs
        assert client.service.sockets.heartbeat.cut == 0
        assert connection.alive
        answering.cancel()


async def test_only_another_protocol_is_refused_before_the_upgrade() -> None:
    async with client_of() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.session.ws_connect(client.url("/ws"), protocols=("mqtt",))
        assert refused.value.status == 400
        async with client.session.ws_connect(client.url("/ws")) as socket:
            assert await call(socket, "ping") == {}


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda socket: socket.send_bytes(b"x"), 1003),
        (lambda socket: socket.send_str('"' + "x" * 70_000 + '"'), 1009),
        (lambda socket: socket.send_frame(b'"\xff"', WSMsgType.TEXT), 1007),
    ],
)
async def test_what_a_connection_does_not_survive_has_its_code(send: Any, code: int) -> None:
    async with client_of() as client, client.socket() as bystander:
        async with client.socket() as socket:
            await send(socket)
            assert await closed_with(socket) == code
        assert await call(bystander, "ping") == {}


async def test_not_json_twice_closes() -> None:
    async with client_of() as client, client.socket() as socket:
        await socket.send_str("{")
        assert (await socket.receive_json())["error"]["code"] == -32700
        await socket.send_str("{")
        assert await closed_with(socket) == 1007


async def test_a_flood_is_closed_and_nobody_else_notices() -> None:
    async with client_of(client_rate=1.0) as client, client.socket() as bystander, client.socket() as socket:

        async def flood() -> None:
            while not socket.closed:
                await socket.send_str('{"jsonrpc":"2.0","method":"ping"}')

        flooding = asyncio.create_task(flood())
        assert await closed_with(socket) == 4429
        flooding.cancel()
        assert await call(bystander, "ping") == {}


async def test_the_kernel_keeps_no_more_of_what_a_client_sends_than_a_message_or_two() -> None:
    async with client_of() as client, client.socket():
        (connection,) = client.service.sockets.connections
        kept = connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert 64 << 10 <= kept <= 128 << 10


async def test_what_one_client_has_sent_together_is_not_carried_out_together() -> None:
    """The others have their turn in between."""
    async with client_of() as client:
        hub = client.service.hub
        _, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        publish = b'{"jsonrpc":"2.0","method":"publish","params":{"topic":"t","data":1}}'
        frame = bytes((0x81, 0x80 | len(publish), 0, 0, 0, 0)) + publish
        writer.write(UPGRADE + frame * 800)
        offsets = set()
        while (topic := hub.topics.get("t")) is None or topic.head < 800:
            offsets.add(topic.head if topic else 0)
            await asyncio.sleep(0)
        writer.transport.abort()
    steps = sorted(offsets | {800})
    assert max(after - before for before, after in pairwise(steps)) <= 64


async def test_what_many_connections_have_sent_together_is_not_carried_out_together() -> None:
    async with client_of() as client:
        hub = client.service.hub
        publish = b'{"jsonrpc":"2.0","method":"publish","params":{"topic":"t","data":1}}'
        frame = bytes((0x81, 0x80 | len(publish), 0, 0, 0, 0)) + publish
        writers = [(await asyncio.open_connection("127.0.0.1", client.service.port))[1] for _ in range(20)]
        for writer in writers:
            writer.write(UPGRADE)
        while client.service.sockets.count < 20:
            await asyncio.sleep(0)
        for writer in writers:
            writer.write(frame * 30)
        offsets = set()
        while (topic := hub.topics.get("t")) is None or topic.head < 600:
            offsets.add(topic.head if topic else 0)
            await asyncio.sleep(0)
        for writer in writers:
            writer.transport.abort()
    steps = sorted(offsets | {600})
    # Between two looks are parts of two turns.
    assert max(after - before for before, after in pairwise(steps)) <= 128


async def test_an_array_that_takes_long_is_carried_out_in_turns_with_others_and_answered_before_its_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_array, "_MOMENT", 0.0)
    loop: Any = asyncio.get_running_loop()
    at: list[tuple[int, str]] = []
    publish = Session._publish

    def noted(session: Session, params: Any, now: float) -> Any:
        at.append((loop.turns, params.topic))
        return publish(session, params, now)

    monkeypatch.setitem(_METHODS, "publish", (_METHODS["publish"][0], noted))
    requests = [{"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"topic": "own"}}] + [
        {"jsonrpc": "2.0", "id": number, "method": "publish", "params": {"topic": "own", "data": number}}
        for number in range(1, 50)
    ]
    async with client_of() as client, client.socket() as many, client.socket() as other:
        await many.send_json(requests)
        await call(other, "publish", topic="other", data=1)
        answers, *published = await messages(many, 50)
        assert (await call(many, "ping")) == {}
    assert [answer["id"] for answer in answers] == [*range(50)]
    assert [message["params"]["data"] for message in published] == [*range(1, 50)]
    assert max(Counter(turn for turn, topic in at if topic == "own").values()) <= 4
    assert [topic for _, topic in at].index("other") < 40, "it does not wait for all of another's array"


async def test_a_client_that_leaves_while_it_is_answered_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with client_of() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        ping = b'{"jsonrpc":"2.0","method":"ping","id":1}'
        writer.write(UPGRADE + (bytes((0x81, 0x80 | len(ping), 0, 0, 0, 0)) + ping) * 4000)
        while not client.service.sockets.count:
            await asyncio.sleep(0)
        writer.transport.abort()
        while client.service.sockets.count:
            await asyncio.sleep(0.01)
    assert caplog.records == []


async def test_a_peer_that_answers_no_ping_is_found() -> None:
    async with client_of(heartbeat=10.0) as client, client.socket() as alive, Mute.connect(client):
        # aiohttp answers pings while something waits for a message.
        answering = asyncio.create_task(alive.receive())
        assert client.service.sockets.count == 2
        await asyncio.sleep(40)
        assert client.service.sockets.count == client.service.sockets.heartbeat.cut == 1
        answering.cancel()


async def test_a_reader_that_agreed_to_gaps_may_take_nothing_for_long() -> None:
    async with client_of(heartbeat=10.0, ring_messages=20) as client, Mute.connect(client, on_lag="latest"):
        for _ in range(400):
            client.service.hub.publish("t", b'"' + b"x" * 30_000 + b'"', 0.0)
            await asyncio.sleep(0)
        await asyncio.sleep(100)
        assert client.service.sockets.count == 1
        assert client.service.hub.topics["t"].readers


async def test_a_reader_that_takes_nothing_is_cut_and_the_others_lose_nothing() -> None:
    async with (
        client_of(ring_messages=20) as client,
        client.socket(max_msg_size=0) as healthy,
        Mute.connect(client),
    ):
        await call(healthy, "subscribe", topic="t")
        hub, topic = client.service.hub, client.service.hub.topics["t"]

        async def publish() -> None:
            for _ in range(400):
                hub.publish("t", b'"' + b"x" * 30_000 + b'"', 0.0)
                await asyncio.sleep(0.001)

        job = asyncio.create_task(publish())
        got = await messages(healthy, 400)
        await job
        assert [message["params"]["offset"] for message in got] == list(range(1, 401))
        assert len(topic.readers) == 1
        while client.service.sockets.count > 1:
            await asyncio.sleep(0.01)


async def test_a_reader_that_asked_for_gaps_gets_one_and_goes_on() -> None:
    async with client_of(ring_messages=20) as client, Mute.connect(client, on_lag="drop_oldest") as mute:
        for _ in range(400):
            client.service.hub.publish("t", b'"' + b"x" * 30_000 + b'"', 0.0)
            await asyncio.sleep(0)
        mute.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seen, gapped = b"", False
        while b'"offset":400,' not in seen:
            seen = seen[-100:] + await mute.reader.read(1 << 16)
            gapped = gapped or b'"method":"gap"' in seen
        assert gapped


async def test_a_peer_that_answers_no_close_frame_is_cut() -> None:
    async with client_of() as client:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        not_json = bytes((0x81, 0x81, 0, 0, 0, 0)) + b"{"
        writer.write(UPGRADE + not_json * 2)
        await reader.readuntil((1007).to_bytes(2, "big"))
        began = loop.time()
        with suppress(ConnectionResetError):
            await reader.read()
        assert 2 <= loop.time() - began <= 4
        writer.close()


async def test_a_drain_ends_though_nobody_answers_its_close_frames() -> None:
    async with client_of(drain=2.0) as client:
        loop = asyncio.get_running_loop()
        writers = [(await asyncio.open_connection("127.0.0.1", client.service.port))[1] for _ in range(3)]
        for writer in writers:
            writer.write(UPGRADE)
        while client.service.sockets.count < 3:
            await asyncio.sleep(0)
        began = loop.time()
        await client.service.drain()
        # Its time, a second for what is still written, and three for the peers' close frames.
        assert loop.time() - began <= 2 + 1 + 3 + 0.5
        assert client.service.sockets.count == 0
        for writer in writers:
            writer.close()


async def test_a_batch_over_a_socket() -> None:
    async with client_of() as client, client.socket() as socket:
        started = await call(socket, "fetch", urls=[f"{client.origin}/bytes/{size}" for size in (1, 2)])
        events = [message["params"] for message in await messages(socket, 3)]
        assert {event["topic"] for event in events} == {started["topic"]}
        assert [event["offset"] for event in events] == [1, 2, 3]
        assert [event["data"]["event"] for event in events] == ["result", "result", "done"]
        # The subscription ended with the batch; another client can still read all of it.
        assert (await call(socket, "subscribe", topic=started["topic"], since="oldest"))["offset"] == 0


async def test_a_batch_is_resumed_by_the_client_that_comes_back() -> None:
    async with client_of() as client:
        async with client.socket() as socket:
            started = await call(socket, "fetch", urls=[f"{client.origin}/slow/{ms}" for ms in (10, 5000, 9000)])
            assert (await socket.receive_json())["params"]["offset"] == 1
        async with client.socket() as again:
            since = {"epoch": started["epoch"], "offset": 1}
            answer = await call(again, "subscribe", topic=started["topic"], since=since)
            assert answer["recovered"] is True
            assert [message["params"]["offset"] for message in await messages(again, 3)] == [2, 3, 4]


async def test_the_drain_lets_batches_end_and_everyone_go() -> None:
    async with client_of(drain=10.0) as client, client.socket() as idle, client.socket() as busy:
        await call(idle, "subscribe", topic="t")
        await call(busy, "fetch", urls=[f"{client.origin}/slow/4000"])
        drain = asyncio.create_task(client.service.drain())
        for socket in (idle, busy):
            closing = await socket.receive_json()
            assert closing["method"] == "closing"
            assert closing["params"]["reason"] == "draining"
        leaving = asyncio.create_task(closed_with(idle))
        status, _, response = await client.ask("GET", "/readyz")
        assert (status, response.headers["Sluice-Reason"]) == (503, "draining")
        assert (await call(busy, "subscribe", topic="u"))["code"] == -32008
        assert (await client.batch({"urls": ["http://x/"]}))[0] == 503
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.socket()
        assert [message["params"]["data"]["event"] for message in await messages(busy, 2)] == ["result", "done"]
        assert await leaving == 1001
        assert await closed_with(busy) == 1001
        await drain


async def test_at_the_deadline_running_fetches_fail_and_are_reported() -> None:
    async with client_of(drain=3.0) as client, client.socket() as busy:
        await call(busy, "fetch", urls=[f"{client.origin}/slow/60000"])
        drain = asyncio.create_task(client.service.drain())
        _, failed, done = await messages(busy, 3)
        assert failed["params"]["data"]["error"] == "cancelled"
        assert done["params"]["data"]["event"] == "done"
        assert await closed_with(busy) == 1001
        await drain


async def test_nothing_is_left_of_a_client_that_has_gone() -> None:
    async with client_of() as client:
        for _ in range(20):
            async with client.socket() as socket:
                await call(socket, "subscribe", topic="t")
        while client.service.sockets.count:
            await asyncio.sleep(0.01)
        assert not client.service.hub.topics["t"].readers
        assert "of 0 every" in repr(client.service.sockets.heartbeat)


async def test_echo_is_there_when_asked_for() -> None:
    async with client_of(echo_route=True) as client, client.session.ws_connect(client.url("/echo")) as socket:
        await socket.send_str("text")
        await socket.send_bytes(b"\x00\xff")
        assert (await socket.receive()).data == "text"
        assert (await socket.receive()).data == b"\x00\xff"
    async with client_of() as client:
        assert (await client.ask("GET", "/echo"))[0] == 404


async def test_echo_sends_back_every_message_and_refuses_invalid_text() -> None:
    async with (
        client_of(echo_route=True) as client,
        client.session.ws_connect(client.url("/echo"), max_msg_size=0, autoping=False) as socket,
    ):
        for message in ("", "a", "\u00e4" * 70_000):
            await socket.send_str(message)
            assert await socket.receive_str() == message
        for data in (b"", b"\xff\x00", bytes(1 << 20)):
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == data
        await socket.ping(b"x")
        assert (await socket.receive()).data == b"x"
        await socket.send_frame(b"\xff\xfe", WSMsgType.TEXT)
        assert (await socket.receive()).data == 1007


@pytest.mark.parametrize("version", ["8", "7", "0", "14", "x", ""])
async def test_other_versions_are_refused_with_the_one_that_is_supported(version: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
               "Sec-WebSocket-Version": version}  # fmt: skip
    async with client_of() as client:
        status, problem, response = await client.ask("GET", "/ws", headers=headers)
        assert (status, response.headers["Sec-WebSocket-Version"]) == (426, "13")
        assert response.content_type == "application/problem+json"
        assert "13" in problem["detail"]


async def test_echo_needs_the_token_too() -> None:
    async with (
        client_of(echo_route=True, token="secret") as client,
        client.session.ws_connect(client.url("/echo")) as socket,
    ):
        assert (await socket.receive()).data == 4401


@pytest.mark.parametrize("rude", [False, True])
async def test_what_is_left_of_a_connection_is_freed_at_once(rude: bool) -> None:
    # Without the collector of cycles: it comes after millions of allocations.
    async with client_of() as client:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                socket = await client.socket()
                await call(socket, "subscribe", topic="t")
                if rude:
                    socket._response.connection.transport.abort()
                await socket.close()
            while client.service.sockets.connections:
                await asyncio.sleep(0.01)
            for _ in range(5):
                await asyncio.sleep(0.01)
            assert [one for one in gc.get_objects() if isinstance(one, Connection | Session)] == []
        finally:
            gc.enable()
