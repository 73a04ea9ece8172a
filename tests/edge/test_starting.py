"""Answers during the start of the service."""

import asyncio
import socket

import aiohttp
import pytest

from service.app import starting
from service.app.starting import answering
from service.config.settings import Settings
from service.edge.http.listening import listen
from service.runtime.clock import clock_of


async def test_during_a_long_start_health_checks_are_answered_and_all_else_is_refused() -> None:
    listeners, clock = listen("127.0.0.1", 0), clock_of(asyncio.get_running_loop())
    url = "http://{}:{}".format(*listeners[0].getsockname())
    answers = []
    async with aiohttp.ClientSession() as session, answering(Settings(), listeners, clock):
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/healthz")
        await asyncio.sleep(starting._SOON + 0.1)
        for method, path in (("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/jobs"), ("GET", "/ws")):
            async with session.request(method, url + path) as answer:
                document = await answer.json(content_type=None)
                what = document.get("status"), document.get("reason"), "Retry-After" in answer.headers
                answers.append((answer.status, *what))
    assert answers == [
        (200, "alive", None, False),
        (503, "starting", None, True),
        (503, 503, "storage", True),
        (503, 503, "storage", True),
    ]
    for listener in listeners:  # the service itself accepts on them from now on
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        listener.close()


async def test_during_a_short_start_clients_wait() -> None:
    listeners = listen("127.0.0.1", 0)
    async with answering(Settings(), listeners, clock_of(asyncio.get_running_loop())):
        await asyncio.sleep(starting._SOON - 0.1)
    for listener in listeners:
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        listener.close()
