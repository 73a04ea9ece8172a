"""Messages published by the clock to topics whose readers keep account: the heart of every broadcast."""

import asyncio
from argparse import Namespace, _ArgumentGroup
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from loadtest.audience import Audience
from loadtest.client import Client
from loadtest.context import Context
from loadtest.files import read_messages
from loadtest.measures import Measures
from loadtest.pace import until_all
from loadtest.payloads import payload
from loadtest.schedule import dealt
from loadtest.sockets import ConnectFailed
from loadtest.targets import Target

__all__ = ["PUBLISHING", "Publishing", "add_publishing", "wrong_publishing"]

PUBLISHING = Measures(
    ("published", "delivered", "of_others", "unrecognised"), ("publish", "delivery", "last_delivery", "spread"),
    ("server_delivery_p50_ms", "server_delivery_p99_ms", "server_writes"), checks=True,
)  # fmt: skip
"""What every scenario can measure that publishes."""
Fact = tuple[str, int, float | None]
"""A topic, the number of a message, and when it was meant to be published; None when it was not."""


def add_publishing(parser: _ArgumentGroup) -> None:
    """Declare what is published."""
    parser.add_argument("--size", type=int, default=150, help="bytes of a message's data, about (default 150)")
    parser.add_argument(
        "--topics", type=int, default=1, help="topics that the clients share out; --rate is of each (default 1)"
    )
    parser.add_argument("--publishers", type=int, default=1, help="clients that publish as well (default 1)")
    parser.add_argument(
        "--apart", action="store_true", help="publishers are clients of their own that subscribe to nothing"
    )
    parser.add_argument(
        "--messages",
        default="",
        help="file with the bodies of messages, one a line, taken in turn (in place of --size)",
    )
    parser.add_argument("--prefix", default="loadtest", help="names of the topics begin with this")


def wrong_publishing(options: Namespace) -> list[str]:
    """Return what is wrong with that."""
    wrong = [f"--{name}: must be above 0" for name in ("topics", "publishers") if getattr(options, name) <= 0]
    if not 0 <= options.size <= 60_000:
        wrong.append("--size: from 0 to 60000")
    if options.target != "sluice" and options.publishers > 1:
        wrong.append("--publishers: one, where the numbers of messages are ours and not the server's")
    if not options.rate:
        wrong.append("--rate: needed")
    try:
        if options.messages:
            read_messages(options.messages)
    except ValueError as error:
        wrong.append(str(error))
    return wrong


