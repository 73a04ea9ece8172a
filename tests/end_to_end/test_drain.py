"""SIGTERM in the middle of everything; ``./x bench drain`` is the same at full size."""

import asyncio
import sys

import orjson

from bench.drain import wrong
from tests.end_to_end.processes import origin, service, start

READERS, BATCHES, WATCHES = 300, 10, 10


async def test_readiness_goes_first_everyone_is_told_and_nothing_that_was_accepted_is_lost() -> None:
    async with (
        origin() as upstream,
        service("--drain", "3", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        counts = (str(READERS), str(BATCHES), str(WATCHES), "50")
        crowd = await start(sys.executable, "-m", "bench.crowd", server.url, upstream.url, *counts, pipe=True)
        try:
            assert (await crowd.line()).startswith("ready")
            assert crowd.process.stdin is not None
            crowd.process.stdin.write(b"%d\n" % server.process.pid)
            assert await server.ended(within=8) == 0
            out, err = await asyncio.wait_for(crowd.process.communicate(), 10)
            report = orjson.loads(out or err)
        finally:
            await crowd.stop()
    assert wrong(report, readers=READERS, batches=BATCHES, watches=WATCHES) == []
    assert report["events"] == {"result": 2 * BATCHES, "cancelled": 2 * BATCHES, "done": BATCHES}
    assert 3 <= report["seconds"] < 8, "batches that run too long end with the drain"
