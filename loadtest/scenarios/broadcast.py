"""Publish to many subscribers, and account for every single delivery.

Latency counts from the time at which a message was *meant* to be published, to each client.
"""

from loadtest.context import Context
from loadtest.publishing import PUBLISHING, Publishing, add_publishing, wrong_publishing

__all__ = ["HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "publish to N subscribers: delivery latency, and what was lost, repeated or out of order"
MEASURES = PUBLISHING

add_options, validate = add_publishing, wrong_publishing


async def run(context: Context) -> None:
    """Connect the subscribers, publish, wait for the last, and make up the accounts."""
    options, tally = context.options, context.tally
    publishing = Publishing(context)
    context.phase(f"connecting {options.clients:,} clients")
    numbers = context.mine(options.clients)
    clients = await context.connect(numbers, options.at_once, publishing.topic_of, publishing.subscribe)
    senders = await publishing.senders(clients)
    try:
        begin = await context.begin()
        context.phase(f"publishing {options.rate} messages a second to {len(publishing.topics):,} topics")
        await publishing.publish(begin, senders)
        await publishing.settle()
        tally.count("held", sum(not client.socket.closed for client in clients))
    finally:
        # An interrupted run has its accounts, too.
        publishing.close()
    for client in clients:
        client.leave()
