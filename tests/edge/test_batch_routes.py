"""Batches over HTTP: the three answers, the refusals, and who keeps a batch alive."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.edge.running import call, client_of

NDJSON = "application/x-ndjson"


async def test_one_document_with_the_results_in_the_order_of_the_urls() -> None:
    async with client_of() as client:
        urls = [f"{client.origin}/bytes/{size}" for size in (5, 4, 3)]
        status, body, response = await client.batch({"urls": [*urls, "nonsense"]})
    document = orjson.loads(body)
    assert (status, response.content_type) == (200, "application/json")
    assert response.headers["Sluice-Batch"] == document["batch"]
    assert (document["total"], document["ok"], document["failed"]) == (4, 3, 1)
    assert document["by_status"] == {"200": 3}
    assert [result.get("bytes") for result in document["results"]] == [5, 4, 3, None]
    assert [result["index"] for result in document["results"]] == [0, 1, 2, 3]


async def test_ndjson_has_one_event_a_line_and_done_last() -> None:
    async with client_of() as client:
        urls = [f"{client.origin}/bytes/100?{number}" for number in range(300)]
        status, body, response = await client.batch({"urls": urls}, Accept=NDJSON)
    lines = [orjson.loads(line) for line in body.splitlines()]
    assert (status, response.content_type) == (200, NDJSON)
    assert lines[-1]["event"] == "done"
    assert sorted(line["index"] for line in lines[:-1]) == list(range(300))


async def test_sse_has_positions_and_stops_a_client_that_comes_back_after_the_end() -> None:
    async with client_of() as client:
        _, body, response = await client.batch({"urls": [f"{client.origin}/bytes/1"]}, Accept="text/event-stream")
        records = body.decode().strip().partition("\n")[2].split("\n\n")
        epoch = response.headers["Sluice-Epoch"]
        assert [record.split("\n")[0] for record in records] == [f"id: {epoch}:1", f"id: {epoch}:2"]
        path = f"/batches/{response.headers['Sluice-Batch']}/events"
        headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{epoch}:2"}
        assert (await client.ask("GET", path, headers=headers))[0] == 204
        accept = {"Accept": "text/event-stream"}
        for query in (f"since={epoch}:2", f"lastEventId={epoch}:2", "since=newest"):
            assert (await client.ask("GET", f"{path}?{query}", headers=accept))[0] == 204
        headers["Last-Event-ID"] = f"{epoch}:1"
        status, rest, _ = await client.ask("GET", path, headers=headers)
        assert status == 200
        assert rest.partition(b"\n")[2].startswith(f"id: {epoch}:2\ndata: ".encode())


async def test_respond_async_answers_at_once_and_anyone_can_read_it_later() -> None:
    async with client_of() as client:
        status, body, response = await client.batch(
            {"urls": [f"{client.origin}/slow/3000"]}, Prefer="respond-async"
        )
        assert (status, orjson.loads(body)["state"]) == (202, "running")
        at = response.headers["Location"]
        assert (await client.ask("GET", at))[1]["ok"] == 0
        _, events, _ = await client.ask("GET", f"{at}/events")
        assert [orjson.loads(line)["event"] for line in events.splitlines()] == ["result", "done"]
        state = (await client.ask("GET", at))[1]
        assert (state["state"], state["ok"], state["total"]) == ("done", 1, 1)
        _, again, _ = await client.ask("GET", f"{at}/events?since={state['epoch']}:1")
        assert again["event"] == "done"


async def test_delete_cancels_and_done_still_comes() -> None:
    async with client_of() as client:
        urls = [f"{client.origin}/slow/60000"] * 3
        _, _, response = await client.batch({"urls": urls}, Prefer="respond-async")
        at = response.headers["Location"]
        assert (await client.ask("DELETE", at))[1] == {"cancelled": 3}
        _, events, _ = await client.ask("GET", f"{at}/events")
        assert [orjson.loads(line).get("error") for line in events.splitlines()] == ["cancelled"] * 3 + [None]


async def test_a_caller_who_leaves_ends_its_batch() -> None:
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/slow/60000"]}
        for accept in (NDJSON, "application/json"):
            task = asyncio.create_task(client.batch(body, Accept=accept))
            while not client.service.batches.running:
                await asyncio.sleep(0.01)
            task.cancel()
            while client.service.batches.running:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "headers", "status", "named"),
    [
        (b"{", {}, 400, "JSON"),
        (b"\xff", {}, 400, "JSON"),
        (b"[]", {}, 422, "params"),
        (b'{"urls":[]}', {}, 422, "urls"),
        (b'{"urls":["http://x/"],"options":{"timeout":-1}}', {}, 422, "options.timeout"),
        (b'{"urls":["http://x/"]}', {"Content-Type": "text/plain"}, 415, "Content-Type"),
        (orjson.dumps({"urls": ["http://x/"] * 10_001}), {}, 413, "10001"),
        (b'{"urls":["' + b"x" * 2000 + b'"]}', {}, 413, "1024"),
    ],
)
async def test_a_wrong_request_names_what_is_wrong(body: bytes, headers: Any, status: int, named: str) -> None:
    async with client_of(**({"batch_size": 1024} if b"xxx" in body else {})) as client:
        headers = {"Content-Type": "application/json", **headers}
        got, problem, response = await client.ask("POST", "/fetch-batch", data=body, headers=headers)
        assert (got, response.content_type) == (status, "application/problem+json")
        assert named in problem["detail"]
        assert client.service.batches.running == 0


async def test_a_body_that_never_ends_is_given_up() -> None:
    async with client_of(body_time=2.0) as client:

        async def drips() -> Any:
            while True:
                yield b" "
                await asyncio.sleep(0.5)

        status, problem, _ = await client.ask(
            "POST", "/fetch-batch", data=drips(), headers={"Content-Type": "application/json"}
        )
        assert (status, problem["status"]) == (408, 408)


@pytest.mark.parametrize("path", ["/batches/none", "/batches/none/events"])
async def test_a_batch_that_is_not_there(path: str) -> None:
    async with client_of() as client:
        assert (await client.ask("GET", path))[0] == 404


async def test_what_does_not_fit_one_document_fails_as_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.edge.routes.batches.LARGEST_DOCUMENT", 3000)
    async with client_of() as client:
        _, body, _ = await client.batch({"urls": [f"{client.origin}/bytes/1000"] * 4})
    document = orjson.loads(body)
    assert document["ok"] + document["failed"] == 4
    assert {result.get("error") for result in document["results"]} == {None, "too_large"}


async def test_a_repeated_post_with_its_key_joins_the_first_batch() -> None:
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/slow/50"]}
        first, again = await asyncio.gather(*(client.batch(body, **{"Idempotency-Key": "k"}) for _ in range(2)))
        assert first[2].headers["Sluice-Batch"] == again[2].headers["Sluice-Batch"]
        assert orjson.loads(first[1]) == orjson.loads(again[1])
        later = await client.batch(body, **{"Idempotency-Key": "k", "Accept": NDJSON})
        assert [orjson.loads(line)["event"] for line in later[1].splitlines()] == ["result", "done"]
        other = await client.batch({"urls": [f"{client.origin}/bytes/1"]}, **{"Idempotency-Key": "k"})
        assert other[0] == 422
        assert b"Idempotency-Key" in other[1]
        apart = await client.batch(body, **{"Idempotency-Key": "k", "Authorization": "Bearer somebody"})
        assert apart[2].headers["Sluice-Batch"] != first[2].headers["Sluice-Batch"]
        assert (await client.batch(body, **{"Idempotency-Key": "k" * 200}))[0] == 422
        assert client.service.batches.statistics().ok == 2


async def test_a_key_ends_with_its_batch_and_an_abandoned_one_is_begun_anew() -> None:
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/slow/5000"]}
        asking = asyncio.create_task(client.batch(body, **{"Idempotency-Key": "k"}))
        while not client.service.batches.running:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while client.service.batches.running:
            await asyncio.sleep(0.01)
        quick = {"urls": [f"{client.origin}/bytes/1"]}
        status, _, response = await client.batch(quick, **{"Idempotency-Key": "k"})
        assert status == 200
        await asyncio.sleep(700)
        _, _, later = await client.batch(quick, **{"Idempotency-Key": "k"})
        assert later.headers["Sluice-Batch"] != response.headers["Sluice-Batch"]


async def test_a_document_says_where_its_results_came_from() -> None:
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/etag/a"]}
        answers = [await client.batch(body) for _ in range(2)]
        assert [answer[2].headers["Cache-Status"] for answer in answers] == [
            'sluice; fwd=miss; detail="miss=1"',
            'sluice; fwd=stale; fwd-status=304; detail="revalidated=1"',
        ]
        assert (
            orjson.loads(answers[1][1])["results"][0]["body"] == orjson.loads(answers[0][1])["results"][0]["body"]
        )


async def test_a_batch_larger_than_its_memory_ends_and_late_readers_get_a_gap() -> None:
    async with client_of(batches_size=1 << 20) as client:
        urls = [f"{client.origin}/bytes/20000?{number}" for number in range(200)]
        key = {"Idempotency-Key": "large"}
        status, body, response = await client.batch({"urls": urls}, Accept=NDJSON, **key)
        lines = [orjson.loads(line) for line in body.splitlines()]
        assert (status, lines[-1]["ok"], len(lines)) == (200, 200, 201)
        at, epoch = f"/batches/{response.headers['Sluice-Batch']}", response.headers["Sluice-Epoch"]

        _, rest, _ = await client.ask("GET", f"{at}/events")
        gap, *kept = [orjson.loads(line) for line in rest.splitlines()]
        assert gap == {"event": "gap", "from": 1, "to": 201 - len(kept)}
        assert kept == lines[gap["to"] :]

        _, joined, _ = await client.batch({"urls": urls}, Accept=NDJSON, **key)
        assert joined == rest

        headers = {"Accept": "text/event-stream"}
        _, records, _ = await client.ask("GET", f"{at}/events", headers=headers)
        first, second = records.split(b"\n\n")[:2]
        retry, _, first = first.partition(b"\n")
        assert retry.startswith(b"retry: ")
        assert first == f'id: {epoch}:{gap["to"]}\nevent: gap\ndata: {{"from":1,"to":{gap["to"]}}}'.encode()
        assert second.startswith(f"id: {epoch}:{gap['to'] + 1}\n".encode())
        headers["Last-Event-ID"] = f"{epoch}:{gap['to'] + 1}"
        _, records, _ = await client.ask("GET", f"{at}/events", headers=headers)
        assert records.partition(b"\n")[2].startswith(f"id: {epoch}:{gap['to'] + 2}\n".encode())

        async with client.socket() as socket:
            topic = f"batch:{response.headers['Sluice-Batch']}"
            answer = await call(socket, "subscribe", topic=topic, since="oldest")
            assert (answer["offset"], answer["recovered"]) == (0, False)
            reported = await socket.receive_json()
            assert (reported["method"], reported["params"]) == ("gap", {"topic": topic, "from": 1, "to": gap["to"]})
            assert (await socket.receive_json())["params"]["offset"] == gap["to"] + 1

        _, body, _ = await client.batch({"urls": urls}, **key)
        document = orjson.loads(body)
        assert (document["ok"], document["failed"]) == (len(kept) - 1, gap["to"])
        missing = [result for result in document["results"] if result["event"] == "failed"]
        assert {(result["error"], result["url"] in urls) for result in missing} == {("too_large", True)}
        assert [result["index"] for result in document["results"]] == list(range(200))


async def test_operators_see_the_batches_that_wait_for_memory() -> None:
    async with client_of(batches_size=1 << 20) as client:
        urls = [f"{client.origin}/bytes/20000?{number}" for number in range(200)]
        _, _, response = await client.batch({"urls": urls}, Prefer="respond-async")
        at = response.headers["Location"]
        while (state := (await client.ask("GET", at))[1])["state"] != "done":
            await asyncio.sleep(0.05)
        assert state["ok"] + state["failed"] == 200
        assert state["failed"] > 100
        metrics = (await client.ask("GET", "/metrics"))[1].decode()
        assert "sluice_batches_outgrown_total 1.0" in metrics
        client.service.batches.retention._short["x"] = None  # type: ignore[assignment]
        status, body, _ = await client.ask("GET", "/readyz")
        assert (status, body) == (200, {"status": "slow", "why": "limit batches_size: 1 batches wait for memory"})
