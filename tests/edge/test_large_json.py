"""Large documents are parsed beside the loop, and clients take turns."""

import asyncio
import threading
from typing import Any

import orjson
import pytest

from service.core import parsing
from service.core.errors import ParseError
from service.core.owner import Owner
from service.edge.http import large_json
from service.edge.http.large_json import LARGE, LargeJson
from tests.edge.running import client_of
from tests.threads import start_no_threads

DOCUMENT = orjson.dumps(
    {"urls": [f"ftp://x.example/{number}" for number in range(9000)], "options": {"body": "none"}}
)


async def test_a_large_document_is_parsed_in_a_thread_and_a_small_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def parse(text: bytes) -> Any:
        threads.append(threading.current_thread())
        return real(text)

    real = parsing.parse
    monkeypatch.setattr(large_json, "parse", parse)
    padded = DOCUMENT + b" " * LARGE
    async with client_of() as client:
        headers = {"Content-Type": "application/json"}
        assert (await client.ask("POST", "/fetch-batch", data=padded, headers=headers))[0] == 200
        assert len(threads) == 1
        assert threads[0] is not threading.main_thread()
        assert (await client.ask("POST", "/topics/t", json=1))[0] == 200
        assert len(threads) == 1
        status, problem, _ = await client.ask("POST", "/fetch-batch", data=b"[" + b"1," * LARGE, headers=headers)
        assert (status, problem["reason"]) == (400, "parse_error")


async def test_clients_take_turns_and_one_document_is_parsed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[bytes] = []
    running = 0

    def parse(text: bytes) -> Any:
        nonlocal running
        running += 1
        assert running == 1
        order.append(text)
        running -= 1

    monkeypatch.setattr(large_json, "parse", parse)
    large = LargeJson()
    asked = [large.parse(b"greedy %d" % number, Owner("greedy")) for number in range(5)]
    asked += [large.parse(b"careful %d" % number, Owner("careful")) for number in range(2)]
    await asyncio.gather(*asked)
    assert order[:5] == [b"greedy 0", b"greedy 1", b"careful 0", b"greedy 2", b"careful 1"]


async def test_where_no_thread_can_be_started_it_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    padded = DOCUMENT + b" " * LARGE
    async with client_of() as client:
        headers = {"Content-Type": "application/json"}
        with monkeypatch.context() as patch:
            start_no_threads(patch)
            status, problem, response = await client.ask("POST", "/fetch-batch", data=padded, headers=headers)
        assert (status, problem["reason"], response.headers["Retry-After"]) == (503, "overloaded", "5")
        assert problem["detail"].startswith("a thread cannot be started")
        assert (await client.ask("POST", "/fetch-batch", data=padded, headers=headers))[0] == 200


async def test_what_is_wrong_with_it_is_said_and_the_next_goes_on() -> None:
    large = LargeJson()
    with pytest.raises(ParseError):
        await large.parse(b"[1,", Owner("a"))
    assert await large.parse(b"[1]", Owner("a")) == [1]
