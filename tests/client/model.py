"""Random schedules for the Python client: what happens to it, and what has to hold in every case.

A schedule is made from a seed. Streams come and go, consumers take their time, connections are cut and stall, the
service restarts, drains, refuses and ends tokens. No message comes twice, none is missing that no Gap or Restart
covers, every call settles, every loop ends, and nothing is left.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.client import (
    Backoff,
    Client,
    ClientError,
    Gap,
    JobDone,
    Message,
    Position,
    Refused,
    Restart,
    Subscription,
    Value,
)
from service.client.transport import Unreachable
from service.core.sessions.closing import DRAINED, EXPIRED, FLOODING, OVERLOADED, TOO_SLOW
from service.core.topics.topic import RingLimits, Topic
from tests.client.fake import FakeService, client_of
from tests.virtual import VirtualClockLoop

TOPICS = ("a", "b")


@dataclass
class Reader:
    """One stream of a schedule, and what it was given."""

    subscription: Subscription[Value]
    pace: float
    start: Position | None = None
    values: list[Value] = field(default_factory=list)
    leaving: bool = False

    async def run(self) -> None:
        async with self.subscription:
            self.start = self.subscription.position
            async for value in self.subscription:
                self.values.append(value)
                if self.leaving or (isinstance(value, Message) and value.data == "last"):
                    return
                if self.pace:
                    await asyncio.sleep(self.pace)

    def check(self) -> None:
        """Hold it to the promise: from where it began every offset comes once and in order, or a loss is reported."""
        if self.start is None:
            assert not self.values
            return
        epoch, offset = self.start.epoch, self.start.offset
        for number, value in enumerate(self.values):
            if isinstance(value, Restart):
                # The place that it was asked for may not be there.
                begun = number == 0 and (value.epoch, value.offset) == (epoch, offset)
                assert begun or value.epoch != epoch, "a restart that was none"
                epoch, offset = value.epoch, value.offset
                continue
            first, last = (value.first, value.last) if isinstance(value, Gap) else (value.offset, value.offset)
            assert first == offset + 1, f"{first} after {offset}"
            assert last >= first
            assert isinstance(value, Gap) or value.epoch == epoch
            offset = last


@dataclass
class Follower:
    """One loop over a job, and what it was given.

    ``earlier`` is up to where the events were of earlier runs when it was begun: it goes on beyond that.
    """

    earlier: int
    task: asyncio.Task[None]
    values: list[Any] = field(default_factory=list)

    def check(self) -> None:
        """Every event from the first one on, and at the end the last one of a run, unless the job is gone."""
        assert not any(isinstance(value, Gap | Restart) for value in self.values)
        assert [value.raw["number"] for value in self.values] == list(range(1, len(self.values) + 1))
        error = self.task.exception()
        if error is None:
            assert isinstance(self.values[-1], JobDone), "it ended before the job"
            assert len(self.values) > self.earlier, "it ended with an earlier run"
        else:
            assert isinstance(error, Refused)
            assert error.reason == "not_found"


class Schedule:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.messages = self.chance.choice([3, 20, 10_000])
        ring = RingLimits(messages=self.messages, size=1 << 30, age=1e9)
        self.service = FakeService(ring, room=self.chance.choice([0, 1, 1]))
        self.client: Client
        self.readers: list[tuple[Reader, asyncio.Task[None]]] = []
        self.calls: list[asyncio.Task[Any]] = []
        self.jobs: list[Topic] = []
        self.followers: list[Follower] = []

    async def run(self) -> None:
        for topic in TOPICS:
            self.service.hub.own(topic)
        tokens = (lambda: "T") if self.chance.random() < 0.5 else None
        async with client_of(self.service, backoff=Backoff(0.1, 1.0), token=tokens) as self.client:
            acts = [*[self.begin] * 4, *[self.publish] * 5, *[self.wait] * 2, self.leave, self.cut, self.restart, self.refuse, self.call, self.wait, self.wait,
                    self.drain, self.end, self.stall, self.make, *[self.follow] * 2, *[self.proceed] * 3]  # fmt: skip
            if tokens:
                acts.append(self.expire)
            for _ in range(self.chance.randint(5, 40)):
                act: Callable[[], Any] = self.chance.choice(acts)
                await act()
            await self.settle()
        for reader, _ in self.readers:
            reader.check()
            if self.messages == 10_000:
                assert not any(isinstance(value, Gap) for value in reader.values), "a gap where all is kept"
        for follower in self.followers:
            follower.check()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
        assert not timers(), "a timer is left"
        assert all(socket.closed for socket in self.service.sockets), "a socket is left"

    async def settle(self) -> None:
        """Let everything come to rest, then publish a last message, which all who are there get."""
        await self.wait(200)
        if self.service.draining:
            self.service.restart()
        await self.wait(200)
        for topic in TOPICS:
            self.service.hub.publish(topic, b'"last"', asyncio.get_running_loop().time())
        for job in self.jobs:
            if not job.final and self.service.hub.topics.get(job.name) is job:
                self.say(job, "done")
        loops = [follower.task for follower in self.followers]
        await asyncio.wait_for(asyncio.gather(*self.calls, *loops, return_exceptions=True), 3600)
        for reader, task in self.readers:
            await asyncio.wait_for(task, 3600)
            assert reader.leaving or (isinstance(reader.values[-1], Message) and reader.values[-1].data == "last")

    async def begin(self) -> None:
        since: Any = self.chance.choice(["newest", "oldest", "e1:2", Position("e1", 5), "other:3"])
        on_lag: Any = self.chance.choice(["disconnect", "drop_oldest", "latest"])
        reader = Reader(
            self.client.subscribe(self.chance.choice(TOPICS), since=since, on_lag=on_lag),
            self.chance.choice([0, 0, 0.001, 0.1]),
        )
        self.readers.append((reader, asyncio.create_task(reader.run())))
        await asyncio.sleep(self.chance.choice([0, 0.01]))

    async def leave(self) -> None:
        there = [(reader, task) for reader, task in self.readers if not task.done() and not reader.leaving]
        if there:
            reader, task = self.chance.choice(there)
            reader.leaving = True
            if self.chance.random() < 0.7:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                self.readers.remove((reader, task))
                reader.check()

    async def publish(self) -> None:
        self.service.publish(self.chance.choice(TOPICS), self.chance.choice([1, 5, 30, 300]))

    async def call(self) -> None:
        calls = [
            lambda: self.client.presence("a"),
            lambda: self.client.publish("c", self.chance.random()),
            lambda: self.client.publish("c", float("nan")),
            lambda: self.client.cancel("none"),
        ]

        async def made() -> None:
            try:
                await self.chance.choice(calls)()
            except ClientError:
                return

        self.calls.append(asyncio.create_task(made()))

    async def make(self) -> None:
        topic = self.service.hub.log(f"job:{len(self.jobs)}")
        self.jobs.append(topic)
        self.say(topic, "queued")

    async def follow(self) -> None:
        if not self.jobs:
            return
        topic = self.chance.choice(self.jobs)
        values: list[Any] = []
        self.followers.append(Follower(topic.earlier, asyncio.create_task(self.read(topic, values)), values))
        await asyncio.sleep(self.chance.choice([0, 0.01]))

    async def read(self, topic: Topic, values: list[Any]) -> None:
        async for event in self.client.follow_job(topic.name.removeprefix("job:")):
            values.append(event)
            await asyncio.sleep(self.chance.choice([0, 0, 0.1]))

    async def proceed(self) -> None:
        """Have a job say something, end its run, or begin the next one."""
        there = [topic for topic in self.jobs if self.service.hub.topics.get(topic.name) is topic]
        if not there:
            return
        topic = self.chance.choice(there)
        if topic.final:
            topic.final, topic.earlier = False, topic.head
            self.say(topic, "queued")
        for _ in range(self.chance.choice([0, 1, 300])):
            self.say(topic, "progress")
        if self.chance.random() < 0.5:
            self.say(topic, "done")

    def say(self, topic: Topic, event: str) -> None:
        data = orjson.dumps({"event": event, "number": topic.head + 1, "due": "T", "result": 1})
        self.service.hub.append(topic, data, asyncio.get_running_loop().time())
        if event == "done":
            self.service.hub.finish(topic)

    async def cut(self) -> None:
        if self.service.sockets:
            self.service.socket.left = self.chance.randint(0, 25)

    async def stall(self) -> None:
        if self.service.sockets:
            self.service.socket.mute = True
            self.service.socket.left = 10_000

    async def restart(self) -> None:
        self.service.restart()
        for topic in TOPICS:
            self.service.hub.own(topic)

    async def refuse(self) -> None:
        self.service.turned_away += [Unreachable("not now")] * self.chance.randint(1, 3)
        if self.service.sockets:
            self.service.socket.cut()

    async def end(self) -> None:
        if self.service.sockets:
            self.service.end(self.chance.choice([OVERLOADED, FLOODING, TOO_SLOW]))

    async def expire(self) -> None:
        if self.service.sockets:
            self.service.end(EXPIRED)

    async def drain(self) -> None:
        if self.service.sockets and not self.service.draining:
            self.service.drain()
            await self.wait(2)
            self.service.end(DRAINED)
            self.service.draining = False

    async def wait(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds or self.chance.choice([0, 0.01, 0.5, 3, 40]))


def timers() -> list[asyncio.TimerHandle]:
    """Return what the running loop has to do later."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [timer for timer in scheduled if not timer.cancelled()]


def try_schedules(seeds: range) -> None:
    """Run the schedules of these seeds; the message of what is raised names the seed."""
    for seed in seeds:
        with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(patience=0)) as runner:

            async def run(seed: int = seed) -> None:
                await Schedule(seed).run()

            try:
                runner.run(run())
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error


__all__ = ["Schedule", "timers", "try_schedules"]
