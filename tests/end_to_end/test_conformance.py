"""Autobahn|Testsuite's fast cases against the real process; ``./x bench conformance`` runs the rest."""

import asyncio
from pathlib import Path

import pytest

from bench.suites import autobahn
from bench.suites.tool import Missing
from tests.end_to_end.processes import service

HTTP = [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nhoSt:\tlocalhost\r\nempty:\r\n\r\n", 200),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", 100),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 200),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200),
    (b"GET / \r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
    (b"Extra lineGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Bad[]: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Bad: \x07\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5, 6\r\n\r\nhello", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
]


@pytest.mark.seconds(40)
@pytest.mark.timeout(900)
async def test_autobahns_fast_cases_find_no_failure(tmp_path: Path) -> None:
    try:
        # Where it has to be installed first, that takes a minute.
        await asyncio.to_thread(autobahn.command)
    except Missing as missing:
        pytest.skip(str(missing))
    async with service("--echo-route") as server:
        url = f"ws://{server.authority}/echo"
        report = await asyncio.to_thread(autobahn.judge, url, tmp_path, autobahn.FAST)
    assert len(report.cases) == 247
    assert report.those("FAILED") == []
    # Text that is not UTF-8 is refused when its message is whole, not at the first fragment that shows it.
    assert report.those("NON-STRICT") == ["6.4.1", "6.4.2", "6.4.3", "6.4.4"]


def test_a_verdict_counts_the_close_too() -> None:
    cases = {"1": ("OK", "OK"), "2": ("OK", "WRONG CODE"), "3": ("NON-STRICT", "OK"), "4": ("FAILED", "OK")}
    report = autobahn.Report(cases)
    assert report.those("FAILED") == ["2", "4"]
    assert report.counts == {"OK": 1, "FAILED": 2, "NON-STRICT": 1}


async def test_http_requests_are_taken_or_refused_as_rfc_9112_says() -> None:
    async with service("--echo-route") as server:
        for request, status in HTTP:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            line = await asyncio.wait_for(reader.readline(), 60)
            writer.close()
            assert int(line.split()[1]) == status, (request, line)
        assert (await _answer(server.port, HTTP[3][0])).endswith(b"\r\n\r\nhello")


async def test_half_a_request_is_waited_for() -> None:
    whole = HTTP[0][0]
    async with service() as server:
        for size in (1, 4, 6, 14, 15, 16, 20, 22, len(whole) - 3, len(whole) - 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(whole[:size])
            await writer.drain()
            # An answer to this one would come after one to the half, were there any.
            assert b" 200 " in await _answer(server.port, whole)
            writer.write(whole[size:])
            assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 200 ")
            writer.close()


async def _answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"Host:", b"Connection: close\r\nHost:", 1))
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer
