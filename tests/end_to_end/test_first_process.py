"""The service as the first process of a container: nobody reaps its children there, or gives signals an effect."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.processes import origin, program, run, start
from tests.procfs import children

ALONE = ("unshare", "--pid", "--fork", "--mount-proc")


async def test_it_drains_and_reaps_its_selection_process() -> None:
    program("unshare", "Debian: util-linux")
    code, _, errors = await run(*ALONE, "true")
    if code:
        pytest.skip(f"no namespace of processes can be made here: {errors}")
    async with origin() as upstream:
        allowed = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
        serve = (sys.executable, "-m", "service", "serve", "--port", "0", "--drain", "1", *allowed)
        container = await start(*ALONE, *serve)
        url = (await container.line()).split("listening on")[1].strip()
        (first,) = children(container.process.pid)
        assert f"\nNSpid:\t{first}\t1\n" in Path(f"/proc/{first}/status").read_text()
        watched = {"url": f"{upstream.url}/bytes/5", "every": "1", "select": "p"}
        async with (
            aiohttp.ClientSession(url) as session,
            session.get("/watch", params=watched),
            session.ws_connect("/ws") as socket,
            asyncio.timeout(60),
        ):
            while not (selecting := children(first)):
                await asyncio.sleep(0.02)  # a process of another process
            os.kill(selecting[0], signal.SIGKILL)
            # A zombie would stay in /proc, and in the list.
            while selecting[0] in children(first):
                await asyncio.sleep(0.02)
            os.kill(first, signal.SIGTERM)
            assert (await socket.receive_json())["method"] == "closing"
            assert (await socket.receive()).data == 1001
        assert await container.ended() == 0
        await container.close()
    assert b'"drained"' in container.errors
