"""A random walk through the engine, what has to hold on it, and the shortest part of it that breaks a rule.

A step is a number, and what it does follows from the seed and that number alone: any part of a walk can be walked.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import orjson

from service.core.fetching.batch import Batch, Keep
from service.core.pending import when_known
from tests.core.readers import FakeReader
from tests.upstream.model.engine import MEMORY, BatchReader, Engine
from tests.upstream.model.idleness import Idleness
from tests.upstream.model.web import HOSTS, trace_of
from tests.virtual import VirtualClockLoop

__all__ = ["Broken", "shortest", "walk"]

SLACK = 1.0
"""Seconds after its deadline by which a URL has its event."""
LOOK = 0.25
KERNEL = 60.0
"""Seconds after which the kernel ends a connection whose peer takes nothing."""
RUNNING = 40
"""Batches beside which none is begun: with one place at hosts that hang they would only wait."""
LONGEST = 12_000.0
"""Seconds by which all that was begun has ended, even one URL after the other."""


class Broken(AssertionError):
    """A rule that did not hold, and when."""


class Walk:
    """One walk: the engine, and what was asked of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(seed)
        self.idleness = Idleness(self.engine)
        self.running: dict[str, Batch] = {}
        self.readers: list[BatchReader] = []
        self.watching: list[tuple[FakeReader, Any]] = []

    def step(self, number: int) -> float:
        """Have one thing happen, and return how long nothing does afterwards."""
        chance = Random(f"{self.seed} {number}")
        name = chance.choices([name for name, _ in STEPS], [weight for _, weight in STEPS])[0]
        getattr(self, name)(chance)
        return chance.choice((0.0, 0.0, 0.01, 0.3, 2.0))

    def start(self, chance: Random) -> None:
        if len(self.running) >= RUNNING or (batch := self.engine.start(chance)) is None:
            return
        read = chance.random() < (0.5 if batch.keep is Keep.DETACHED else 0.95)
        when_known(
            batch if batch.accepted is None else batch.accepted, partial(self._accepted, batch, chance, read)
        )

    def _accepted(self, batch: Batch, chance: Random, read: bool, outcome: Batch | Exception) -> None:
        if isinstance(outcome, Exception):
            return
        if batch.id not in self.running and not batch.done:
            self.running[batch.id] = batch
        if read:
            self._read(batch, chance)

    def join(self, chance: Random) -> None:
        if self.running:
            self._read(chance.choice(list(self.running.values())), chance)

    def _read(self, batch: Batch, chance: Random) -> None:
        if self.engine.hub.topics.get(batch.topic.name) is batch.topic:
            self.readers.append(self.engine.read(batch, chance))

    def stall(self, chance: Random) -> None:
        if attached := [reader for reader in self.readers if reader.attached]:
            reader = chance.choice(attached)
            reader.stuck = not reader.stuck
            reader.stuck_at = self.loop.time()
            self.engine.hub.wake(reader.topic)

    def leave(self, chance: Random) -> None:
        for reader in self.readers:
            if chance.random() < 0.1:
                reader.detach()

    def cancel(self, chance: Random) -> None:
        if self.running:
            self.engine.batches.cancel(chance.choice(list(self.running)))

    def watch(self, chance: Random) -> None:
        if (made := self.engine.watch(chance)) is not None:
            self.watching.append(made)

    def unwatch(self, chance: Random) -> None:
        if self.watching:
            self._end(self.watching.pop(chance.randrange(len(self.watching))))

    def _end(self, watched: tuple[FakeReader, Any]) -> None:
        reader, watching = watched
        reader.detach()
        watching.release()

    def hang(self, chance: Random) -> None:
        """Have a host answer nothing for a while."""
        host, hanging = f"h{chance.randrange(HOSTS)}.example", self.engine.web.hanging
        hanging.add(host)
        self.loop.call_later(chance.choice((1.0, 20.0)), hanging.discard, host)

    def memory(self, chance: Random) -> None:
        """Have the machine short of memory for a while."""
        self.engine.used = MEMORY
        self.loop.call_later(chance.choice((0.1, 5.0)), setattr, self.engine, "used", 0)

    def overload(self, chance: Random) -> None:
        self.engine.runner.slow(0.1)
        self.loop.call_later(chance.choice((0.1, 5.0)), self.engine.runner.slow, 1.0)

    def drain(self, chance: Random) -> None:
        """Refuse what is new, cancel the rest after a while, and begin anew: a process has one of these."""
        batches = self.engine.batches
        if not batches.draining:
            batches.draining = True
            self.loop.call_later(chance.choice((0.0, 1.0, 10.0)), self._drained)

    def _drained(self) -> None:
        self.engine.batches.cancel_all()
        self.engine.batches.draining = False

    async def wait(self, seconds: float) -> None:
        """Let the time pass, and look now and then whether all is well."""
        until = self.loop.time() + seconds
        while True:
            await asyncio.sleep(min(LOOK, until - self.loop.time()))
            self._check()
            if self.loop.time() >= until:
                return

    def _check(self) -> None:
        now = self.loop.time()
        if late := self.engine.runner.plan.admitted.overdue(now - SLACK):
            raise Broken(f"{late[0].group.id}: {late[0].request.url} has no event {SLACK} s after its deadline")
        for flight in self.engine.runner._tasks.values():
            if flight.open and flight.leader is not flight.waiters[0]:
                raise Broken(f"the place of {flight.leader.group.id} is used by {flight.waiters[0].group.id}")
        if stuck := self.idleness.check(now, SLACK):
            raise Broken(stuck)
        if self.engine.looks and (stuck := self.idleness.locked_out(now, SLACK)):
            raise Broken(stuck)
        for batch in [batch for batch in self.running.values() if batch.topic.final]:
            del self.running[batch.id]
            if (
                not all(batch.finished)
                or batch.ok + batch.failed != batch.total
                or batch.topic.head != batch.total + 1
            ):
                raise Broken(f"{batch.id} has ended with {batch.topic.head} events: {batch.counts()}")
        for reader in self.readers:
            if reader.attached and reader.stuck and now - reader.stuck_at > KERNEL:
                reader.detach()
            if reader.complete and reader.whole:
                check_events([orjson.loads(line) for line in reader.lines], reader.topic.owner)
        self.readers = [reader for reader in self.readers if reader.attached]
        self.engine.hub.sweep(now)

    async def end(self) -> None:
        """See that all ends without anybody's doing, and that nothing is held for anybody then."""
        while self.watching:
            self._end(self.watching.pop())
        until = self.loop.time() + LONGEST
        while self.running or self.engine.runner.active:
            if self.loop.time() > until:
                raise Broken(f"{[*map(str, self.running)]} of {self.engine.batches!r} have not ended")
            await self.wait(5.0)
        for reader in self.readers:
            reader.detach()
        await self.wait(90.0)
        held = {name: pool.used for name, pool in self.engine.pools.statistics().items() if pool.used}
        held.pop(self.engine.fetcher.cache.pool.name, None)  # what is stored belongs to nobody that waits
        left = (self.engine.batches.running, self.engine.runner.plan.active, len(self.engine.hub.topics), held)
        if left != (0, 0, 0, {}):
            raise Broken(f"held when all has ended: batches, fetches, topics, pools: {left}")
        if overdue := sum(self.engine.runner.statistics().overdue.values()):
            raise Broken(f"the watchdog has ended {overdue}")


