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

from service.client import Backoff, Client, ClientError, Gap, Message, Position, Restart, Subscription, Value
from service.client.transport import Unreachable
from service.core.sessions.closing import DRAINED, EXPIRED, FLOODING, OVERLOADED, TOO_SLOW
from service.core.topics.topic import RingLimits
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

    async def run(self) -> None:
        for topic in TOPICS:
            self.service.hub.own(topic)
        tokens = (lambda: "T") if self.chance.random() < 0.5 else None
        async with client_of(self.service, backoff=Backoff(0.1, 1.0), token=tokens) as self.client:
            acts = [*[self.begin] * 4, *[self.publish] * 5, *[self.wait] * 2, self.leave, self.cut, self.restart, self.refuse, self.call, self.wait, self.wait,
                    self.drain, self.end, self.stall]  # fmt: skip
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
        await asyncio.wait_for(asyncio.gather(*self.calls, return_exceptions=True), 3600)
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
