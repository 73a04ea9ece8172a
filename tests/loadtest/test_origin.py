"""The simulated upstream answers as its table says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from loadtest.origin import serve_origin


@asynccontextmanager
async def origin() -> AsyncIterator[aiohttp.ClientSession]:
    server = await serve_origin("127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    server.close()


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [
        ("/bytes/0", 200, 0),
        ("/bytes/1024", 200, 1024),
        ("/bytes/200000", 200, 200_000),
        ("/bytes/99999999", 400, None),
        ("/bytes/x", 404, None),
        ("/slow/50", 200, 4),
        ("/status/418", 418, None),
        ("/redirect/3", 200, 100),
        ("/nowhere", 404, None),
    ],
)
async def test_answers(path: str, status: int, size: int | None) -> None:
    async with origin() as session, session.get(path) as response:
        body = await response.read()
        assert response.status == status
        assert size is None or len(body) == size


async def test_a_reset() -> None:
    async with origin() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get("/fail")


async def test_an_etag_is_answered_with_304() -> None:
    async with origin() as session:
        async with session.get("/etag/a") as first:
            tag = first.headers["ETag"]
        async with session.get("/etag/a", headers={"If-None-Match": tag}) as second:
            assert second.status == 304
        async with session.get("/ledger") as ledger:
            counted = await ledger.json()
    assert (counted["kinds"], counted["conditional"]) == ({"etag": 2}, 1)


async def test_head_has_no_body_and_the_connection_goes_on() -> None:
    async with origin() as session:
        for _ in range(3):
            async with session.head("/bytes/1000") as response:
                assert response.headers["Content-Length"] == "1000"
        async with session.get("/bytes/10") as response:
            assert len(await response.read()) == 10