STEPS: list[tuple[str, int]] = [
    ("start", 300), ("join", 120), ("stall", 60), ("leave", 20), ("cancel", 20), ("watch", 30), ("unwatch", 20),
    ("hang", 10), ("memory", 10), ("overload", 10), ("drain", 3),
]  # fmt: skip
"""What may happen, and how often beside the others."""


def check_events(events: list[dict[str, Any]], owner: str) -> None:
    """See that ``done`` is last, that it counts right, that what is missing is announced, and what is for others."""
    *before, done = events
    gaps = sum(event["to"] - event["from"] + 1 for event in before if event["event"] == "gap")
    outcomes = Counter(event["index"] for event in before if event["event"] != "gap")
    if done["event"] != "done" or done["ok"] + done["failed"] != done["total"]:
        raise Broken(f"the last event is {done}")
    if outcomes.total() != len(outcomes) or len(outcomes) + gaps > done["total"]:
        raise Broken(f"{len(outcomes)} URLs and gaps of {gaps} of {done['total']}, or one twice")
    for event in events:
        text = event.get("body") or ""
        if (text.startswith("for ") and text != f"for {owner}") or (
            text.startswith("trace 00-") and trace_of(owner) not in text
        ):
            raise Broken(f"{owner} has got what was for another: {text[:60]}")


class _Errors(logging.Handler):
    """Collects what the engine reports as a bug of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(logging.Formatter().format(record))


async def _walk(seed: int, steps: Sequence[int], prepare: Callable[[Engine], None]) -> None:
    errors, log = _Errors(), logging.getLogger("sluice")
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.seen.append(str(context)))
    log.addHandler(errors)
    one = Walk(seed)
    prepare(one.engine)
    try:
        for number in steps:
            await one.wait(one.step(number))
            if errors.seen:
                break
        else:
            await one.end()
    finally:
        log.removeHandler(errors)
        await one.engine.close()
    if errors.seen:
        raise Broken(errors.seen[0])


def walk(seed: int, steps: Sequence[int], prepare: Callable[[Engine], None] = lambda engine: None) -> str:
    """Take these steps, and return which rule did not hold; nothing where all did."""
    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(patience=0)) as runner:
        try:
            runner.run(_walk(seed, steps, prepare))
        except Exception as broken:
            return f"after {runner.get_loop().time():.2f} s: {broken!r}"
    return ""


def shortest(
    seed: int, steps: Sequence[int], prepare: Callable[[Engine], None] = lambda engine: None, tries: int = 60
) -> list[int]:
    """Return steps of a walk that break a rule, and of which hardly one can be left out."""
    kept, size = list(steps), max(1, len(steps) // 2)
    at = 0
    while tries and (size > 1 or at < len(kept)):
        if at >= len(kept):
            at, size = 0, size // 2
        without = kept[:at] + kept[at + size :]
        tries -= 1
        if walk(seed, without, prepare):
            kept = without
        else:
            at += size
    return kept
