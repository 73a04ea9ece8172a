"""A proxy between that cuts what is idle: the log says so, for WebSockets and for streams."""

import asyncio
import contextlib

import orjson
import pytest

from tests.end_to_end.processes import Process, service
from tests.end_to_end.test_floods import UPGRADE

STREAM = b"GET /topics/t/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
IDLE = 1.1
"""Seconds of silence after which the proxy cuts."""


async def cut_when_idle(server: Process, request: bytes) -> None:
    """Connect, take what comes, and cut after a silence, as a proxy does that hears nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    with contextlib.suppress(TimeoutError):
        while await asyncio.wait_for(reader.read(4096), IDLE):
            pass
    writer.transport.abort()


async def warning(server: Process) -> bytes:
    """Return the line of the log that warns of cuts."""
    assert server.process.stderr is not None
    while b"same silence" not in (line := await server.process.stderr.readline()):
        assert line, "the service has ended"
    return line


@pytest.mark.parametrize("request_", [UPGRADE, STREAM], ids=["websocket", "stream"])
async def test_a_proxy_that_cuts_what_is_idle_is_warned_of(request_: bytes) -> None:
    async with service("--heartbeat", "10", "--log-format", "json") as server:
        warned = asyncio.create_task(warning(server))
        # One after another, as clients come back: those that are cut together say no more than one.
        cuts = []
        async with asyncio.timeout(60):
            while not warned.done():
                cuts.append(asyncio.create_task(cut_when_idle(server, request_)))
                await asyncio.wait([warned], timeout=0.6)
        await asyncio.gather(*cuts)
        server.process.terminate()
        _, err = await server.process.communicate()
    assert b"same silence" not in err, "once is enough"
    reported = orjson.loads(await warned)
    assert 1.0 <= reported["silence_s"] < 5
    assert reported["heartbeat_s"] == 10
    assert "--heartbeat below" in reported["advice"]
