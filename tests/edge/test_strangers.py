"""Who has shown no token, has shown it late, or has shown nothing at all."""

import asyncio
import contextlib

import aiohttp
import pytest

from tests.edge.running import call, client_of
from tests.edge.test_websocket import closed_with


async def test_one_that_never_authenticates_is_closed_in_time_and_one_that_does_stays() -> None:
    async with (
        client_of(token="right", auth_time=5.0) as client,
        client.socket() as stranger,
        client.socket() as late,
    ):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert (await call(stranger, "subscribe", topic="t"))["code"] == -32003
        await asyncio.sleep(3)
        assert await call(late, "authenticate", token="right") == {"expires": None}
        async with client.socket() as later:
            assert await closed_with(stranger) == 4401
            assert 5 <= loop.time() - begin < 7
            assert client.service.sockets.count == 2
            assert await closed_with(later) == 4401
            assert 8 <= loop.time() - begin < 10
        # Not as long as a heartbeat and a half: nobody receives here meanwhile, so no ping is answered.
        await asyncio.sleep(20)
        assert await call(late, "ping") == {}


async def test_strangers_leave_half_of_the_connections_to_those_who_show_a_token() -> None:
    async with (
        client_of(token="right", auth_time=30.0, websockets=8) as client,
        contextlib.AsyncExitStack() as stack,
    ):
        strangers = [await stack.enter_async_context(client.socket()) for _ in range(4)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.socket()
        assert refused.value.status == 503
        assert client.service.sockets.pool.refused == 1
        for _ in range(3):
            await stack.enter_async_context(client.socket(headers={"Authorization": "Bearer right"}))
        # One that authenticates does not count as a stranger any more.
        assert await call(strangers[0], "authenticate", token="right") == {"expires": None}
        assert client.service.sockets.pool.statistics().owners == 2


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
async def test_a_wrong_token_is_answered_at_once_and_none_too_by_default(headers: dict[str, str]) -> None:
    async with client_of(token="right", auth_time=5.0 if headers else 0.0) as client:
        begin = asyncio.get_running_loop().time()
        async with client.socket(headers=headers) as socket:
            assert await closed_with(socket) == 4401
        assert asyncio.get_running_loop().time() - begin < 1


async def test_nobody_is_a_stranger_where_no_token_is_needed() -> None:
    async with client_of(auth_time=1.0) as client, client.socket() as socket:
        await asyncio.sleep(10)
        assert await call(socket, "ping") == {}


@pytest.mark.parametrize("sent", [b"", b"GET /ws HTTP/1.1\r\nHost: loc"])
async def test_a_slow_handshake_ends_at_its_deadline(sent: bytes) -> None:
    async with client_of(handshake_time=4.0) as client:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(sent)
        assert await reader.read() == b""
        assert 4 <= loop.time() - begin <= 5
        writer.close()


async def test_a_handshake_that_drips_ends_at_the_same_deadline() -> None:
    async with client_of(handshake_time=4.0) as client:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)

        async def drip() -> None:
            for letter in b"GET /ws HTTP/1.1\r\nHost: localhost\r\n":
                writer.write(bytes((letter,)))
                await asyncio.sleep(0.5)

        dripping = asyncio.create_task(drip())
        with contextlib.suppress(ConnectionResetError):  # where a byte was on its way
            await reader.read()
        assert 4 <= loop.time() - begin <= 5
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()
        async with aiohttp.ClientSession() as session, session.get(client.url("/healthz")) as response:
            assert response.status == 200
