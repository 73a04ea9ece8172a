"""The client without asyncio: no call is left waiting when another thread closes the client."""

import asyncio
import threading

import pytest

from service.client import ClientClosed, State, sync


async def _nothing() -> None:
    """End in the first step."""


def test_a_call_that_ends_as_the_loop_stops_is_answered() -> None:
    with sync.Client("http://127.0.0.1:1") as client:
        client._wait(client._client.close)
        loop, go_on = client._loop, threading.Event()
        loop.call_soon_threadsafe(go_on.wait, 30)
        # Both in one turn, so that the task ends in the last turn, and its thread would hear of it in the next.
        ended = asyncio.run_coroutine_threadsafe(_nothing(), loop)
        loop.call_soon_threadsafe(loop.call_soon, loop.stop)
        client._open = False
        go_on.set()
        client._thread.join(30)
        assert ended.done()


def test_a_call_that_would_wait_for_itself_is_refused() -> None:
    """A state is reported in the thread that would have to answer."""
    refused, reported = [], threading.Event()

    def on_state(state: State) -> None:
        for call in (lambda: client.publish("t", 1), client.close):
            with pytest.raises(RuntimeError, match="another thread"):
                call()
            refused.append(state.state)
        reported.set()

    client = sync.Client("http://127.0.0.1:1", on_state=on_state)
    with client:
        assert reported.wait(30)
    assert refused


def test_what_cannot_be_asked_for_is_refused_by_the_call_itself() -> None:
    with sync.Client("http://127.0.0.1:1") as client:
        with pytest.raises(TypeError, match="list"):
            client.fetch("http://127.0.0.1:1/")
        with pytest.raises(ZeroDivisionError):
            client.fetch(f"{1 / 0}" for _ in range(1))
    with pytest.raises(ValueError, match="http://"):
        sync.Client("ftp://127.0.0.1/")


def test_a_client_that_is_not_open_says_so() -> None:
    client = sync.Client("http://127.0.0.1:1")
    with pytest.raises(ClientClosed, match="with"):
        client.publish("t", 1)
    with pytest.raises(ClientClosed, match="with"):
        next(client.watch("http://127.0.0.1:1/", every=1, since="oldest"))
    client.close()
    with client:
        pass
    with pytest.raises(RuntimeError, match="once"), client:
        pass
