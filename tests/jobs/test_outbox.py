"""What a worker keeps until the service has taken it in, on virtual time."""

import asyncio
from typing import Any

import orjson
import pytest

from service.core.jobs.reports import Reported, WorkerDone, WorkerProgress
from service.jobs.outbox import AttemptRefused, Outbox, ServiceUnreachable


class Service:
    """Takes reports in as the service does; may be away, or slow, or lose its answers."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.reports: list[Any] = []
        self.away = self.mute = self.stop = False
        self.refuses: str | None = None
        self.unknown = False
        self.takes = 0.01

    async def send(self, body: bytes) -> Reported:
        await asyncio.sleep(self.takes)
        if self.away:
            raise ServiceUnreachable("refused")
        if self.refuses:
            raise AttemptRefused(self.refuses, unknown=self.unknown)
        report = orjson.loads(body)
        self.reports.append(report)
        for number, event in enumerate(report["events"], start=report["first"]):
            if number == len(self.taken) + 1:
                self.taken.append(event)
        if self.mute:
            raise ServiceUnreachable("the answer was lost")
        return Reported(len(self.taken) + 1, self.stop)

    def numbers(self) -> list[int]:
        return [event["done"] for event in self.taken if event["event"] == "progress"]


class Bench:
    def __init__(self) -> None:
        self.service = Service()
        self.stops = 0
        self.outbox = Outbox(self.service.send, heartbeat=3.0, on_stop=self.stopped)
        self.running = asyncio.create_task(self.outbox.run())

    def stopped(self) -> None:
        self.stops += 1

    async def put(self, *numbers: int) -> None:
        for number in numbers:
            await self.outbox.put(WorkerProgress(float(number)))

    async def end(self) -> None:
        self.outbox.finish(WorkerDone())
        async with asyncio.timeout(10_000):
            await self.running


async def test_events_go_out_at_once_and_those_of_a_moment_together() -> None:
    bench = Bench()
    await bench.put(1)
    await asyncio.sleep(0.005)
    await bench.put(2, 3, 4)
    await bench.end()
    assert bench.service.numbers() == [1, 2, 3, 4]
    assert [len(report["events"]) for report in bench.service.reports] == [1, 4]


async def test_a_silent_function_is_heard_of_all_the_same() -> None:
    bench = Bench()
    await asyncio.sleep(31)
    assert 9 <= len(bench.service.reports) <= 11
    await bench.end()


async def test_what_a_service_that_is_away_has_missed_comes_later_in_order() -> None:
    bench = Bench()
    await bench.put(1)
    await asyncio.sleep(1)
    bench.service.away = True
    await bench.put(2, 3)
    await asyncio.sleep(60)
    await bench.put(*range(4, 300))
    bench.service.away = False
    await bench.end()
    assert bench.service.numbers() == list(range(1, 300))
    assert bench.service.taken[-1]["event"] == "done"


async def test_an_answer_that_is_lost_makes_no_event_come_twice() -> None:
    bench = Bench()
    bench.service.mute = True
    await bench.put(1, 2)
    await asyncio.sleep(1)
    bench.service.mute = False
    await bench.put(3)
    await bench.end()
    assert bench.service.numbers() == [1, 2, 3]


async def test_a_function_that_says_very_much_waits_for_the_service() -> None:
    bench = Bench()
    bench.service.away = True
    saying = asyncio.create_task(bench.put(*range(5000)))
    await asyncio.sleep(30)
    assert not saying.done()
    assert "1000 events" in repr(bench.outbox)
    bench.service.away = False
    await saying
    await bench.end()
    assert bench.service.numbers() == list(range(5000))


async def test_reports_are_bounded_in_bytes() -> None:
    bench = Bench()
    for _ in range(9):
        await bench.outbox.put(WorkerProgress(data="x" * (100 << 10)))
    await bench.outbox.put(WorkerProgress(data="x" * (900 << 10)))
    await bench.end()
    assert [len(report["events"]) for report in bench.service.reports] == [2, 2, 2, 2, 1, 1, 1]


async def test_a_cancelled_job_is_stopped_once() -> None:
    bench = Bench()
    bench.service.stop = True
    await asyncio.sleep(10)
    assert bench.stops == 1
    await bench.end()


async def test_one_that_was_lost_ends_with_the_reason() -> None:
    bench = Bench()
    bench.service.refuses = "409: lost"
    await bench.put(1)
    with pytest.raises(AttemptRefused, match="409"):
        await bench.running
