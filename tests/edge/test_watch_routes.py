"""Watches over WebSocket and as SSE, through the whole service."""

import asyncio
from typing import Any

import pytest

from tests.edge.running import call, client_of


async def _message(socket: Any) -> Any:
    return (await asyncio.wait_for(socket.receive_json(), 60))["params"]["data"]


async def test_watching_over_websocket() -> None:
    async with client_of() as client, client.socket() as socket, client.socket() as other:
        url = f"{client.origin}/etag/a"
        answer = await call(socket, "watch", url=url, every=1)
        assert answer["topic"].startswith("watch:")
        assert answer["recovered"] is False
        state = await _message(socket)
        assert (state["event"], state["url"]) == ("state", url)
        assert state["body"].startswith('{"key":"a","version":0')
        late = await call(other, "watch", url=url, every=1)
        assert late["topic"] == answer["topic"]
        assert await _message(other) == state
        again = await call(socket, "watch", url=url, every=5)
        assert again["data"]["reason"] == "already_subscribed"
        assert await call(socket, "unwatch", topic=answer["topic"]) == {}
        assert await call(other, "unwatch", topic=answer["topic"]) == {}
        await asyncio.sleep(5)
        assert client.service.watches.statistics().urls == 0


async def test_a_watcher_that_comes_back_goes_on_where_it_was() -> None:
    async with client_of() as client, client.socket() as socket, client.socket() as other:
        params = {"url": f"{client.origin}/etag/a", "every": 1}
        refused = await call(other, "watch", **params, since="then")
        assert refused["data"]["reason"] == "invalid_params"
        assert client.service.watches.statistics().urls == 0
        begun = await call(socket, "watch", **params)
        state = await _message(socket)
        had = {"epoch": begun["epoch"], "offset": 1}
        assert await call(other, "watch", **params, since=had) == {**begun, "offset": 1, "recovered": True}
        await call(other, "unwatch", topic=begun["topic"])
        before = {"epoch": begun["epoch"], "offset": 0}
        assert await call(other, "watch", **params, since=before) == {**begun, "recovered": True}
        assert await _message(other) == state


async def test_a_closed_connection_watches_nothing() -> None:
    async with client_of() as client:
        async with client.socket() as socket:
            for key in range(5):
                await call(socket, "watch", url=f"{client.origin}/etag/{key}", every=1)
                await _message(socket)
            assert client.service.watches.statistics().urls == 5
        await asyncio.sleep(5)
        assert client.service.watches.statistics().urls == 0


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("", 422, "url"),
        ("url=http://h.example/", 422, "every"),
        ("url=http://h.example/&every=x", 422, "every"),
        ("url=http://h.example/&every=0.5", 422, "every"),
        ("url=http://h.example/&every=nan", 422, "every"),
        ("url=http://h.example/&every=100000", 422, "every"),
        ("url=http://10.0.0.1/&every=1", 403, "url"),
        ("url=http://h.example/&every=1&select=div[", 422, "select"),
        ("url=http://h.example/&every=1&on_lag=never", 422, "on_lag"),
        ("url=http://h.example/&every=1&selct=p", 422, "select"),
        ("url=http://h.example/&Every=1", 422, "every"),
        ("url=http://h.example/&every=1&every=2", 422, "every"),
        ("url=http://10.0.0.1/&every=1&utm_source=x&_=2", 403, "url"),
    ],
)
async def test_what_is_refused_names_the_parameter(query: str, status: int, word: str) -> None:
    async with client_of() as client:
        got, problem, _ = await client.ask("GET", f"/watch?{query}")
        assert got == status
        assert word in problem["detail"]
        assert client.service.watches.statistics().urls == 0


async def test_a_watch_ends_with_its_stream() -> None:
    async with client_of() as client:
        async with client.session.get(client.url(f"/watch?url={client.origin}/etag/a&every=1")) as stream:
            await stream.content.readline()
            assert client.service.watches.statistics().urls == 1
        await asyncio.sleep(5)
        assert client.service.watches.statistics().urls == 0
