"""Jobs over HTTP and WebSocket, in the whole service."""

import asyncio
from typing import Any

import orjson

from tests.edge.running import Client, call, client_of

MESSAGE = {"topic": "t", "data": {"n": 1}}


async def ended(client: Client, job: str) -> Any:
    """Return a job when its run is over."""
    async with asyncio.timeout(100):
        while (view := (await client.ask("GET", f"/jobs/{job}"))[1])["state"] not in (
            "done",
            "failed",
            "cancelled",
        ):
            await asyncio.sleep(0.05)
    return view


async def make(client: Client, **request: Any) -> Any:
    status, made, response = await client.ask("POST", "/jobs", json=request)
    assert status == 202, made
    assert response.headers["Location"] == f"/jobs/{made['job']}"
    return made


async def test_a_message_is_published_when_it_is_due() -> None:
    async with client_of() as client:
        made = await make(client, publish=MESSAGE, delay=60)
        assert (made["state"], made["topic"]) == ("scheduled", f"job:{made['job']}")
        assert (await client.ask("GET", "/topics/t"))[0] == 404
        await client.ask("PATCH", f"/jobs/{made['job']}", json={"delay": 0})
        view = await ended(client, made["job"])
        assert (view["state"], view["kind"], view["attempts"], view["result"]["offset"]) == (
            "done",
            "publish",
            1,
            1,
        )
        assert (await client.ask("GET", "/topics/t"))[1]["offset"] == 1


async def test_without_a_data_directory_it_says_that_jobs_do_not_outlive_it() -> None:
    async with client_of() as client:
        _, _, response = await client.ask("POST", "/jobs", json={"publish": MESSAGE})
        assert response.headers["Sluice-Durable"] == "?0"


async def test_a_call_goes_through_the_fetch_engine_and_its_status_decides() -> None:
    async with client_of() as client:
        right = await make(client, call={"url": f"{client.origin}/bytes/5", "method": "GET"})
        wrong = await make(client, call={"url": f"{client.origin}/status/404", "method": "GET"})
        moved = await make(client, call={"url": f"{client.origin}/redirect/1", "method": "GET"})
        again = await make(client, call={"url": f"{client.origin}/status/503", "method": "GET"}, retries=2)
        view = await ended(client, right["job"])
        assert (view["state"], view["result"]["status"], len(view["result"]["body"])) == ("done", 200, 5)
        view = await ended(client, wrong["job"])
        assert (view["state"], view["error"], view["attempts"]) == ("failed", "http_status", 1)
        view = await ended(client, moved["job"])
        assert (view["state"], view["error"], view["attempts"]) == ("failed", "http_status", 1)
        assert (await ended(client, again["job"]))["attempts"] == 3


async def test_calls_reach_no_address_that_the_guard_refuses() -> None:
    async with client_of(allow_net=()) as client:
        for url in ("http://127.0.0.1/", "http://169.254.169.254/", "http://[::1]/", "http://localhost:1/"):
            status, problem, _ = await client.ask("POST", "/jobs", json={"call": {"url": url}})
            assert (status, problem["reason"]) in ((403, "forbidden"), (422, "invalid_params"))


async def test_a_batch_runs_as_a_job() -> None:
    async with client_of() as client:
        made = await make(client, fetch={"urls": [f"{client.origin}/bytes/5", "nonsense"]})
        view = await ended(client, made["job"])
        assert (view["result"]["ok"], view["result"]["failed"]) == (1, 1)
        _, batch, _ = await client.ask("GET", f"/batches/{view['result']['batch']}")
        assert batch["state"] == "done"


async def test_a_batch_that_could_never_begin_is_refused_as_it_is_made() -> None:
    async with client_of() as client:
        for wrong in ({"urls": ["http://a.example/"], "options": {"steps": [{"step": "nope"}]}},
                      {"urls": ["http://a.example/"] * 10_001}):  # fmt: skip
            status, problem, _ = await client.ask("POST", "/jobs", json={"fetch": wrong, "delay": 60})
            assert status in (413, 422), problem


async def test_what_is_cancelled_ends_its_work() -> None:
    async with client_of() as client:
        slow = f"{client.origin}/slow/5000"
        jobs = [
            await make(client, call={"url": slow, "method": "GET"}),
            await make(client, fetch={"urls": [slow]}),
        ]
        await asyncio.sleep(0.5)
        for made in jobs:
            status, answer, _ = await client.ask("DELETE", f"/jobs/{made['job']}")
            assert (status, answer) == (200, {"cancelled": True, "state": "running"})
            assert (await ended(client, made["job"]))["state"] == "cancelled"
            answer = (await client.ask("DELETE", f"/jobs/{made['job']}"))[1]
            assert answer == {"cancelled": False, "state": "cancelled"}
        assert client.service.batches.running == 0


