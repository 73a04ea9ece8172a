"""``python -O`` takes assertions away: the programs do the same without them."""

import signal
import sys

import aiohttp

from tests.end_to_end.processes import listening, run

OPTIMISED = (sys.executable, "-O", "-m")


async def test_the_programs_do_without_assertions() -> None:
    """Publish, fetch, and stop while a client stays: its handler has to be ended."""
    origin = listening(*OPTIMISED, "loadtest", "origin", "--port", "0")
    async with origin as upstream:
        options = ("--port", "0", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port), "--drain", "1")
        async with (
            listening(*OPTIMISED, "service", "serve", *options) as server,
            aiohttp.ClientSession(server.url) as session,
            session.ws_connect("/ws", autoclose=False, timeout=aiohttp.ClientWSTimeout(ws_close=0.1)) as socket,
        ):
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t"}})
            assert (await socket.receive_json(timeout=30))["result"]["offset"] == 0
            async with session.post("/topics/t", json={"a": 1}) as published:
                assert published.status == 200
            assert (await socket.receive_json(timeout=30))["params"]["data"] == {"a": 1}
            async with session.post("/fetch-batch", json={"urls": [f"{upstream.url}/bytes/3"]}) as fetched:
                assert (await fetched.json())["ok"] == 1
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
        code, out, err = await run(
            *OPTIMISED, "service", "fetch", f"{upstream.url}/bytes/3", "--allow-net", "127.0.0.0/8",
            "--allow-port", str(upstream.port),
        )  # fmt: skip
        assert (code, '"done"' in out) == (0, True), err
