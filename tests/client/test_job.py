"""Jobs of the Python client, against the whole service on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.client import (
    Client,
    ClientClosed,
    Gap,
    Job,
    JobCancelled,
    JobDone,
    JobError,
    JobEvent,
    JobFailed,
    JobProgress,
    JobQueued,
    JobRescheduled,
    JobRetry,
    JobStarted,
    Message,
    OtherEvent,
    Refused,
)
from service.client.job_events import read_job_event
from tests.client.scripted import scripted
from tests.edge import running

MESSAGE = {"topic": "t", "data": 1}


@asynccontextmanager
async def made(**settings: Any) -> AsyncIterator[tuple[Client, running.Client]]:
    async with running.client_of(**settings) as service, Client(service.url("")) as client:
        yield client, service


def names(events: list[JobEvent]) -> list[str]:
    return [event.event for event in events if not isinstance(event, Gap) and hasattr(event, "event")]


async def all_of(job: Job) -> list[JobEvent]:
    async with asyncio.timeout(1000):
        return [event async for event in job]


async def test_a_job_is_followed_to_its_result() -> None:
    async with made() as (client, _):
        job = await client.job(publish=MESSAGE, delay=60, retries=None)
        assert (job.state, job.topic) == ("scheduled", f"job:{job.id}")
        due = job.due
        assert names(await all_of(job)) == ["queued", "started", "done"]
        assert (job.state, job.due) == ("done", due)
        assert (await job.result())["offset"] == 1
        other = client.follow_job(job.id)
        assert (other.state, other.due) == (None, None)
        assert names(await all_of(other)) == ["queued", "started", "done"]
        assert (other.state, await other.cancel()) == ("done", False)


async def test_what_a_job_has_no_result_for_is_raised() -> None:
    async with made() as (client, service):
        failing = await client.job(call={"url": f"{service.origin}/status/404", "method": "GET"})
        with pytest.raises(JobError, match="http_status") as raised:
            await failing.result()
        assert (raised.value.state, raised.value.error, raised.value.attempts) == ("failed", "http_status", 1)
        waiting = await client.job(publish=MESSAGE, delay=1000)
        result = asyncio.create_task(waiting.result())
        await asyncio.sleep(1)
        assert [await waiting.cancel(), await waiting.cancel(), waiting.state] == [True, True, "cancelled"]
        with pytest.raises(JobError, match="cancelled"):
            await asyncio.wait_for(result, 10)


async def test_a_loop_ends_with_its_run_and_the_next_one_has_all_of_them() -> None:
    async with made() as (client, service):
        job = await client.job(publish=MESSAGE, delay=1000)
        first = asyncio.create_task(all_of(job))
        await asyncio.sleep(1)
        await job.cancel()
        assert names(await first) == ["queued", "cancelled"]
        await service.ask("PATCH", f"/jobs/{job.id}", json={"delay": 1000})
        again = asyncio.create_task(all_of(job))
        await asyncio.sleep(1)
        assert not again.done(), "the end of the first run is not that of the second"
        await service.ask("PATCH", f"/jobs/{job.id}", json={"delay": 0})
        assert names(await again) == ["queued", "cancelled", "queued", "rescheduled", "started", "done"]


async def test_a_subscription_that_begins_behind_the_end_ends() -> None:
    async with made() as (client, _):
        job = await client.job(publish=MESSAGE)
        await job.result()
        assert [value async for value in client.subscribe(job.topic)] == []
        batch = [event async for event in client.fetch(["nonsense"])]
        assert len(batch) == 2
        # Another job of the same connection is followed all the same.
        assert names(await all_of(await client.job(publish=MESSAGE))) == ["queued", "started", "done"]


async def test_a_job_that_is_forgotten_or_never_was_is_not_waited_for() -> None:
    async with made() as (client, _):
        job = await client.job(publish=MESSAGE, keep=1)
        await job.result()
        await asyncio.sleep(60)
        for gone in (job, client.follow_job("1-" + "0" * 32), client.follow_job("nonsense")):
            for call in (all_of(gone), gone.result(), gone.cancel()):
                with pytest.raises(Refused, match="not_found"):
                    await call


async def test_the_key_is_made_up_once_for_each_job() -> None:
    async with made() as (client, service):
        one, two = await client.job(publish=MESSAGE, delay=9), await client.job(publish=MESSAGE, delay=9)
        assert one.id != two.id
        keyed = [await client.job(publish=MESSAGE, delay=9, key="k") for _ in range(2)]
        assert keyed[0].id == keyed[1].id
        with pytest.raises(Refused, match="key"):
            await client.job(publish=MESSAGE, key="k")
        assert len((await service.ask("GET", "/jobs"))[1]["jobs"]) == 3


async def test_closing_the_client_ends_what_waits_for_a_job() -> None:
    async with made() as (client, _):
        job = await client.job(publish=MESSAGE, delay=1000)
        waiting = [asyncio.create_task(job.result()), asyncio.create_task(all_of(job))]
        await asyncio.sleep(1)
        await client.close()
        for task in waiting:
            with pytest.raises(ClientClosed):
                await task
        with pytest.raises(ClientClosed):
            await client.job(publish=MESSAGE)


async def test_a_key_is_not_trusted_for_longer_than_the_job_is_kept() -> None:
    async with scripted() as service, Client(service.url) as client:
        asking = asyncio.create_task(client.job(publish=MESSAGE, keep=1))
        peer = await service.waiting.get()
        peer.accept()
        assert (await peer.receive())["params"]["keep"] == 1
        peer.cut()
        with pytest.raises(Exception, match="may have been done or not"):
            await asyncio.wait_for(asking, 100)


EVENTS = [
    ({"event": "queued", "due": "T"}, JobQueued(raw={}, event="queued", due="T", run=1)),
    ({"event": "started", "attempt": 1, "worker": "w"}, JobStarted(raw={}, event="started", attempt=1, worker="w")),
    ({"event": "progress", "data": [1]}, JobProgress(raw={}, event="progress", data=[1])),
    (
        {"event": "retry", "attempt": 1, "error": "timeout", "detail": "", "at": "T"},
        JobRetry(raw={}, event="retry", attempt=1, error="timeout", detail="", at="T"),
    ),
    ({"event": "rescheduled", "due": "T"}, JobRescheduled(raw={}, event="rescheduled", due="T")),
    ({"event": "done", "result": None, "later": 1}, JobDone(raw={}, event="done", result=None)),
    (
        {"event": "failed", "error": "lost", "detail": "", "attempts": 3},
        JobFailed(raw={}, event="failed", error="lost", detail="", attempts=3),
    ),
    ({"event": "cancelled"}, JobCancelled(raw={}, event="cancelled")),
    ({"event": "failed"}, OtherEvent(event="failed", raw={"event": "failed"})),
    ({"event": "paused"}, OtherEvent(event="paused", raw={"event": "paused"})),
]


@pytest.mark.parametrize(("data", "event"), EVENTS)
def test_events_are_read(data: Any, event: Any) -> None:
    assert read_job_event(Message("job:1-a", "e", 1, data)) == event
    assert read_job_event(Gap(1, 2)) == Gap(1, 2)
