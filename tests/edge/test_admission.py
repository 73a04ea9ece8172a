"""Limits by address over real sockets: which client counts, what is answered, and that nothing is left behind."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.edge.running import Client, call, client_of

BEHIND_A_PROXY = {"trust_proxy": ("127.0.0.0/8",)}
ONE = {"X-Forwarded-For": "203.0.113.7"}
OTHER = {"X-Forwarded-For": "203.0.113.8"}


async def refused(client: Client, **more: Any) -> aiohttp.WSServerHandshakeError:
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await client.socket(**more)
    return error.value


async def test_connections_of_one_address_are_bounded_sockets_and_requests_together() -> None:
    async with client_of(address_connections=2, **BEHIND_A_PROXY) as client:
        async with client.socket(headers=ONE), client.session.get(client.url("/topics/t/events"), headers=ONE):
            error = await refused(client, headers=ONE)
            assert error.status == 429
            assert error.headers is not None
            assert int(error.headers["Retry-After"]) >= 1
            status, problem, response = await client.ask("GET", "/topics/t", headers=ONE)
            assert (status, problem["reason"]) == (429, "limit")
            assert "connections of an address: 2" in problem["detail"]
            assert int(response.headers["Retry-After"]) >= 1
            async with client.socket(headers=OTHER) as socket:
                assert await call(socket, "ping") == {}
        while client.service.sockets.count or client.service.access.slots.used:
            await asyncio.sleep(0.01)
        async with client.socket(headers=ONE):
            pass
        assert client.service.refusals == {("handshake", "limit"): 1, ("http", "limit"): 1}
    assert "0 connected" in repr(client.service.admission)


async def test_handshakes_of_one_address_have_a_rate() -> None:
    async with client_of(address_handshakes=0.1, **BEHIND_A_PROXY) as client:
        for _ in range(2):
            async with client.socket(headers=ONE):
                pass
        error = await refused(client, headers=ONE)
        assert error.status == 429
        assert error.headers is not None
        wait = int(error.headers["Retry-After"])
        assert 1 < wait <= 10
        async with client.socket(headers=OTHER):
            pass
        await asyncio.sleep(wait)
        async with client.socket(headers=ONE):
            pass


async def test_wrong_tokens_have_a_rate_and_the_right_one_is_let_in_all_the_same() -> None:
    async with client_of(address_handshakes=0.1, token="right", **BEHIND_A_PROXY) as client:
        wrong = {**ONE, "Authorization": "Bearer wrong"}
        answers = [(await client.ask("GET", "/topics/t", headers=wrong))[0] for _ in range(4)]
        assert answers == [401, 401, 429, 429]
        right = {**ONE, "Authorization": "Bearer right"}
        assert (await client.ask("GET", "/topics/t", headers=right))[0] == 404


async def test_requests_of_one_address_have_a_rate_and_health_has_none() -> None:
    async with client_of(address_requests=1.0, **BEHIND_A_PROXY) as client:
        answers = [(await client.ask("GET", "/topics/t", headers=ONE))[0] for _ in range(7)]
        assert answers == [404] * 5 + [429] * 2
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.ask("GET", path, headers=ONE))[0] == 200


async def test_loopback_and_a_stranger_that_names_addresses_are_what_they_are() -> None:
    async with (
        client_of(address_connections=1) as client,
        client.socket(),
        client.socket(headers=ONE),
        client.socket(headers=OTHER) as socket,
    ):
        assert await call(socket, "ping") == {}
    async with client_of(address_connections=1, exempt_net=()) as client, client.socket(headers=ONE):
        assert (await refused(client, headers=OTHER)).status == 429


async def test_a_forged_header_beside_that_of_the_proxy_wins_nothing() -> None:
    async with client_of(address_connections=1, **BEHIND_A_PROXY) as client:
        forged = [{**ONE, "Forwarded": f"for=198.51.100.{number}"} for number in range(2)]
        async with client.socket(headers=forged[0]):
            assert (await refused(client, headers=forged[1])).status == 429
            async with client.socket(headers={**ONE, "Forwarded": 'for="203.0.113.7:80";proto=http'}):
                assert (await refused(client, headers=ONE)).status == 429
            # The proxy itself has no limits: that is where a health check comes from.
            async with client.socket(), client.socket():
                pass


async def test_an_address_that_floods_waits_for_its_next_connection() -> None:
    async with client_of(address_handshakes=0.1, client_rate=1.0, **BEHIND_A_PROXY) as client:
        async with client.socket(headers=ONE, autoping=False) as socket:
            for _ in range(600):
                await socket.ping()
            while not socket.closed:
                await socket.receive()
            assert socket.close_code == 4429
        assert (await refused(client, headers=ONE)).status == 429
        async with client.socket(headers=OTHER), client.socket():
            pass


async def test_keys_of_publishers_without_a_token_are_those_of_their_address_behind_the_proxy() -> None:
    async with client_of(**BEHIND_A_PROXY) as client:
        offsets = []
        for headers in (ONE, OTHER, ONE, {}):
            async with client.socket(headers=headers) as socket:
                offsets.append((await call(socket, "publish", topic="t", data=1, key="order-17"))["offset"])
            more = {"json": 1, "headers": {"Idempotency-Key": "order-17", **headers}}
            offsets.append((await client.ask("POST", "/topics/t", **more))[1]["offset"])
        assert offsets == [1, 1, 2, 2, 1, 1, 3, 3]


@pytest.mark.parametrize(
    ("peer", "named", "owner"),
    [
        ("127.0.0.1", b"X-Forwarded-For: 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", b"x-forwarded-for:198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", b"X-Forwarded-For: 127.0.0.1", None),
        ("127.0.0.1", b"X-Forwarded-For: unknown", None),
        ("127.0.0.1", b"X-Forwarded-For: \xff", None),
        ("127.0.0.1", b"X-Forwarded-For: " + b"203.0.113.7, " * 100, None),
        ("127.0.0.1", b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.8", None),
        ("127.0.0.1", b"X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.8", None),
        ("127.0.0.1", b"Forwarded: for=203.0.113.7", None),
        ("127.0.0.1", b"X-Not-Forwarded-For: 203.0.113.7", None),
        ("127.0.0.1", b"Accept: */*", None),
        ("192.0.2.1", b"X-Forwarded-For: 203.0.113.7", None),
    ],
)
async def test_whose_turn_a_request_takes_before_its_head_is_read(
    peer: str, named: bytes, owner: str | None
) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + named + b"\r\n\r\n"
    async with client_of(**BEHIND_A_PROXY) as client:
        assert client.service.admission.caller_in((peer, 80), head) == owner
        assert client.service.admission.caller_in("a socket of this machine", head) is None
    async with client_of() as client:
        assert client.service.admission.caller_in((peer, 80), head) is None