async def test_a_job_moves_and_its_events_say_so() -> None:
    async with client_of() as client:
        made = await make(client, publish=MESSAGE, delay=1000)
        status, view, _ = await client.ask(
            "PATCH", f"/jobs/{made['job']}", json={"at": "2001-02-03T04:05:06.789+01:00"}
        )
        assert (status, view["due"]) == (200, "2001-02-03T03:05:06.789Z")
        await ended(client, made["job"])
        _, body, response = await client.ask("GET", f"/jobs/{made['job']}/events")
        names = [orjson.loads(line)["event"] for line in body.splitlines()]
        assert names == ["queued", "rescheduled", "started", "done"]
        sse = {"Accept": "text/event-stream", "Last-Event-ID": f"{response.headers['Sluice-Epoch']}:4"}
        assert (await client.ask("GET", f"/jobs/{made['job']}/events", headers=sse))[0] == 204


async def test_a_key_makes_one_job() -> None:
    async with client_of() as client:
        made = await make(client, publish=MESSAGE, key="k", delay=9)
        status, again, _ = await client.ask("POST", "/jobs", json={"delay": 9, "key": "k", "publish": MESSAGE})
        assert (status, again["job"]) == (200, made["job"])
        assert (await client.ask("POST", "/jobs", json={"publish": MESSAGE, "key": "k"}))[0] == 422


async def test_the_header_is_a_key_too() -> None:
    async with client_of() as client:
        headers = {"Idempotency-Key": "k"}
        answers = [
            await client.ask("POST", "/jobs", json={"publish": MESSAGE, "delay": 9}, headers=headers)
            for _ in range(2)
        ]
        assert [status for status, _, _ in answers] == [202, 200]
        status, problem, _ = await client.ask(
            "POST", "/jobs", json={"publish": MESSAGE, "key": "x"}, headers=headers
        )
        assert (status, problem["detail"]) == (422, "key: differs from Idempotency-Key")


async def test_lists_go_on_where_they_stopped() -> None:
    async with client_of() as client:
        made = [(await make(client, publish=MESSAGE, delay=99))["job"] for _ in range(5)]
        found: list[str] = []
        path = "/jobs?state=scheduled&limit=2"
        after = ""
        while after is not None:
            _, page, _ = await client.ask("GET", f"{path}&after={after}" if after else path)
            found += [job["job"] for job in page["jobs"]]
            after = page["next"]
        assert found == made[::-1]
        for query in ("limit=0", "limit=501", "limit=x", "state=lost", "after=zz", "limits=1"):
            assert (await client.ask("GET", f"/jobs?{query}"))[0] == 422


async def test_over_a_websocket_a_job_is_made_followed_and_cancelled() -> None:
    async with client_of() as client, client.socket() as socket:
        made = await call(socket, "job", publish=MESSAGE, delay=50)
        await call(socket, "subscribe", topic=made["topic"], since="oldest")
        first = await socket.receive_json()
        assert (first["params"]["offset"], first["params"]["data"]["event"]) == (1, "queued")
        assert await call(socket, "cancel", job=made["job"]) == {"cancelled": True, "state": "cancelled"}
        assert (await socket.receive_json())["params"]["data"] == {"event": "cancelled"}
        assert (await call(socket, "cancel", job="1-" + 32 * "0"))["code"] == -32001
        assert (await call(socket, "cancel", job="a", batch="b"))["code"] == -32602
        assert (await call(socket, "subscribe", topic="job:1-" + 32 * "0"))["code"] == -32001
        assert (await call(socket, "publish", topic=made["topic"], data=1))["code"] == -32002


async def test_two_runs_are_read_on_one_topic() -> None:
    async with client_of() as client, client.socket() as socket:
        made = await call(socket, "job", call={"url": f"{client.origin}/status/404", "method": "GET"})
        await call(socket, "subscribe", topic=made["topic"], since="oldest")
        names = [(await socket.receive_json())["params"]["data"]["event"] for _ in range(3)]
        assert names == ["queued", "started", "failed"]
        await client.ask("PATCH", f"/jobs/{made['job']}", json={"delay": 0})
        view = await ended(client, made["job"])
        assert (view["run"], view["attempts"]) == (2, 1)
        _, body, _ = await client.ask("GET", f"/jobs/{made['job']}/events")
        assert len(body.splitlines()) == 6
