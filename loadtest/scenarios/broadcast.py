"""Publish to many subscribers, and account for every single delivery.

Latency counts from the time at which a message was *meant* to be published, to each client.
"""

from argparse import Namespace, _ArgumentGroup

from loadtest.context import WorkerContext
from loadtest.crashes import CRASHING, wrong_crashes
from loadtest.measures import Measures
from loadtest.publishing import PUBLISHING, Publishing, add_publishing, wrong_publishing
from loadtest.returning import Returning

__all__ = ["HELP", "MEASURES", "add_options", "measures", "run", "validate"]

HELP = "publish to N subscribers: delivery latency, and what was lost, repeated or out of order"
MEASURES = PUBLISHING


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    add_publishing(parser)
    parser.add_argument(
        "--crash",
        default="",
        metavar="PID|COMMAND",
        help="kill the service during the run: a process that something else starts again, or a command that is "
        "started here; nothing that was acknowledged may be missing",
    )
    parser.add_argument("--crashes", type=int, default=3, metavar="N", help="with --crash: how often (default 3)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return wrong_publishing(options) + wrong_crashes(options)


def measures(options: Namespace) -> Measures:
    """Return what is measured, which is more with crashes."""
    return MEASURES | CRASHING if options.crash else MEASURES


async def run(context: WorkerContext) -> None:
    """Connect the subscribers, publish, wait for the last, and make up the accounts."""
    options, tally = context.options, context.tally
    publishing = Publishing(context)
    context.phase(f"connecting {options.clients:,} clients")
    numbers = context.mine(options.clients)
    clients = await context.connect(numbers, options.at_once, publishing.topic_of, publishing.subscribe)
    senders = await publishing.senders(clients)
    returning = Returning(context, clients) if getattr(options, "crash", "") else None
    if returning is not None:
        publishing.send = returning.publish
    try:
        begin = await context.begin()
        context.phase(f"publishing {options.rate} messages a second to {len(publishing.topics):,} topics")
        await publishing.publish(begin, senders)
        await publishing.settle()
        if returning is not None:
            clients = returning.clients
        tally.count("held", sum(not client.socket.closed for client in clients))
    finally:
        if returning is not None:
            returning.close()
        # An interrupted run has its accounts, too.
        publishing.close()
    for client in clients:
        client.leave()
