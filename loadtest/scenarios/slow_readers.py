"""Some subscribers stop reading, and the rest is measured: nobody else may notice."""

from argparse import Namespace, _ArgumentGroup

from loadtest.client import ClientContext
from loadtest.context import WorkerContext
from loadtest.measures import Measures
from loadtest.pace import until_all
from loadtest.publishing import PUBLISHING, Publishing, add_publishing, wrong_publishing

__all__ = ["HELP", "MEASURES", "add_options", "run", "validate"]

HELP = (
    "a broadcast of which a share of the readers takes nothing: what the others see, and what happens to the slow"
)
MEASURES = PUBLISHING | Measures(
    ("slow", "slow_cut", "slow_lost", "slow_told", "slow_complete", "delivered_slow"), ("slow",)
)


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    add_publishing(parser)
    parser.add_argument(
        "--slow", type=float, default=0.1, help="share of the clients that stop reading (default 0.1)"
    )


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return wrong_publishing(options) + ([] if 0 < options.slow < 1 else ["--slow: between 0 and 1"])


async def run(context: WorkerContext) -> None:
    """Stall the slow ones once all are in; read on at the end, and see which gaps they get."""
    options, tally = context.options, context.tally
    publishing = Publishing(context)
    first_slow = round(options.clients * (1 - options.slow))
    subscribe = publishing.divided(first_slow, "slow")
    context.phase(f"connecting {options.clients:,} clients")
    clients = await context.connect(context.mine(options.clients), options.at_once, publishing.topic_of, subscribe)
    slow = [client for client in clients if client.number >= first_slow]
    readers = [client for client in clients if client.number < first_slow]
    senders = await publishing.senders(readers or clients)
    try:
        begin = await context.begin()
        for client in slow:
            # Being cut is what may happen to them: it is counted below, and no error.
            client.socket.on_close = client.gone
            context.intake.epoll.release(client.socket)
        tally.count("slow", len(slow))
        context.phase(f"publishing {options.rate} messages a second; {len(slow):,} clients read nothing")
        await publishing.publish(begin, senders)
        await publishing.settle()
        await _wake(context, slow)
        tally.count("held", sum(not client.socket.closed for client in readers))
    finally:
        publishing.close()
    for client in clients:
        client.leave()


async def _wake(context: WorkerContext, slow: list[ClientContext]) -> None:
    """Read on, and count each: cut, notified of a gap, complete, or short of messages in silence."""
    context.phase("reading on")
    for client in slow:
        if not client.socket.closed:
            context.intake.epoll.add(client.socket)
    await until_all(lambda: all(_done(client) for client in slow), context.options.settle)
    for client in slow:
        if client.socket.closed:
            context.tally.count("slow_cut")
        elif not client.has_all:
            context.tally.count("slow_lost")
        else:
            context.tally.count("slow_told" if any(member.gaps for member in client.members) else "slow_complete")


def _done(client: ClientContext) -> bool:
    return client.socket.closed or client.has_all
