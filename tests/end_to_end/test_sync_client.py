"""The Python client without asyncio, against the real service."""

import asyncio
import threading

import pytest

from service.client import (
    ClientClosed,
    Disconnected,
    Done,
    JobDone,
    JobError,
    JobQueued,
    JobStarted,
    Message,
    Position,
    Refused,
    Result,
    sync,
)
from tests.end_to_end.processes import Process, origin, service


async def test_it_publishes_reads_and_fetches() -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        await asyncio.to_thread(use, server, f"{upstream.url}/bytes/5")


def use(server: Process, url: str) -> None:
    with sync.Client(server.url) as client:
        first = client.publish("t", 1)
        assert isinstance(first, Position)
        client.publish("t", 2)
        read = []
        for value in client.subscribe("t", since="oldest"):
            assert isinstance(value, Message)
            read.append(value.data)
            if value.data == 2:
                break
        assert read == [1, 2]
        assert client.presence("t") == 0
        # The garbage collector ends an iteration in any thread, also in the one that would have to answer.
        forgotten, over = client.subscribe("t", since="oldest"), threading.Event()
        next(forgotten)
        client._loop.call_soon_threadsafe(forgotten.close)  # type: ignore[attr-defined]
        client._loop.call_soon_threadsafe(over.set)
        assert over.wait(30)
        assert client.presence("t") == 0
        assert [type(event) for event in client.fetch([url, url])] == [Result, Result, Done]
        job = client.job(publish={"topic": "t", "data": 3})
        assert [type(event) for event in job] == [JobQueued, JobStarted, JobDone]
        assert (job.result(timeout=30)["offset"], job.state, job.cancel()) == (3, "done", False)
        waiting = client.follow_job(client.job(publish={"topic": "t", "data": 4}, delay=600).id)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.01)
        assert waiting.cancel()
        with pytest.raises(JobError, match="cancelled"):
            waiting.result()
        with pytest.raises(Refused, match="forbidden"):
            client.publish("_stats", 1)
        with pytest.raises(Refused, match="not_found"):
            client.cancel("none")
        left = client.subscribe("t")
    with pytest.raises(ClientClosed):
        next(left)
    with pytest.raises(ClientClosed):
        client.publish("t", 3)
    client.close()
    assert "sluice client" not in {thread.name for thread in threading.enumerate()}


async def test_closing_from_another_thread_ends_an_iteration() -> None:
    async with service() as server:
        client = sync.Client(server.url)

        def loop() -> None:
            with client:
                values = client.subscribe("t", since="oldest")
                client.publish("t", 1)
                assert isinstance(next(values), Message)
                threading.Timer(0.2, client.close).start()
                with pytest.raises(ClientClosed):
                    next(values)

        await asyncio.wait_for(asyncio.to_thread(loop), 60)


async def test_a_server_that_is_not_the_service_is_reported() -> None:
    async with origin() as upstream:

        def ask() -> None:
            with sync.Client(upstream.url) as client, pytest.raises(Disconnected):
                client.presence("t")

        await asyncio.to_thread(ask)
