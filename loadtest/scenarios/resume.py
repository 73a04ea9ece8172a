"""Subscribers who are cut off and come back for what they have missed."""

import asyncio
from argparse import Namespace, _ArgumentGroup
from time import monotonic

from loadtest.client import ClientContext
from loadtest.context import WorkerContext
from loadtest.measures import Measures
from loadtest.pace import until_all
from loadtest.publishing import PUBLISHING, Publishing, add_publishing, wrong_publishing
from loadtest.schedule import constant, dealt
from loadtest.sockets import ConnectFailed

__all__ = ["HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "a broadcast of which a share of the readers is cut off again and again, and comes back with its position"
MEASURES = PUBLISHING | Measures(
    ("cuts", "returned", "recovered", "not_recovered", "epochs_changed", "delivered_recovery"),
    ("resume", "recovery"),
)


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    add_publishing(parser)
    parser.add_argument(
        "--roaming", type=float, default=0.2, help="share of the clients that come and go (default 0.2)"
    )
    parser.add_argument("--cuts", type=float, default=20.0, help="connections that are cut a second (default 20)")
    parser.add_argument("--away", type=float, default=0.5, help="seconds until it comes back (default 0.5)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    wrong = wrong_publishing(options) + ([] if 0 < options.roaming < 1 else ["--roaming: between 0 and 1"])
    if options.publishers > 1 and options.target != "sluice":
        wrong.append(
            "--publishers: one: a client comes back with the last message it had, which several do not have"
        )
    if any(len(user["topics"]) > 1 for user in options.user_rows):
        wrong.append("--users: one topic for each in this scenario")
    return wrong + [f"--{name}: must be above 0" for name in ("cuts", "away") if getattr(options, name) <= 0]


async def run(context: WorkerContext) -> None:
    """Publish while the roaming come and go; nothing may be missing in anybody's account."""
    options = context.options
    publishing = Publishing(context)
    first_roaming = round(options.clients * (1 - options.roaming))
    subscribe = publishing.divided(first_roaming, "recovery")
    context.phase(f"connecting {options.clients:,} clients")
    clients = await context.connect(context.mine(options.clients), options.at_once, publishing.topic_of, subscribe)
    staying = [client for client in clients if client.number < first_roaming]
    roaming = Roaming(context, [client for client in clients if client.number >= first_roaming])
    senders = await publishing.senders(staying or clients)
    try:
        begin = await context.begin()
        context.phase(f"publishing {options.rate} messages a second, {options.cuts:g} cuts a second")
        async with asyncio.TaskGroup() as group:
            group.create_task(publishing.publish(begin, senders))
            group.create_task(roaming.run(begin))
        await publishing.settle()
        await until_all(lambda: all(client.has_all for client in roaming.clients), options.settle)
    finally:
        for audience in publishing.others:
            audience.close()
        publishing.close()
    for client in (*staying, *roaming.clients):
        client.leave()


class Roaming:
    """The clients that come and go."""

    def __init__(self, context: WorkerContext, clients: list[ClientContext]) -> None:
        self._context = context
        self.clients = clients

    async def run(self, begin: float) -> None:
        """Cut one after another by the clock."""
        context, options = self._context, self._context.options
        if not self.clients:
            return
        if context.target.POSITION is not None:
            await until_all(lambda: any(map(self._may_go, self.clients)), options.settle)
            begin = max(begin, monotonic())
        # The last of them are back before the end.
        schedule = constant(options.cuts, max(0.1, options.duration - options.away - 1.0))
        times = dealt(context.times(schedule), context.link.index, context.link.count)
        await context.by_clock(times, begin, self._one, len(self.clients))

    async def _one(self, number: int, due: float) -> None:
        context, tally = self._context, self._context.tally
        place = self._next_present(number // context.link.count)
        if place is None:
            tally.error("resume: no client was there to be cut; more --clients or --roaming")
            return
        client = self.clients[place]
        context.account.started()
        client.cut()
        tally.count("cuts")
        await asyncio.sleep(context.options.away)
        back = monotonic()
        try:
            topic = client.members[0].audience.topic
            again = await context.client(client.number, topic, since=client.since)
            position = await context.answered(again.come_back(client))
        except ConnectFailed as error:
            tally.error(f"resume: {error}")
            return
        self.clients[place] = again
        context.account.made()
        tally.count("returned")
        tally.latency("resume", back, monotonic())
        if position.epoch != client.position.epoch:
            tally.count("epochs_changed")
        if position.recovered is not None:
            tally.count("recovered" if position.recovered else "not_recovered")

    def _next_present(self, place: int) -> int | None:
        """Return the place of a client that is connected, the next from ``place`` on."""
        total = len(self.clients)
        places = ((place + more) % total for more in range(total))
        return next((one for one in places if self._may_go(self.clients[one])), None)

    def _may_go(self, client: ClientContext) -> bool:
        # Where a position is part of a message, a client that has had none has no place to come back to.
        knows = self._context.target.POSITION is None or any(member.had for member in client.members)
        return knows and not client.socket.closed
