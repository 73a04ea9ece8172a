"""What a drain owes to those whom it sends away."""

import asyncio

import aiohttp
import pytest

from tests.edge.running import Client, call, client_of


async def test_what_was_accepted_before_a_socket_is_released_reaches_it_first() -> None:
    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        client.service.hub.publish("t", b"1", asyncio.get_running_loop().time())
        client.service.sockets.end_idle()
        assert (await socket.receive_json())["params"]["data"] == 1
        assert (await socket.receive()).data == 1001


async def status_of(client: Client, path: str, accept: str = "text/event-stream", **headers: str) -> int:
    more = {"Accept": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.session.get(client.url(path), headers=more) as answer:
        return answer.status


@pytest.mark.parametrize("route", ["/topics/t/events", "/watch"])
async def test_an_event_source_that_comes_back_in_a_drain_is_served_and_newcomers_are_refused(route: str) -> None:
    async with client_of() as client:
        path = f"{route}?url={client.origin}/bytes/1&every=1" if route == "/watch" else route
        async with client.session.get(client.url(path), headers={"Accept": "text/event-stream"}) as stream:
            await stream.content.readuntil(b"id: ")
            place = (await stream.content.readline()).decode().strip()
            client.service.streams.drain()
            assert await status_of(client, path, Last_Event_ID=place) == 200
            assert await status_of(client, f"{path}{'&' if '?' in path else '?'}lastEventId={place}") == 200
            assert await status_of(client, path) == 503
            assert await status_of(client, path, Last_Event_ID="another:1") == 503
            assert await status_of(client, path, "application/x-ndjson", Last_Event_ID=place) == 503


async def test_the_events_of_a_job_that_goes_on_are_cut_and_those_of_a_topic_are_complete() -> None:
    async with client_of() as client:
        made = (await client.ask("POST", "/jobs", json={"publish": {"topic": "t", "data": 1}, "delay": 60}))[1]
        async with (
            client.session.get(client.url(f"/jobs/{made['job']}/events")) as job,
            client.session.get(client.url("/topics/t/events")) as topic,
        ):
            assert b"queued" in await job.content.readline()
            assert b"start" in await topic.content.readline()
            client.service.streams.end()
            assert await topic.content.read() == b""
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
                await job.content.read()


async def test_a_watch_that_is_refused_in_a_drain_asks_no_upstream() -> None:
    async with client_of() as client:
        client.service.streams.drain()
        assert await status_of(client, f"/watch?url={client.origin}/bytes/1&every=1") == 503
        assert not list(client.service.watches.watched())
