"""The server of the live page: who gets what, how many, and that nobody is waited for."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from loadtest.listening import CannotListen, listening
from loadtest.page import server
from loadtest.page.document import frame
from loadtest.page.server import LivePage
from loadtest.verdict import FAILED, Verdict
from tests.loadtest.test_page import report


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[LivePage, str]]:
    page = LivePage(report(), "127.0.0.1", ["delivery_p99_ms<250", "delivered>1000"])
    async with listening(page.app, "live", at("127.0.0.1", 0)) as address:
        yield page, f"{address}/"
        page.finish(report(), "")


def at(host: str, port: int) -> Namespace:
    return Namespace(live_host=host, live_port=port)


async def event(answer: aiohttp.ClientResponse) -> dict[str, object]:
    data: dict[str, object] = orjson.loads((await answer.content.readuntil(b"\n\n")).removeprefix(b"data: "))
    return data


async def test_a_viewer_has_the_state_at_once_and_then_the_events() -> None:
    async with serving() as (page, url), aiohttp.ClientSession() as session:
        async with session.get(url) as document:
            assert document.headers["Cache-Control"] == "no-store"
            assert "data-events" in await document.text()
        async with session.get(f"{url}events") as answer:
            assert answer.content_type == "text/event-stream"
            assert (await event(answer))["state"] == "running"
            reported = report(7)
            page.update(reported, "round 1 of 2")
            found = await event(answer)
            assert len(found["plots"]["at"]) == 7  # type: ignore[index]
            assert "round 1 of 2, starting" in found["sections"]["head"]  # type: ignore[index]
            # How thresholds stand is shown, and no verdict on a run that goes on.
            judged = found["sections"]["judged"]  # type: ignore[index]
            assert "<td>holds</td>" in judged
            assert "<td>does not hold yet</td>" in judged
            assert "FAILED" not in judged
            assert reported.judgements == []
            reported.verdict = Verdict(FAILED, ("lost==0: 5",))
            page.finish(reported, "the report is r.html")
            await last(answer)


async def last(answer: aiohttp.ClientResponse) -> None:
    found = await event(answer)
    assert (found["state"], found["remark"]) == ("failed", "the report is r.html")
    assert "lost==0: 5" in found["sections"]["head"]  # type: ignore[index]
    assert await answer.content.read() == b""


async def test_a_frame_is_made_once_for_all_and_for_nobody_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(*about: Any, **more: Any) -> dict[str, Any]:
        made.append(1)
        return frame(*about, **more)

    monkeypatch.setattr(server, "frame", counted)
    async with serving() as (page, url), aiohttp.ClientSession() as session:
        for _ in range(5):
            page.update(report(), "")
        assert made == []
        async with session.get(f"{url}events") as one, session.get(f"{url}events") as two:
            await asyncio.gather(event(one), event(two))
            assert len(made) == 1


async def test_there_are_at_most_twenty_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_VIEWERS", 2)
    async with serving() as (page, url), aiohttp.ClientSession() as session:
        async with session.get(f"{url}events") as one, session.get(f"{url}events") as two:
            await asyncio.gather(event(one), event(two))
            async with session.get(f"{url}events") as three:
                assert three.status == 503
                assert "close one" in await three.text()
        # Those that have left make room.
        while page._viewers:
            await asyncio.sleep(0)
        async with session.get(f"{url}events") as four:
            assert four.status == 200


async def test_a_viewer_that_does_not_read_holds_up_neither_the_others_nor_the_end() -> None:
    clock, long = asyncio.get_running_loop().time, report(100)
    async with serving() as (page, url):
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        async with aiohttp.ClientSession() as session, session.get(f"{url}events", read_bufsize=1 << 20) as other:
            for number in range(20):
                long.notes = [f"number {number}", "x" * 200_000]
                page.update(long, "")
                while f"number {number}<" not in (await event(other))["sections"]["found"]:  # type: ignore[index]
                    pass
        began = clock()
    assert clock() - began < 5
    writer.close()


async def test_a_viewer_that_takes_nothing_is_given_up() -> None:
    class Stalled:
        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await LivePage(report(), "127.0.0.1")._stream(Stalled())  # type: ignore[arg-type]


async def test_a_foreign_name_is_refused() -> None:
    async with serving() as (_, url), aiohttp.ClientSession() as session:
        for path in ("", "events"):
            for host in ("rebound.example", "127.0.0.1.example", "[x"):
                async with session.get(url + path, headers={"Host": host}) as answer:
                    assert answer.status in (400, 421)
            for host in ("localhost:1", "[::1]:1"):
                async with session.get(url + path, headers={"Host": host}) as answer:
                    assert answer.status == 200


async def test_a_port_in_use_names_the_way_out() -> None:
    async with serving() as (_, url):
        port = int(url.rstrip("/").rpartition(":")[2])
        with pytest.raises(CannotListen, match=f":{port}: Address already in use; --live-port 0"):
            async with listening(web.Application(), "live", at("127.0.0.1", port)):
                pass


async def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(CannotListen, match="cannot listen on 192.0.2.1:0: Cannot assign requested address$"):
        async with listening(web.Application(), "live", at("192.0.2.1", 0)):
            pass


async def test_the_port_is_free_again_after_the_end() -> None:
    async with serving() as (_, url):
        pass
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
