"""A request's id is in its answer, its refusal and its log; its trace goes on to the upstreams."""

import logging
import re
from typing import Any

import pytest

from service.app import Service
from tests.edge.running import Client, call, client_of
from tests.upstream.servers import Raw

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1,b=2"}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def sent(request: bytes) -> dict[str, str]:
    """Return the trace headers of a request that an upstream got."""
    lines = request.decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if line)
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("trace")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("GET", "/nowhere", 404), ("PUT", "/publish", 405), ("GET", "/topics/x", 404)],
)
async def test_every_answer_has_the_id_of_its_request(method: str, path: str, status: int) -> None:
    async with client_of() as client:
        for given in ("from-the-client:1", None, "not an id"):
            headers = {"X-Request-Id": given} if given else {}
            got, body, response = await client.ask(method, path, headers=headers)
            reported = response.headers["X-Request-Id"]
            assert got == status
            assert reported == given if given and " " not in given else re.fullmatch(r"[0-9a-f]{16}", reported)
            assert status < 400 or body["request_id"] == reported


async def test_a_stream_and_a_refused_handshake_have_it_and_a_websocket_has_none() -> None:
    async with client_of(websockets=1) as client:
        headers = {"X-Request-Id": "r1"}
        async with client.session.get(client.url("/topics/t/events"), headers=headers) as stream:
            assert stream.headers["X-Request-Id"] == "r1"
        async with client.socket(headers=headers) as socket:
            assert await call(socket, "ping") == {}
            assert "X-Request-Id" not in socket._response.headers
            _, body, _ = await client.ask("GET", "/ws", headers={**headers, "Origin": "http://elsewhere"})
            assert body["request_id"] == "r1"


async def test_an_error_inside_is_logged_with_the_id_and_the_trace(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of() as client:
        monkeypatch.setattr(client.service.batches, "find", lambda _: 1 / 0)
        headers = {"X-Request-Id": "r1", **TRACED, "Authorization": "Bearer a-secret-token"}
        status, body, _ = await client.ask("GET", "/batches/b?token=abc", headers=headers)
    assert (status, body["request_id"]) == (500, "r1")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    logged: dict[str, Any] = vars(record)
    assert logged["request_id"] == "r1"
    assert logged["trace_id"] == TRACE
    assert (logged["method"], logged["path"]) == ("GET", "/batches/b")
    assert record.exc_info is not None
    assert "a-secret-token" not in str(logged)


async def batch_of(client: Client, body: dict[str, Any], **headers: str) -> None:
    status, _, _ = await client.batch(body, **headers)
    assert status == 200


async def test_each_request_to_an_upstream_is_a_child_with_its_own_span() -> None:
    async with Raw(ANSWER).running() as upstream, client_of(allow_port=(upstream.port,)) as client:
        await batch_of(client, {"urls": [f"{upstream.url}{n}" for n in range(3)]}, **TRACED)
        got = [sent(request) for request in upstream.requests]
    parents = [re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", one["traceparent"]) for one in got]
    assert len({found[1] for found in parents if found} - {PARENT}) == 3
    assert {one["tracestate"] for one in got} == {"a=1,b=2"}


async def test_a_redirect_is_another_span_of_the_same_trace() -> None:
    async with Raw(ANSWER).running() as last:
        moved = b"HTTP/1.1 302 Found\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % last.url.encode()
        async with Raw(moved).running() as first, client_of(allow_port=(first.port, last.port)) as client:
            await batch_of(client, {"urls": [first.url]}, **TRACED)
        one, other = (sent(server.requests[0])["traceparent"] for server in (first, last))
    assert one[:36] == other[:36] == f"00-{TRACE}-"
    assert one != other


@pytest.mark.parametrize("headers", [{}, {"traceparent": f"00-{TRACE.upper()}-{PARENT}-01", "tracestate": "a=1"}])
async def test_without_a_trace_or_with_a_malformed_one_nothing_is_sent(headers: dict[str, str]) -> None:
    async with Raw(ANSWER).running() as upstream, client_of(allow_port=(upstream.port,)) as client:
        await batch_of(client, {"urls": [upstream.url]}, **headers)
        assert sent(upstream.requests[0]) == {}


async def test_what_a_batch_says_itself_wins() -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    async with Raw(ANSWER).running() as upstream, client_of(allow_port=(upstream.port,)) as client:
        options = {"headers": {"Traceparent": own}}
        await batch_of(client, {"urls": [upstream.url], "options": options}, **TRACED)
        assert sent(upstream.requests[0]) == {"traceparent": own}


async def test_a_trace_does_not_cause_a_second_request() -> None:
    async with Raw(ANSWER).running() as upstream, client_of(allow_port=(upstream.port,)) as client:
        service: Service = client.service
        await batch_of(client, {"urls": [upstream.url] * 5}, **TRACED)
        assert len(upstream.requests) == 1
        assert service.batches.statistics().ok == 5


@pytest.mark.parametrize(
    ("shown", "status", "requests"),
    [("nothing", "200 OK", 1), (TRACE, "200 OK", 2), ("<script>", "200 OK", 2), ("nothing", "431 Too Large", 2)],
)
async def test_an_answer_that_shows_a_clients_trace_is_not_kept_for_others(
    shown: str, status: str, requests: int
) -> None:
    head = f"HTTP/1.1 {status}\r\ncache-control: max-age=60\r\ncontent-length: {len(shown)}\r\n\r\n"
    async with (
        Raw(f"{head}{shown}".encode()).running() as upstream,
        client_of(allow_port=(upstream.port,)) as client,
    ):
        await batch_of(client, {"urls": [upstream.url]}, **{**TRACED, "tracestate": "a=1,b=<script>"})
        await batch_of(client, {"urls": [upstream.url]})
        assert len(upstream.requests) == requests
