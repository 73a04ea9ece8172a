"""Subscribers who are cut off and come back for what they have missed."""

import asyncio
from argparse import Namespace, _ArgumentGroup
from time import monotonic

from loadtest.client import Client
from loadtest.context import Context
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
    return wrong + [f"--{name}: must be above 0" for name in ("cuts", "away") if getattr(options, name) <= 0]


async def run(context: Context) -> None:
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
        await until_all(lambda: all(_has_all(client) for client in roaming.clients), options.settle)
    finally:
        for audience in publishing.others:
            audience.close()
        publishing.close()
    for client in (*staying, *roaming.clients):
        client.leave()


def _has_all(client: Client) -> bool:
    return client.member is None or client.member.has(client.member.audience.head)


class Roaming:
    """The clients that come and go."""

    def __init__(self, context: Context, clients: list[Client]) -> None:
        self._context = context
        self.clients = clients

    async def run(self, begin: float) -> None:
        """Cut one after another by the clock."""
        context, options = self._context, self._context.options
        if not self.clients:
            return
        # The last of them are back before the end.
        schedule = constant(options.cuts, max(0.1, options.duration - options.away - 1.0))
        times = dealt(context.times(schedule), context.crew.index, context.crew.count)
        await context.by_clock(times, begin, self._one, len(self.clients))

    async def _one(self, number: int, due: float) -> None:
        context, tally = self._context, self._context.tally
        place = self._next_present(number // context.crew.count)
        if place is None:
            tally.error("resume: no client was there to be cut; more --clients or --roaming")
            return
        client = self.clients[place]
        member = client.member
        assert member is not None
        context.account.started()
        client.cut()
        tally.count("cuts")
        await asyncio.sleep(context.options.away)
        back = monotonic()
        try:
            again = await context.client(client.number, member.audience.topic)
            again.position = client.position
            epoch = client.position.epoch
            position = await context.answered(again.subscribe(member.audience, member))
        except ConnectFailed as error:
            tally.error(f"resume: {error}")
            return
        self.clients[place] = again
        context.account.made()
        tally.count("returned")
        tally.latency("resume", back, monotonic())
        if position.epoch != epoch:
            # Offsets of another epoch have nothing to do with those before.
            tally.count("epochs_changed")
            member.expected = position.offset + 1
        tally.count("recovered" if position.recovered else "not_recovered")

    def _next_present(self, place: int) -> int | None:
        """Return the place of a client that is connected, the next from ``place`` on."""
        total = len(self.clients)
        places = ((place + more) % total for more in range(total))
        return next((one for one in places if not self.clients[one].socket.closed), None)
