"""Request bodies in their content codings: a body that cannot be decoded is refused, without an internal error."""

import asyncio
import gzip
import zlib
from collections import Counter
from random import Random
from typing import Any

import brotli
import pytest
from aiohttp import ClientSession
from aiohttp.web_protocol import RequestHandler

from service.edge.http.aiohttp_internals import is_paused
from service.upstream.http1.codings import Decoding
from tests.edge.running import client_of
from tests.virtual import VirtualClockLoop

TEXT = b'{"a": "' + b"x" * 500 + b'"}'
GZIP = gzip.compress(TEXT, mtime=0)


async def answered(coding: str | list[str], body: bytes) -> tuple[int, Any, Any]:
    """POST a body as it stands; return status, JSON and headers."""
    lines = coding if isinstance(coding, list) else [coding]
    headers = [("Content-Type", "application/json"), *(("Content-Encoding", line) for line in lines)]
    async with client_of() as client, ClientSession() as session:
        request = session.post(
            client.url("/topics/t"), data=body, headers=headers, compress=None, skip_auto_headers=[]
        )
        async with request as response:
            return response.status, await response.json(content_type=None), response.headers


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIP), ("GZIP", GZIP), ("x-gzip", GZIP), ("gzip", GZIP + b"\0\0"), ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]), ("br", brotli.compress(TEXT)), ("gzip, gzip", gzip.compress(GZIP, mtime=0)),
        (["gzip", "gzip"], gzip.compress(GZIP, mtime=0)), ("identity", TEXT), ("", TEXT), ("gzip, identity", GZIP),
    ],
)  # fmt: skip
async def test_known_codings_are_taken_off(coding: str | list[str], body: bytes) -> None:
    status, answer, _ = await answered(coding, body)
    assert (status, answer["offset"]) == (200, 1)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
@pytest.mark.parametrize("body", [TEXT, GZIP[:-5], GZIP[:20], b"\x1f", GZIP + b"more"], ids=range(5))
async def test_a_body_that_is_not_what_it_says_is_a_bad_request(coding: str, body: bytes) -> None:
    status, problem, _ = await answered(coding, body)
    assert (status, problem["reason"]) == (400, "bad_request")
    assert "coding" in problem["detail"]


@pytest.mark.parametrize("coding", ["foo", "gzip, foo", "compress", ", ".join(["gzip"] * 6)])
async def test_an_unknown_coding_is_an_unsupported_media_type(coding: str) -> None:
    status, _, headers = await answered(coding, TEXT)
    assert status == 415
    if "foo" in coding:
        assert "gzip" in headers["Accept-Encoding"]


async def test_a_bomb_is_refused_when_it_outgrows_the_limit() -> None:
    status, problem, _ = await answered("gzip", gzip.compress(b" " * (64 << 20)))
    assert (status, problem["reason"]) == (413, "too_large")


@pytest.mark.parametrize("size", [2 << 20, 100 << 20], ids=["taken", "refused before it has come"])
async def test_bodies_that_come_together_are_read_on_a_few_in_each_turn(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that nobody wants any more: they are read for a while, so that their sender sees the answer."""
    loop, read_on, real = asyncio.get_running_loop(), Counter[int](), RequestHandler.resume_reading
    assert isinstance(loop, VirtualClockLoop)

    def resume_reading(connection: RequestHandler, *how: Any, **more: Any) -> None:
        paused = is_paused(connection)
        real(connection, *how, **more)
        if paused and not is_paused(connection):
            read_on[loop.turns] += 1

    monkeypatch.setattr(RequestHandler, "resume_reading", resume_reading)
    head = f"POST /fetch-batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"

    async def upload() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(head.encode() + b" " * (2 << 20))
        answer = await reader.read()
        writer.transport.abort()
        return answer[9:12]

    async with client_of() as client:
        statuses = await asyncio.gather(*(upload() for _ in range(40)))
    assert set(statuses) == {b"413" if size > 16 << 20 else b"400"}
    assert read_on.total() > 40
    assert max(read_on.values()) < 16  # eight in a turn of its own, which may begin amid one of the loop's


async def test_bodies_with_codings_are_decoded_in_small_pieces_and_a_few_steps_in_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, steps, given = asyncio.get_running_loop(), Counter[int](), list[int]()
    assert isinstance(loop, VirtualClockLoop)

    def step(decoding: Decoding) -> bytes:
        steps[loop.turns] += 1
        return real_step(decoding)

    def feed(decoding: Decoding, data: bytes) -> None:
        given.append(len(data))
        real_feed(decoding, data)

    real_step, real_feed = Decoding.step, Decoding.feed
    monkeypatch.setattr(Decoding, "step", step)
    monkeypatch.setattr(Decoding, "feed", feed)
    # Hardly compressed: what is coded is as large as what it says.
    text = b'{"a": "' + Random(1).randbytes(500_000).hex().encode() + b'"}'
    body = gzip.compress(text, 0, mtime=0)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with client_of() as client:
        asked = [client.ask("POST", "/fetch-batch", data=body, headers=headers) for _ in range(10)]
        answers = await asyncio.gather(*asked)
    assert {status for status, _, _ in answers} == {422}
    assert max(steps.values()) < 16
    assert steps.total() > 10 * len(text) // (64 << 10)
    assert max(given) <= 256 << 10
