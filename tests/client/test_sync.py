"""The client without asyncio: no call is left waiting when another thread closes the client."""

import asyncio
import threading

from service.client import sync


async def _nothing() -> None:
    """End in the first step."""


def test_a_call_that_ends_as_the_loop_stops_is_answered() -> None:
    with sync.Client("http://127.0.0.1:1") as client:
        client._wait(client._client.close())
        loop, go_on = client._loop, threading.Event()
        loop.call_soon_threadsafe(go_on.wait, 30)
        # Both in one turn, so that the task ends in the last turn, and its thread would hear of it in the next.
        ended = asyncio.run_coroutine_threadsafe(_nothing(), loop)
        loop.call_soon_threadsafe(loop.call_soon, loop.stop)
        client._open = False
        go_on.set()
        client._thread.join(30)
        assert ended.done()