class Publishing:
    """The topics of a run, their readers in this process, and this process' share of the publishers."""

    def __init__(self, context: Context) -> None:
        options = context.options
        self.context = context
        # A server that does not number messages may still have those of the last run.
        ours = context.target.MARKER == Target.MARKER
        run = f"{options.run}-" if ours else ""
        self.topics = [f"{options.prefix}/{run}{number}" for number in range(options.topics)]
        self.audiences = {topic: Audience(topic, context.tally) for topic in self.topics}
        self.others: list[Audience] = []
        """Those that are told apart."""
        self._ours = ours
        self._untold: list[Fact] = []
        self._apart: list[Client] = []
        self._bodies = read_messages(options.messages) if options.messages else []
        self._settled = False
        context.crew.on_told = self._learn
        context.chores.append(self._chore)

    def topic_of(self, number: int) -> str:
        """Return the topic of a client."""
        return self.topics[number % len(self.topics)]

    def audience_of(self, number: int) -> Audience:
        """Return the audience that a client joins."""
        return self.audiences[self.topic_of(number)]

    def apart(self, topic: str, latency: str) -> Audience:
        """Return another audience of a topic, whose latencies are told apart."""
        audience = Audience(topic, self.context.tally, latency)
        self.others.append(audience)
        return audience

    async def subscribe(self, client: Client) -> None:
        """Subscribe a client to its topic."""
        await client.subscribe(self.audience_of(client.number))

    def divided(self, first: int, latency: str) -> Callable[[Client], Awaitable[None]]:
        """Return how clients subscribe of whom those from number ``first`` on are told apart as ``latency``."""
        apart = {topic: self.apart(topic, latency) for topic in self.topics}

        async def subscribe(client: Client) -> None:
            topic = self.topic_of(client.number)
            await client.subscribe((apart if client.number >= first else self.audiences)[topic])

        return subscribe

    async def senders(self, clients: list[Client]) -> list[Client]:
        """Return those that publish: some of the readers, or clients of their own, which are connected here."""
        context, options = self.context, self.context.options
        if options.apart:
            numbers = [options.clients + number for number in context.mine(options.publishers)]
            self._apart = await context.connect(numbers, options.at_once, self.topic_of)
        return self._apart or clients

    async def publish(self, begin: float, clients: list[Client]) -> None:
        """Publish to all topics by the schedule, this process its share, whatever the answers do."""
        context, options = self.context, self.context.options
        schedule, count = context.schedule(), context.crew.count
        async with asyncio.TaskGroup() as group:
            for publisher in range(context.crew.index, options.publishers, count):
                client = clients[publisher // count % len(clients)]
                for number, topic in enumerate(self.topics):
                    times = dealt(context.times(schedule), publisher, options.publishers)
                    # Spread, or all topics would publish in the same moments.
                    phase = number / len(self.topics) * schedule.duration / schedule.count
                    group.create_task(self._topic(topic, client, times, begin + phase))

    async def _topic(self, topic: str, client: Client, times: Any, begin: float) -> None:
        tally, target, options = self.context.tally, self.context.target, self.context.options

        async def one(number: int, due: float) -> None:
            data = payload(options.run, number + 1, due, options.size, self._body(number))
            try:
                offset = await self.context.act(target.publish(client.socket, topic, data))
            except ConnectFailed as error:
                tally.error(str(error))
                if self._ours:
                    self._learn([(topic, number + 1, None)])
                    self._untold.append((topic, number + 1, None))
                return
            tally.count("published")
            tally.latency("publish", due, monotonic())
            fact = (topic, number + 1 if offset is None else offset, due)
            self._learn([fact])
            self._untold.append(fact)

        await self.context.by_clock(times, begin, one)

    def _body(self, number: int) -> str:
        return self._bodies[number % len(self._bodies)] if self._bodies else ""

    async def settle(self) -> None:
        """Wait until all workers have published and every reader has everything, or the time is over."""
        context = self.context
        self._tell()
        await context.crew.meet("published")
        await context.end()
        context.phase("waiting for the last")
        audiences = self.audiences.values()
        await until_all(lambda: all(audience.complete for audience in audiences), context.options.settle)
        self._settled = True

    def close(self) -> None:
        """Make up the accounts and tell the supervisor what only all workers together know."""
        audiences = list(self.audiences.values())
        for client in self._apart:
            client.leave()
        for audience in audiences:
            audience.close(self._settled)
        if not self._settled:
            self.context.crew.say("note", "what was under way at the end is not counted as lost")
        # Where all is well, what an adapter does not know is no matter.
        if self.context.unrecognised.text and self.context.tally.checks["lost"]:
            self.context.crew.say("note", self.context.unrecognised.text)
        self.context.crew.say("outcome", {
            "arrivals": {audience.topic: audience.arrivals() for audience in audiences},
            "readers": {audience.topic: len(audience.members) for audience in audiences},
            "beats": sorted(set().union(*(audience.beats for audience in audiences))),
            "delays": [delay for audience in audiences for delay in audience.delays()],
            "measured_from": self.context.tally.measured_from,
        })  # fmt: skip

    def _learn(self, facts: list[Fact]) -> None:
        for topic, offset, due in facts:
            for audience in (self.audiences[topic], *self.others):
                if audience.topic == topic and due is None:
                    audience.not_published(offset)
                elif audience.topic == topic and due is not None:
                    audience.published(offset, due)

    def _tell(self) -> None:
        if self._untold:
            self.context.crew.tell(self._untold)
            self._untold = []

    def _chore(self) -> bool:
        self._tell()
        left = [audience.flush() for audience in (*self.audiences.values(), *self.others)]
        return any(left)
