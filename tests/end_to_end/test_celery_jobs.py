"""Functions on real Celery workers, over real Redis and RabbitMQ: carried out, cancelled, killed, and cut off."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.end_to_end.brokers import BROKERS, Broker, broker
from tests.end_to_end.processes import ROOT, Process, free_port, start

pytest.importorskip("celery", reason="Celery is not installed: pip install 'sluice[celery]'")
pytestmark = pytest.mark.timeout(180)

MODULE = """
import os, time
from pathlib import Path

from service.jobs import Context, job


@job
def add(a: int, b: int, context: Context) -> int:
    context.progress(1, 2, "added")
    print("adding")
    return a + b


@job
def count(until: str, context: Context) -> int:
    number = 0
    while not Path(until).exists() and not context.cancelled:
        number += 1
        context.progress(number)
        time.sleep(0.05)
    return number
"""
IMPATIENT = """
from service.jobs.worker import app

app.conf.broker_transport_options |= {
    "visibility_timeout": 1, "unacked_restore_interval": 1, "unacked_restore_throttle": 1
}
"""
"""A worker whose Redis delivers again, within 2 s, tasks unacknowledged for a second (by default an hour)."""
_LEASE = 15.0
"""Seconds of the lease, and 5 more."""


class System:
    """A service, a broker and a worker, each of which may be ended and started again."""

    def __init__(self, broker: Broker, folder: Path, app: str) -> None:
        (folder / "theirs.py").write_text(MODULE)
        (folder / "impatient.py").write_text(IMPATIENT)
        self._app = app
        self.broker = broker
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "SLUICE_CELERY": broker.url, "SLUICE_JOBS": "theirs", "SLUICE_URL": self.url,
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        }  # fmt: skip
        self.session = aiohttp.ClientSession(self.url)

    async def start_service(self) -> None:
        options = ("--port", str(self.port), "--data", str(self.folder / "data"))
        self.service = await start(sys.executable, "-m", "service", "serve", *options, env=self.env)
        assert "listening on" in await self.service.line()

    async def start_worker(self) -> None:
        self.worker: Process = await start(
            sys.executable, "-m", "celery", "-A", self._app, "worker", "-c", "2", "--loglevel", "INFO",
            "--without-mingle", "--without-gossip", "--without-heartbeat",
            env=self.env, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def make(self, name: str, *args: Any, **more: Any) -> str:
        async with self.session.post("/jobs", json={"run": {"name": name, "args": args}, **more}) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["job"])

    async def view(self, job: str) -> Any:
        async with self.session.get(f"/jobs/{job}") as answer:
            return await answer.json()

    async def cancel(self, job: str) -> Any:
        async with self.session.delete(f"/jobs/{job}") as answer:
            return await answer.json()

    async def events(self, job: str, until: Callable[[list[Any]], bool] = lambda events: False) -> list[Any]:
        """Return the events of a job to its end, or until there are those."""
        events: list[Any] = []
        async with asyncio.timeout(90), self.session.get(f"/jobs/{job}/events") as answer:
            async for line in answer.content:
                if line.strip() and (event := orjson.loads(line))["event"] != "heartbeat":
                    events.append(event)
                if until(events):
                    break
        return events

    async def shows(self, metric: str) -> None:
        """Return when a metric matches."""
        async with asyncio.timeout(60):
            while True:
                async with self.session.get("/metrics") as answer:
                    if re.search(f"^{metric}", await answer.text(), re.MULTILINE):
                        return
                await asyncio.sleep(0.1)

    async def runs(self, job: str, attempt: int = 1) -> None:
        """Return when an attempt has said something."""
        await self.events(job, lambda events: names(events).count("started") == attempt and said(events[-1:]) != [])


def names(events: list[Any]) -> list[str]:
    return [event["event"] for event in events]


def said(events: list[Any]) -> list[int]:
    return [int(event["done"]) for event in events if event["event"] == "progress"]


@asynccontextmanager
async def system(kind: str, folder: Path) -> AsyncIterator[System]:
    async with broker(kind, folder) as found:
        made = System(found, folder, "impatient" if kind == "redis" else "service.jobs.worker")
        async with made.session:
            await made.start_service()
            await made.start_worker()
            yield made


@pytest.mark.parametrize("kind", BROKERS)
async def test_functions_run_once_are_cancelled_and_outlive_all_restarts(kind: str, tmp_path: Path) -> None:
    async with system(kind, tmp_path) as sluice:
        await it_runs(sluice)
        if kind == "redis":
            await it_notices_connections_that_were_dropped(sluice.broker)
            await it_runs_once_beyond_the_visibility_timeout(sluice)
        await it_is_cancelled(sluice)
        await it_goes_on_over_a_restart_of_the_service(sluice)
        await it_runs_again_when_its_worker_was_killed(sluice)
        await it_runs_when_the_broker_is_back(sluice)
        if kind == "redis":
            await it_runs_after_a_failover(sluice)
        await sluice.service.stop()
        await sluice.service.close()
        assert sluice.service.errors.count(b"the broker of jobs is away") == 1 + (kind == "redis")


async def it_runs(sluice: System) -> None:
    job = await sluice.make("add", 1, 2)
    events = await sluice.events(job)
    assert names(events) == ["queued", "started", "progress", "done"]
    assert events[1]["worker"].startswith("celery@")
    assert (events[-1]["result"], (await sluice.view(job))["output"]) == (3, "adding\n")


async def it_notices_connections_that_were_dropped(broker: Broker) -> None:
    """Wait until the kernel sends keepalive probes on each connection to Redis."""
    async with asyncio.timeout(30):
        while timers(broker.port) != {"02"}:
            await asyncio.sleep(0.05)


def timers(port: int) -> set[str]:
    """Return the kernel's timers of established connections to a port: 02 is the one for keepalive probes."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[5][:2] for line in lines if line[2].endswith(f":{port:04X}") and line[3] == "01"}


