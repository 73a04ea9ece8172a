"""SIGTERM in the middle of everything; ``./x bench drain`` is the same at full size."""

import asyncio
import signal
import sys

import aiohttp
import orjson
import pytest

from bench.drain import wrong
from tests.end_to_end.processes import origin, service, start

READERS, BATCHES, WATCHES = 300, 10, 10


async def test_readiness_goes_first_everyone_is_notified_and_nothing_that_was_accepted_is_lost() -> None:
    async with (
        origin() as upstream,
        service("--drain", "3", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        counts = (str(READERS), str(BATCHES), str(WATCHES), "50")
        crowd = await start(
            sys.executable, "-m", "bench.crowd", server.url, upstream.url, *counts, stdin=asyncio.subprocess.PIPE
        )
        try:
            assert (await crowd.line()).startswith("ready")
            assert crowd.process.stdin is not None
            crowd.process.stdin.write(b"%d\n" % server.process.pid)
            assert await server.ended(within=30) == 0
            out, err = await asyncio.wait_for(crowd.process.communicate(), 60)
            report = orjson.loads(out or err)
        finally:
            await crowd.stop()
    assert wrong(report, readers=READERS, batches=BATCHES, watches=WATCHES) == []
    assert report["events"] == {"result": 2 * BATCHES, "cancelled": 2 * BATCHES, "done": BATCHES}
    assert 3 <= report["seconds"] < 30, "batches that run too long end with the drain"


async def test_a_topics_stream_ends_when_the_port_is_closed_and_not_before() -> None:
    """An EventSource comes back after a refused connection, and gives up for good on a 503."""
    async with (
        origin() as upstream,
        service("--drain", "5", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        aiohttp.ClientSession(server.url) as session,
        session.get("/topics/t/events", headers={"Accept": "text/event-stream"}) as stream,
        session.post(
            "/fetch-batch", json={"urls": [f"{upstream.url}/slow/1000"]}, headers={"Accept": "application/x-ndjson"}
        ) as batch,
    ):
        server.process.send_signal(signal.SIGTERM)
        events = [orjson.loads(line)["event"] async for line in batch.content]
        assert events == ["result", "done"], "the drain waits for it, and so does the stream"
        async with asyncio.timeout(60):
            while await stream.content.readline():
                pass
        assert stream.content.at_eof()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert await server.ended() == 0
