"""Publish to many subscribers, and account for every single delivery.

Latency counts from the time at which a message was *meant* to be published, to each client.
"""

import asyncio
from argparse import ArgumentParser, Namespace
from collections import Counter
from time import monotonic

from loadtest.context import CannotRun, Context
from loadtest.ledger import Ledger
from loadtest.report import Report
from loadtest.schedule import constant
from loadtest.sockets import ConnectFailed, Socket

__all__ = ["HELP", "Audience", "add_options", "publish", "run", "sockets", "validate"]

HELP = "publish to N subscribers: delivery latency, and what was lost, repeated or out of order"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second, of each topic (default 10)")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message's data, about (default 150)")
    parser.add_argument("--topics", type=int, default=1, help="topics that the clients share out (default 1)")
    parser.add_argument("--at-once", type=int, default=500, help="handshakes at a time (default 500)")
    parser.add_argument("--settle", type=float, default=10.0, help="most seconds to wait for the last (default 10)")
    parser.add_argument("--prefix", default="loadtest", help="names of the topics begin with this")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    wrong = [f"--{name}: must be above 0" for name in ("rate", "topics") if getattr(options, name) <= 0]
    if not 0 <= options.size <= 60_000:
        wrong.append("--size: from 0 to 60000")
    return wrong


def sockets(options: Namespace) -> int:
    """Return how many sockets it needs."""
    return int(options.clients) + 1


class Audience:
    """The subscribers of all topics: accounts for each, latencies for all together.

    A read is one entry in a counter, by (topic, first offset, count, time); the entries become latencies
    when the publishes that they belong to are known.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.members: dict[str, list[Ledger]] = {}
        self.intended: dict[str, dict[int, float]] = {}
        self.heads: dict[str, int] = {}
        self._reads: Counter[tuple[str, int, int, int]] = Counter()
        self._last: dict[tuple[str, int], tuple[float, int]] = {}

    async def join(self, socket: Socket, topic: str) -> None:
        """Subscribe a client."""
        socket.on_run = lambda *_: None
        started = await socket.call("subscribe", topic=topic)
        offset = started["offset"]
        assert isinstance(offset, int)
        ledger = Ledger(self.report.checks, offset + 1)
        self.members.setdefault(topic, []).append(ledger)
        socket.on_run = lambda _, first, count: self._on_run(topic, ledger, first, count)
        socket.on_notice = lambda _, message: self._on_notice(ledger, message)
        socket.on_close = lambda _: self.report.error("dropped while subscribed")

    def _on_run(self, topic: str, ledger: Ledger, first: int, count: int) -> None:
        ledger.run(first, count)
        # Whole milliseconds for runs, tenths for single messages: fewer entries than there are reads.
        scale = 10_000 if count == 1 else 1000
        self._reads[topic, first, count, int(monotonic() * scale)] += 1

    def _on_notice(self, ledger: Ledger, message: dict[str, object]) -> None:
        params = message.get("params")
        if message.get("method") == "gap" and isinstance(params, dict):
            ledger.gap(params["from"], params["to"])

    def flush(self) -> None:
        """Turn the reads so far into latencies."""
        reads, self._reads = self._reads, Counter()
        histogram = self.report.latency("delivery")
        for (topic, first, count, at), times in reads.items():
            intended = self.intended.get(topic, {})
            now = at / (10_000 if count == 1 else 1000)
            for offset in range(first, first + count):
                due = intended.get(offset)
                if due is None:
                    self._reads[topic, offset, 1, int(now * 10_000)] += times
                    continue
                histogram.record((now - due) * 1000, times)
                had = self._last.get((topic, offset))
                self._last[topic, offset] = (max(now, had[0]) if had else now, (had[1] if had else 0) + times)
            self.report.count("delivered", count * times)

    @property
    def complete(self) -> bool:
        """Whether every member has everything that was published."""
        return all(
            ledger.expected > self.heads.get(topic, 0) and not ledger.missing
            for topic, ledgers in self.members.items()
            for ledger in ledgers
        )

    def close(self) -> None:
        """Make up the accounts."""
        self.flush()
        spread = self.report.latency("last_delivery")
        for (topic, offset), (at, times) in self._last.items():
            if times == len(self.members[topic]):
                spread.record((at - self.intended[topic][offset]) * 1000)
        for topic, ledgers in self.members.items():
            for ledger in ledgers:
                ledger.close(self.heads.get(topic, 0))


async def publish(audience: Audience, socket: Socket, topic: str, phase: float, options: Namespace) -> None:
    """Publish by the clock from ``phase`` seconds on, whatever the answers do."""
    report, pad, began = audience.report, "x" * max(0, options.size - 24), monotonic() + phase
    intended = audience.intended.setdefault(topic, {})

    async def one(number: int, due: float) -> None:
        try:
            answer = await socket.call("publish", topic=topic, data={"n": f"{number:08d}", "pad": pad})
        except ConnectFailed as error:
            report.error(str(error))
            return
        offset = answer["offset"]
        assert isinstance(offset, int)
        intended[offset] = due
        audience.heads[topic] = max(audience.heads.get(topic, 0), offset)
        report.count("published")
        report.latency("publish").record((monotonic() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        for number, at in enumerate(constant(options.rate, options.duration)):
            wait = began + at - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            group.create_task(one(number, began + at))


async def run(context: Context) -> None:
    """Connect the subscribers, publish, wait for the last, and make up the accounts."""
    options, report = context.options, context.report
    audience = Audience(report)
    topics = [f"{options.prefix}/{number}" for number in range(options.topics)]
    joined = iter(range(options.clients))

    async def prepare(socket: Socket) -> None:
        await audience.join(socket, topics[next(joined) % len(topics)])

    clients = await context.connect(options.clients, options.at_once, prepare)
    if not clients:
        raise CannotRun(f"no client could connect to {options.url}: {', '.join(report.errors) or 'none asked for'}")
    await broadcast(context, audience, topics, clients[0])
    report.count("held", sum(not socket.closed for socket in clients))
    for socket in clients:
        socket.close()


async def broadcast(context: Context, audience: Audience, topics: list[str], publisher: Socket) -> None:
    """Publish to all topics for the duration, then wait until everyone has everything or the time is over.

    The publisher is one of the clients, so that a service that takes N is asked for N.
    """
    options = context.options

    async def all_topics() -> None:
        async with asyncio.TaskGroup() as group:
            for number, topic in enumerate(topics):
                # Spread, or all topics would publish in the same moments.
                phase = number / len(topics) / options.rate
                group.create_task(publish(audience, publisher, topic, phase, options))

    def gauges() -> dict[str, float]:
        audience.flush()
        return {"delivery_p99_ms": audience.report.latency("delivery").percentile(99.0)}

    context.phase = f"publishing {options.rate * len(topics):g} messages a second"
    await context.ticking(all_topics(), gauges)
    context.phase = "waiting for the last"
    deadline = monotonic() + options.settle
    while monotonic() < deadline and not audience.complete:
        await asyncio.sleep(0.05)
        audience.flush()
    audience.close()
