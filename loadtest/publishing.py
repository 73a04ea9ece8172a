"""Messages published by the clock to topics whose readers keep account: the heart of every broadcast."""

import asyncio
from argparse import Namespace, _ArgumentGroup
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from loadtest.audience import Audience
from loadtest.client import ClientContext
from loadtest.context import WorkerContext
from loadtest.files import read_messages
from loadtest.measures import Measures
from loadtest.pace import until_all
from loadtest.payloads import payload
from loadtest.requests import user_of
from loadtest.schedule import dealt
from loadtest.sequences import first_of, sequences
from loadtest.sockets import ConnectFailed
from loadtest.targets import Target
from loadtest.topics import Publishers, TopicPlan

__all__ = ["PUBLISHING", "Publishing", "add_publishing", "wrong_publishing"]

PUBLISHING = Measures(
    ("published", "delivered", "misrouted", "altered", "of_others", "unrecognised"),
    ("publish", "delivery", "last_delivery", "spread"),
    ("server_delivery_p50_ms", "server_delivery_p99_ms", "server_writes"), checks=True,
)  # fmt: skip
"""What every scenario can measure that publishes."""
Fact = tuple[int, int, float | None]
"""A sequence, the number of a message, and when it was meant to be published; None when it was not."""


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
    if options.topics != 1 and any(user["topics"] for user in options.user_rows):
        wrong.append("--topics: the users of --users have topics of their own; leave it out")
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

    def __init__(self, context: WorkerContext) -> None:
        options = context.options
        self.context = context
        # A server that does not number messages may still have those of the last run.
        self._ours = context.target.MARKER == Target.MARKER
        self._plan = TopicPlan(options, f"{options.run}-" if self._ours else "")
        several = options.publishers if self._ours else 1
        first = context.sequences(len(self._plan.topics) * several)
        found = sequences(self._plan.topics, options.publishers, ours=self._ours, first=first)
        self._sequences = dict(zip(self._plan.topics, found, strict=True))
        context.intake.payloads.begun = False
        for topic, (one, *_) in self._sequences.items():
            context.intake.payloads.expect(topic, one.index)
        self.audiences = self._new_audiences("delivery")
        self.others: list[Audience] = []
        """Those with latencies of their own."""
        self._pending: list[Fact] = []
        self._apart: list[ClientContext] = []
        self._bodies = read_messages(options.messages) if options.messages else []
        self._settled = False
        self.send: Callable[[ClientContext, str, bytes, str], Awaitable[int | None]] = self._send
        """Publishes (client, topic, data, key) and returns the server's number of it; raises ConnectFailed."""
        context.link.on_facts = self._receive
        context.chores.append(self._chore)

    def _new_audiences(self, latency: str) -> dict[int, Audience]:
        tally = self.context.tally
        return {one.index: Audience(one, tally, latency) for some in self._sequences.values() for one in some}

    @property
    def topics(self) -> list[str]:
        """All topics, with any readers."""
        return self._plan.topics

    def topic_of(self, number: int) -> str:
        """Return the topic of a client; of several, the first."""
        return self._plan.topics_of(number)[0]

    async def subscribe(self, client: ClientContext) -> None:
        """Subscribe a client to its topics."""
        await client.subscribe(self._of(client, self.audiences))

    def _of(self, client: ClientContext, audiences: Mapping[int, Audience]) -> list[Audience]:
        topics = self._plan.topics_of(client.number)
        return [audiences[one.index] for topic in topics for one in self._sequences[topic]]

    def divided(self, first: int, latency: str) -> Callable[[ClientContext], Awaitable[None]]:
        """Return how clients subscribe; those from number ``first`` on have the latency ``latency``."""
        apart = self._new_audiences(latency)
        self.others += apart.values()

        async def subscribe(client: ClientContext) -> None:
            await client.subscribe(self._of(client, apart if client.number >= first else self.audiences))

        return subscribe

    async def senders(self, clients: list[ClientContext]) -> list[ClientContext]:
        """Return those that publish: some of the readers, or clients of their own, which are connected here."""
        context, options = self.context, self.context.options
        if options.apart:
            numbers = [options.clients + number for number in context.mine(options.publishers)]
            self._apart = await context.connect(numbers, options.at_once, self.topic_of)
        return self._apart or clients

    async def publish(self, begin: float, clients: list[ClientContext]) -> None:
        """Publish to all topics by the schedule, this process its share, without waiting for answers."""
        context, options = self.context, self.context.options
        schedule, topics = context.schedule(), self._plan.topics
        publishers = Publishers(self._plan, clients)
        asyncio.get_running_loop().call_later(max(0.0, begin - monotonic()), context.intake.payloads.begin)
        async with asyncio.TaskGroup() as group:
            for place, topic in enumerate(topics):
                # Spread, or all topics would publish in the same moments.
                phase = place / len(topics) * schedule.duration / schedule.count
                for publisher in range(options.publishers):
                    if self._plan.worker_of(topic, publisher, context.link.count) == context.link.index:
                        times = dealt(context.times(schedule), publisher, options.publishers)
                        client = self._publisher(publishers, topic, publisher)
                        group.create_task(self._topic(topic, publisher, client, times, begin + phase))

    def _publisher(self, publishers: Publishers[ClientContext], topic: str, publisher: int) -> ClientContext:
        """Return the client that publishes: one that does nothing else if there are any, or else a reader."""
        if self._apart:
            return self._apart[publisher // self.context.link.count % len(self._apart)]
        return publishers.of(topic, publisher)

    async def _topic(self, topic: str, publisher: int, client: ClientContext, times: Any, begin: float) -> None:
        tally, options = self.context.tally, self.context.options
        some = self._sequences[topic]
        sequence = some[publisher % len(some)]
        before, bodies = first_of(sequence.index), user_of(options, client.number)["messages"] or self._bodies

        async def one(number: int, due: float) -> None:
            ours = before + number // len(some) + 1
            body = bodies[number % len(bodies)] if bodies else ""
            data = payload(options.run, ours, due, options.size, body)
            try:
                offset = await self.send(client, topic, data, f"{options.run}-{ours}")
            except ConnectFailed as error:
                tally.error(str(error))
                if self._ours:
                    self._note((sequence.index, ours, None))
                return
            tally.count("published")
            tally.latency("publish", due, monotonic())
            self._note((sequence.index, ours if offset is None else before + offset, due))

        await self.context.by_clock(times, begin, one)

    async def _send(self, client: ClientContext, topic: str, data: bytes, key: str) -> int | None:
        return await self.context.act(self.context.target.publish(client.socket, topic, data))

    async def settle(self) -> None:
        """Wait until all workers have published and every reader has everything, or the time is over."""
        context = self.context
        self._share()
        await context.link.meet("published")
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
            self.context.link.send("note", "what was under way at the end is not counted as lost")
        # Where all is well, what an adapter does not know does not matter.
        if self.context.intake.unrecognised.text and self.context.tally.checks["lost"]:
            self.context.link.send("note", self.context.intake.unrecognised.text)
        self.context.link.send("outcome", {
            "arrivals": {audience.sequence.name: audience.arrivals() for audience in audiences},
            "readers": {audience.sequence.name: len(audience.members) for audience in audiences},
            "beats": sorted(set().union(*(audience.beats for audience in audiences))),
            "delays": [delay for audience in audiences for delay in audience.delays()],
            "troubles": [trouble for audience in audiences for trouble in audience.troubles()],
            "measured_from": self.context.tally.measured_from,
            "settled": self._settled,
        })  # fmt: skip

    def _note(self, fact: Fact) -> None:
        self._receive([fact])
        self._pending.append(fact)

    def _receive(self, facts: list[Fact]) -> None:
        for sequence, number, due in facts:
            for audience in (self.audiences[sequence], *self.others):
                if audience.sequence.index == sequence and due is None:
                    audience.not_published(number)
                elif audience.sequence.index == sequence and due is not None:
                    audience.published(number, due)

    def _share(self) -> None:
        if self._pending:
            self.context.link.share(self._pending)
            self._pending = []

    def _chore(self) -> bool:
        self._share()
        left = [audience.flush() for audience in (*self.audiences.values(), *self.others)]
        return any(left)