async def it_runs_once_beyond_the_visibility_timeout(sluice: System) -> None:
    end = sluice.folder / "beyond the timeout"
    later, long = await sluice.make("add", 5, 6, delay=4), await sluice.make("count", str(end))
    await sluice.runs(long)
    # Redis delivers the task of the long job to the other process, too.
    await sluice.shows(r'sluice_job_claims_total\{outcome="refused"\} [1-9]')
    assert names(await sluice.events(later)) == ["queued", "started", "progress", "done"]
    end.touch()
    events = await sluice.events(long)
    assert (names(events).count("started"), events[-1]["event"]) == (1, "done")


async def it_is_cancelled(sluice: System) -> None:
    job = await sluice.make("count", "/nowhere")
    await sluice.runs(job)
    assert await sluice.cancel(job) == {"cancelled": True, "state": "running"}
    assert names(await sluice.events(job))[-1] == "cancelled"


async def it_goes_on_over_a_restart_of_the_service(sluice: System) -> None:
    end = sluice.folder / "over a restart"
    job = await sluice.make("count", str(end))
    await sluice.runs(job)
    await sluice.service.stop()
    await asyncio.sleep(0.5)  # the function says something meanwhile
    await sluice.start_service()
    end.touch()
    events = await sluice.events(job)
    assert (names(events)[:2], names(events)[-1]) == (["queued", "started"], "done")
    assert said(events) == list(range(1, events[-1]["result"] + 1))


async def it_runs_again_when_its_worker_was_killed(sluice: System) -> None:
    end = sluice.folder / "after a kill"
    job = await sluice.make("count", str(end), retries=0)
    await sluice.runs(job)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await sluice.worker.close()
    await sluice.start_worker()
    await sluice.runs(job, attempt=2)
    assert loop.time() - begun < _LEASE + 15  # for a machine that does other things
    end.touch()
    events = await sluice.events(job)
    assert (names(events).count("retry"), events[-1]["event"]) == (1, "done")
    assert next(event for event in events if event["event"] == "retry")["error"] == "lost"


async def it_runs_when_the_broker_is_back(sluice: System) -> None:
    await sluice.broker.kill()
    cancelled, job = await sluice.make("add", 1, 1), await sluice.make("add", 3, 4)
    assert await sluice.cancel(cancelled) == {"cancelled": True, "state": "cancelled"}
    assert (await sluice.view(job))["state"] == "queued"
    await sluice.broker.start()
    assert (await sluice.events(job))[-1]["result"] == 7
    assert names(await sluice.events(cancelled)) == ["queued", "cancelled"]


async def it_runs_after_a_failover(sluice: System) -> None:
    """Have Redis refuse all writes, like one that has become a replica of another."""
    await ask_redis(sluice.broker, b"REPLICAOF 127.0.0.1 1")
    job = await sluice.make("add", 5, 6)
    await sluice.shows(r"sluice_broker_away 1")
    await ask_redis(sluice.broker, b"REPLICAOF NO ONE")
    assert (await sluice.events(job))[-1]["result"] == 11


async def ask_redis(broker: Broker, command: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(command + b"\r\n")
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("missing", ["SLUICE_CELERY", "SLUICE_JOBS", "SLUICE_URL"])
async def test_a_worker_that_lacks_a_setting_says_which(missing: str) -> None:
    env = {"SLUICE_CELERY": "redis://127.0.0.1:1", "SLUICE_JOBS": "theirs", "SLUICE_URL": "http://127.0.0.1:1"}
    worker = await start(
        sys.executable, "-m", "celery", "-A", "service.jobs.worker", "worker", env={**env, missing: ""}
    )
    assert await worker.ended() != 0
    await worker.close()
    assert f"{missing} is missing".encode() in worker.errors
    assert b"Traceback" not in worker.errors
