"""Pipelines over WebSocket: the whole service, on virtual time; stages run on the loop and in threads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from service.work.pipelines import faceblur
from tests.core.stores import FakeStore
from tests.edge.running import Client, call, client_of
from tests.edge.test_claims import SECRET, bearer

HERE = "tests.edge.stages"


def toml(*stages: str, name: str = "p", **more: Any) -> str:
    lines = ["[[pipelines]]", f'name = "{name}"']
    for stage in stages:
        function, place, *rest = stage.split()
        lines += ["[[pipelines.stages]]", f'run = "{HERE}:{function}"', f'place = "{place}"', *rest]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def client_with(tmp_path: Path, *stages: str, **settings: Any) -> AsyncIterator[Client]:
    file = tmp_path / "pipelines.toml"
    file.write_text(toml(*stages))
    async with client_of(pipelines=str(file), **settings) as client:
        yield client


def connect(client: Client, path: str = "/pipelines/p", **more: Any) -> Any:
    return client.session.ws_connect(client.url(path), max_msg_size=0, **more)


async def received(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
    """Return all that comes until it is closed: bytes, events, and the close code."""
    found: list[Any] = []
    async with asyncio.timeout(100):
        while (message := await socket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
            found.append(message.data if message.type is WSMsgType.BINARY else message.json())
    return [*found, socket.close_code]


async def send(socket: aiohttp.ClientWebSocketResponse, *items: bytes, end: bool = True) -> None:
    for item in items:
        await socket.send_bytes(item)
    if end:
        await socket.send_json({"event": "end"})


async def test_items_come_out_in_order_and_the_end_closes_with_1000(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double thread workers=3", "slowly loop workers=2") as client:
        async with connect(client) as socket:
            await send(socket, *(b"%d" % number for number in range(20)))
            assert await received(socket) == [*(b"%d" % number * 2 for number in range(20)), 1000]
        assert client.service.pipelines.pool.used == 0


async def test_what_fails_is_an_event_in_its_place_and_a_bug_stays_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_with(tmp_path, "facts loop", "double loop") as client, connect(client) as socket:
        await send(socket, b"a", b"bad", b"bug", b"b")
        assert await received(socket) == [
            b"AA",
            {"event": "failed", "item": 2, "detail": "facts: not this one"},
            {
                "event": "failed",
                "item": 3,
                "detail": "facts: internal error in the stage; the service's log says more",
            },
            b"BB",
            1000,
        ]
    (line,) = [record for record in caplog.records if record.name == "sluice.pipelines"]
    assert line.message == "a stage raised"


async def test_each_output_has_its_line_on_a_topic(tmp_path: Path) -> None:
    async with client_with(tmp_path, "facts loop") as client, client.socket() as reader:
        await call(reader, "subscribe", topic="faces")
        async with connect(client, "/pipelines/p?to=faces") as socket:
            await send(socket, b"abc", b"bad")
            await received(socket)
        lines = [(await reader.receive_json())["params"]["data"] for _ in range(2)]
    assert all(line.pop("ms") >= 0 for line in lines)
    assert lines == [{"item": 1, "bytes": 3, "faces": 3}, {"item": 2, "error": "facts: not this one"}]


async def test_drop_oldest_says_in_its_place_how_many_are_missing(tmp_path: Path) -> None:
    async with client_with(tmp_path, "slowly loop queue=2") as client:
        async with connect(client, "/pipelines/p?full=drop_oldest") as socket:
            await send(socket, *(b"%d" % number for number in range(10)))
            *events, code = await received(socket)
        text = await metrics(client)
    assert code == 1000
    numbers, at = [], 0
    for event in events:
        if isinstance(event, dict):
            assert event == {"event": "dropped", "count": event["count"]}
            at += event["count"]
        else:
            numbers.append(at)
            assert event == b"%d" % at
            at += 1
    assert at == 10
    assert numbers[-2:] == [8, 9]
    assert f'sluice_pipeline_dropped_total{{pipeline="p"}} {10 - len(numbers)}.0' in text


async def metrics(client: Client) -> str:
    _, body, _ = await client.ask("GET", "/metrics")
    assert isinstance(body, bytes)
    return body.decode()


async def test_the_figures_of_each_stage_are_in_the_metrics(tmp_path: Path) -> None:
    async with client_with(tmp_path, "facts loop", "never loop queue=2") as client, connect(client) as socket:
        await send(socket, b"bad", b"a", b"b", b"c", end=False)
        assert (await socket.receive_json())["item"] == 1
        async with asyncio.timeout(60):
            while 'waiting{pipeline="p",stage="never"} 2.0' not in (text := await metrics(client)):
                await asyncio.sleep(1)
    for line in (
        'sluice_pipeline_runs{pipeline="p"} 1.0',
        'sluice_pipeline_running{pipeline="p",stage="never"} 1.0',
        'sluice_pipeline_items_total{outcome="failed",pipeline="p",stage="facts"} 1.0',
        'sluice_pipeline_items_total{outcome="ok",pipeline="p",stage="facts"} 3.0',
        'sluice_pipeline_seconds_count{pipeline="p",stage="facts"} 4.0',
    ):
        assert line in text


async def test_a_full_pipeline_holds_back_the_socket(tmp_path: Path) -> None:
    """At 256 KiB an item, what is sent beyond the bounds stays in the buffers of both sockets."""
    async with client_with(tmp_path, "never loop queue=2") as client, connect(client) as socket:

        async def fill() -> None:
            for _ in range(200):
                await socket.send_bytes(bytes(256 << 10))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fill(), 5)
        # One in the stage, two before it, and one that waits to be put in.
        assert client.service.pipelines.frames.used == 4 * (256 << 10)
    async with asyncio.timeout(60):
        while client.service.pipelines.pool.used:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("full", ["block", "drop_oldest"])
async def test_a_client_that_reads_no_outputs_is_held_back_and_then_cut(tmp_path: Path, full: str) -> None:
    path, heartbeat = f"/pipelines/p?full={full}", 4.0
    async with (
        client_with(tmp_path, "enlarge loop", heartbeat=heartbeat) as client,
        connect(client, path) as socket,
    ):
        socket._response.connection.transport.pause_reading()

        async def fill() -> None:
            while True:
                await socket.send_bytes(bytes(20_000))
                await asyncio.sleep(0.1)

        with pytest.raises(aiohttp.ClientConnectionResetError):
            await asyncio.wait_for(fill(), 600)
        async with asyncio.timeout(60):
            while client.service.pipelines.frames.used:
                await asyncio.sleep(0.1)
        assert 'sluice_pipeline_cut_total{pipeline="p"} 1.0' in await metrics(client)


async def test_a_client_that_is_reset_while_outputs_wait_for_it_is_not_an_error_of_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_with(tmp_path, "enlarge loop") as client, connect(client) as socket:
        transport = socket._response.connection.transport
        transport.pause_reading()
        await send(socket, bytes(20_000), end=False)
        await asyncio.sleep(1)  # the output fills the buffers of both sockets, and waits
        transport.abort()
        async with asyncio.timeout(60):
            while client.service.pipelines.pool.used:
                await asyncio.sleep(0.1)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_client_that_leaves_ends_its_run_alone(tmp_path: Path) -> None:
    async with client_with(tmp_path, "slowly loop queue=4") as client, connect(client) as stays:
        async with connect(client) as leaves:
            await send(leaves, b"a", b"b", end=False)
        await send(stays, b"c")
        assert await received(stays) == [b"c", 1000]
        async with asyncio.timeout(60):
            while client.service.pipelines.pool.used:
                await asyncio.sleep(0.1)
        assert client.service.pipelines.frames.used == 0


async def test_a_drain_lets_come_out_what_is_under_way_and_closes_with_1001(tmp_path: Path) -> None:
    settings = {"drain": 20.0}
    async with client_with(tmp_path, "slowly loop queue=4", **settings) as client, connect(client) as socket:
        idle = await connect(client)
        await send(socket, b"a", b"b", b"c", end=False)
        assert await socket.receive_bytes() == b"a"
        draining = asyncio.create_task(client.service.drain())
        closing = {"event": "closing", "reason": "draining", "retry_after": 1.0}
        found = await received(socket)
        assert [one for one in found if isinstance(one, bytes)] == [b"b", b"c"]
        assert closing in found
        assert found[-1] == 1001
        assert await received(idle) == [closing, 1001]
        await draining


async def test_a_drain_ends_at_its_deadline_though_a_stage_hangs(tmp_path: Path) -> None:
    async with client_with(tmp_path, "never loop", step_time=1000.0) as client, connect(client) as socket:
        await send(socket, b"a", b"b", b"c", b"d", b"e", end=False)
        await asyncio.sleep(1)
        async with asyncio.timeout(30):
            await client.service.drain()
            while client.service.pipelines.pool.used:
                await asyncio.sleep(0.1)


async def test_a_stage_that_takes_too_long_costs_its_item_alone(tmp_path: Path) -> None:
    async with client_with(tmp_path, "never loop", step_time=2.0) as client, connect(client) as socket:
        await send(socket, b"a", b"b")
        detail = "never: took longer than 2 s"
        assert await received(socket) == [
            {"event": "failed", "item": 1, "detail": detail},
            {"event": "failed", "item": 2, "detail": detail},
            1000,
        ]


async def test_a_client_that_waits_for_its_outputs_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    settings = {"heartbeat": 2.0, "step_time": 60.0}
    async with client_with(tmp_path, "never loop", **settings) as client, connect(client, autoping=False) as socket:
        # It answers no ping: those would wait behind its items.
        await send(socket, *(b"a" for _ in range(8)), end=False)
        async with asyncio.timeout(600):
            while (message := await socket.receive()).type is WSMsgType.PING:
                pass
        assert message.json()["detail"] == "never: took longer than 60 s"


async def test_a_client_that_sends_nothing_and_answers_no_ping_is_cut(tmp_path: Path) -> None:
    async with (
        client_with(tmp_path, "double loop", heartbeat=4.0) as client,
        connect(client, autoping=False) as socket,
    ):
        async with asyncio.timeout(10):
            while (await socket.receive()).type is WSMsgType.PING:
                pass
        assert socket.close_code == 1006
        async with asyncio.timeout(60):
            while client.service.pipelines.pool.used:
                await asyncio.sleep(0.1)
        assert 'sluice_evictions_total{reason="silent"} 1.0' in await metrics(client)


async def test_a_line_whose_store_never_answers_is_reported_and_the_run_goes_on(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double loop") as client:
        client.service.hub.store = FakeStore()
        async with connect(client, "/pipelines/p?to=t") as socket:
            await send(socket, b"a", b"b")
            first, said, second, again, code = await received(socket)
        assert (first, second, code) == (b"aa", b"bb", 1000)
        assert [(one["event"], one["item"]) for one in (said, again)] == [("unpublished", 1), ("unpublished", 2)]
        assert "30 s" in said["detail"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [('{"event":"start"}', "error"), ("[]", "error"), ("{", 1007)],
)  # fmt: skip
async def test_a_text_that_is_not_known_is_answered_and_one_that_is_not_json_ends_it(
    tmp_path: Path, text: str, answer: Any
) -> None:
    async with client_with(tmp_path, "double loop") as client, connect(client) as socket:
        await socket.send_str(text)
        if answer == "error":
            assert (await socket.receive_json())["event"] == "error"
            await send(socket, b"a")
            assert await received(socket) == [b"aa", 1000]
        else:
            assert await received(socket) == [answer]


async def test_the_frame_size_bounds_items_there_alone(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double loop", frame_size=100_000) as client:
        async with connect(client) as socket:
            await send(socket, bytes(100_000))
            assert [len(one) for one in (await received(socket))[:-1]] == [200_000]
        async with connect(client) as socket:
            await send(socket, bytes(100_001))
            assert await received(socket) == [1009]
        async with client.socket() as socket:
            await socket.send_str(" " * 80_000)
            assert await received(socket) == [1009]


async def refused(client: Client, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **more.pop("headers", {})}  # fmt: skip
    status, problem, _ = await client.ask("GET", path, headers=headers, **more)
    return status, problem


async def test_what_cannot_be_run_is_refused_before_the_upgrade(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double loop") as client:
        for path, status, says in (
            ("/pipelines/none", 404, "pipeline 'none': there is none of that name"),
            ("/pipelines/p?full=no", 422, "full: is one of block, drop_oldest"),
            ("/pipelines/p?ful=block", 422, "did you mean full"),
            ("/pipelines/p?to=_stats", 403, "topic"),
            ("/pipelines/p?to=a%20b", 422, "topic"),
        ):
            found, problem = await refused(client, path)
            assert (found, says in problem["detail"]) == (status, True), problem
        status, problem = await refused(client, "/pipelines/p", headers={"Origin": "http://elsewhere.example"})
        assert status == 403
        status, problem, _ = await client.ask("GET", "/pipelines/p")
        assert status == 426
        assert client.service.pipelines.pool.used == 0


async def test_credentials_and_grants_are_looked_at(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double loop", jwt_secret=SECRET) as client:
        assert (await client.ask("GET", "/pipelines"))[0] == 401
        async with connect(client) as socket:
            assert await received(socket) == [4401]
        status, problem = await refused(client, "/pipelines/p", headers=bearer(sub="a"))
        assert (status, problem["detail"]) == (403, "claim fetch: the token does not have it")
        status, problem = await refused(client, "/pipelines/p?to=mine", headers=bearer(sub="a", fetch=True))
        assert (status, problem["detail"]) == (403, "claim publish: it does not cover the topic 'mine'")
        may = bearer(sub="a", fetch=True, publish=["mine"])
        async with connect(client, "/pipelines/p?to=mine", headers=may) as socket:
            await send(socket, b"a")
            assert await received(socket) == [b"aa", 1000]


async def test_one_client_has_its_share_of_the_places_and_others_find_some(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double loop", memory_limit=1 << 30, trust_proxy=("127.0.0.0/8",)) as client:
        bound = client.service.pipelines.pool.bound
        opened = []
        while (status := (await refused_or_open(client, opened, "10.0.0.1")))[0] == 101:
            pass
        assert status == (429, "pipelines")
        assert 0 < len(opened) < bound
        assert (await refused_or_open(client, opened, "10.0.0.2"))[0] == 101
        for socket in opened:
            await socket.close()


async def refused_or_open(client: Client, opened: list[Any], address: str) -> tuple[int, Any]:
    try:
        opened.append(await connect(client, headers={"X-Forwarded-For": address}))
    except aiohttp.WSServerHandshakeError as error:
        _, problem = await refused(client, "/pipelines/p", headers={"X-Forwarded-For": address})
        return error.status, problem["pool"]
    return 101, None


async def test_they_are_listed_as_they_are_declared(tmp_path: Path) -> None:
    async with client_with(tmp_path, "double thread workers=3", 'facts loop name="last"') as client:
        status, answer, _ = await client.ask("GET", "/pipelines")
    assert status == 200
    (found,) = [one for one in answer["pipelines"] if one["name"] == "p"]
    assert found["stages"] == [
        {"run": f"{HERE}:double", "name": "double", "workers": 3, "place": "thread", "queue": 4},
        {"run": f"{HERE}:facts", "name": "last", "workers": 1, "place": "loop", "queue": 4},
    ]


async def test_the_one_that_is_shipped_names_its_extra_where_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faceblur, "installed", lambda: False)
    async with client_of() as client:
        status, problem = await refused(client, "/pipelines/faceblur")
        assert status == 404
        assert "install sluice[vision]" in problem["detail"]
        assert (await client.ask("GET", "/pipelines"))[1] == {"pipelines": []}
    monkeypatch.setattr(faceblur, "installed", lambda: True)
    async with client_of() as client:
        (found,) = (await client.ask("GET", "/pipelines"))[1]["pipelines"]
    assert found["name"] == "faceblur"
    assert [stage["name"] for stage in found["stages"]] == ["decode", "detect", "blur", "encode"]
