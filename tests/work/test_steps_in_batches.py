"""Steps in batches by the whole service, in real time: all forms of the answer, and bodies that are hostile."""

import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.edge.running import Client, call, client_of

PAGE = b'<html lang="en"><title>A</title><p>one</p><a href="/b#c">x</a><a href="http://o.example/">y</a>'
LOG = b"1.1.1.1 GET /\n2.2.2.2 GET /\n1.1.1.1 GET /b\n"


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PICTURE = _png(4, 2, zlib.compress((b"\0" + b"\xff\x80\x00" * 4) * 2))
BODIES = {
    "/page": (PAGE, "text/html"),
    "/log": (LOG, "text/plain"),
    "/empty": (b"", "text/plain"),
    "/picture": (PICTURE, "image/png"),
    "/truncated": (PICTURE[:40], "image/png"),
    "/lying": (_png(50_000, 50_000, zlib.compress(bytes(1000))), "image/png"),
    "/not-a-picture": (PAGE, "image/png"),
    "/slow": (b"a" * 5000 + b"b", "text/plain"),
}


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Client, str]]:
    """Run a service, and an upstream with these bodies."""

    async def answer(request: web.Request) -> web.Response:
        body, kind = BODIES[request.path]
        return web.Response(body=body, content_type=kind)

    app = web.Application()
    app.router.add_get("/{name:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with client_of(allow_port=(port,), **settings) as client:
            yield client, f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def batch(client: Client, upstream: str, paths: list[str], steps: Any, **options: Any) -> Any:
    """Return the JSON document of a batch, or the problem."""
    body = {"urls": [upstream + path for path in paths], "options": {"steps": steps, **options}}
    _, answer, _ = await client.batch(body)
    return orjson.loads(answer)


async def test_the_document_has_the_result_of_each_step(tmp_path: Path) -> None:
    async with serving(blobs=str(tmp_path)) as (client, upstream):
        steps = [{"step": "digest"}, {"step": "save"}, {"step": "links"}, {"step": "select", "css": "p"}]
        document = await batch(client, upstream, ["/page"], steps)
        (result,) = document["results"]
        sha256 = hashlib.sha256(PAGE).hexdigest()
        assert result["steps"] == [
            {"step": "digest", "algorithm": "sha256", "hex": sha256, "bytes": len(PAGE)},
            {"step": "save", "blob": f"/blobs/{sha256}", "sha256": sha256, "bytes": len(PAGE), "type": "text/html"},
            {"step": "links", "links": [f"{upstream}/b", "http://o.example/"]},
            {"step": "select", "matches": ["one"]},
        ]
        assert "body" not in result
        assert (await client.ask("GET", result["steps"][1]["blob"]))[1] == PAGE


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_streams_have_steps_and_counts(accept: str) -> None:
    async with serving() as (client, upstream):
        body = {"urls": [upstream + "/log"] * 2 + [upstream + "/page"], "options": {"steps": [
            {"step": "count", "field": 1, "top": 1}, {"step": "digest"}
        ]}}  # fmt: skip
        status, answer, _ = await client.batch(body, Accept=accept)
        assert status == 200
        lines = [line.removeprefix(b"data: ") for line in answer.splitlines()]
        events = [orjson.loads(line) for line in lines if line.startswith(b"{")]
    results = [event for event in events if event["event"] == "result"]
    assert [event["steps"][0]["lines"] for event in sorted(results, key=lambda one: one["index"])] == [3, 3, 1]
    counts = events[-1]["counts"]
    assert (events[-1]["event"], counts["lines"], counts["top"]) == ("done", 7, [{"key": "1.1.1.1", "count": 4}])


async def test_the_document_has_the_counts_at_its_top() -> None:
    async with serving() as (client, upstream):
        document = await batch(client, upstream, ["/log", "/empty"], [{"step": "count", "regex": r"GET (\S+)"}])
    assert document["counts"] == {
        "lines": 3, "skipped": 0, "keys": 2, "exact": True, "error_bound": 0,
        "top": [{"key": "/", "count": 2}, {"key": "/b", "count": 1}],
    }  # fmt: skip
    assert [one["steps"] for one in document["results"]] == [
        [{"step": "count", "lines": 3, "keys": 2}], [{"step": "count", "lines": 0, "keys": 0}],
    ]  # fmt: skip


async def test_an_asynchronous_batch_and_a_websocket_have_them_too() -> None:
    async with serving() as (client, upstream):
        asked = {"urls": [upstream + "/page"], "options": {"steps": [{"step": "digest"}]}}
        status, _, response = await client.batch(asked, Prefer="respond-async")
        assert status == 202
        status, answer, _ = await client.ask("GET", response.headers["Location"] + "/events")
        lines = answer.splitlines() if isinstance(answer, bytes) else [orjson.dumps(answer)]
        first = orjson.loads(next(line for line in lines if b'"result"' in line).removeprefix(b"data: "))
        assert [one["step"] for one in first["steps"]] == ["digest"]
        async with client.socket() as socket:
            refused = await call(
                socket, "fetch", urls=[upstream + "/page"], options={"steps": [{"step": "nothing"}]}
            )
            assert (refused["code"], "options.steps[0].step" in refused["message"]) == (-32602, True)
            await call(socket, "fetch", **asked)
            message = await socket.receive_json()
            assert message["params"]["data"]["steps"] == first["steps"]
            assert (await socket.receive_json())["params"]["data"]["event"] == "done"


@pytest.mark.parametrize(
    ("steps", "says"),
    [({"step": "digest"}, "options.steps"), ([1], "options.steps"), ([{"step": "save"}], "--blobs DIR"),
     ([{"step": "digest", "algorithm": "sha1"}], "options.steps[0]"), ([{}], "options.steps[0]"),
     ([{"step": "count", "regex": "(a"}], "regex")],
)  # fmt: skip
async def test_steps_that_do_not_fit_are_422_and_name_the_parameter(steps: Any, says: str) -> None:
    async with serving() as (client, upstream):
        problem = await batch(client, upstream, ["/page"], steps)
    assert (problem["status"], problem["reason"]) == (422, "invalid_params")
    assert says in problem["detail"]


async def test_hostile_bodies_fail_alone() -> None:
    hostile = ["/truncated", "/lying", "/not-a-picture"]
    async with serving(step_processes=2) as (client, upstream):
        steps = [{"step": "digest"}, {"step": "thumbnail", "width": 2, "height": 2}]
        document = await batch(client, upstream, [*hostile, "/picture"], steps)
        *failed, fine = document["results"]
        assert [(one["error"], one["step"], len(one["steps"])) for one in failed] == [
            ("step_failed", "thumbnail", 1)
        ] * len(hostile)
        assert (fine["steps"][1]["width"], fine["steps"][1]["height"]) == (2, 1)
        assert (document["ok"], document["failed"]) == (1, len(hostile))


async def test_a_pattern_that_backtracks_ends_in_time_and_the_others_go_on() -> None:
    async with serving(step_processes=1, step_time=1.0) as (client, upstream):
        slow, quick = await asyncio.gather(
            batch(client, upstream, ["/slow", "/log"], [{"step": "count", "regex": r"^((?:a+)+)$"}]),
            batch(client, upstream, ["/log"], [{"step": "count", "field": 1}]),
        )
    assert quick["ok"] == 1
    assert slow["results"][1]["event"] == "result"
    # In linear time where google-re2 is installed, or else ended after --step-time.
    assert slow["results"][0].get("steps") == [{"step": "count", "lines": 1, "keys": 0}] or (
        slow["results"][0]["error"] == "step_failed" and "took longer than 1 s" in slow["results"][0]["detail"]
    )


async def test_workers_that_are_killed_cost_no_body() -> None:
    async with serving(step_processes=2) as (client, upstream):
        steps: Any = client.service.steps
        killing = asyncio.create_task(_kill(steps))
        document = await batch(client, upstream, ["/page"] * 60, [{"step": "select", "css": "p"}])
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)
    assert all(one["event"] == "result" or one["error"] == "step_failed" for one in document["results"])
    assert document["ok"] + document["failed"] == 60
    assert document["ok"] >= 55


async def _kill(steps: Any) -> None:
    """Kill the worker that is free now and then, five times."""
    for _ in range(5):
        while not steps._workers._free:
            await asyncio.sleep(0.01)
        steps._workers._free[-1]._process.kill()
        await asyncio.sleep(0.2)


async def test_a_cancel_ends_the_processes_that_work_for_the_batch() -> None:
    async with serving(step_processes=1, step_time=60.0) as (client, upstream):
        asked = {"urls": [upstream + "/log"] * 50, "options": {"steps": [{"step": "select", "css": "p"}]}}
        _, _, response = await client.batch(asked, Prefer="respond-async")
        path = response.headers["Location"]
        assert (await client.ask("DELETE", path))[0] == 200
        _, state, _ = await client.ask("GET", path)
        assert state["state"] in ("cancelling", "done")
        steps: Any = client.service.steps
        while steps.pool.used:
            await asyncio.sleep(0.01)
        assert steps.statistics().waiting == {"thread": 0, "process": 0}
        _, state, _ = await client.ask("GET", path)
        assert (state["state"], state["ok"] + state["failed"]) == ("done", 50)
