"""Connect many clients and hold them."""

import asyncio
from argparse import ArgumentParser, Namespace

from loadtest.context import Context
from loadtest.sockets import Socket

__all__ = ["HELP", "add_options", "run", "sockets", "validate"]

HELP = "connect N WebSocket clients and hold them for the duration"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--at-once", type=int, default=500, help="handshakes at a time (default 500)")
    parser.add_argument("--topic", default="", help="subscribe every client to this topic (default none)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return [] if options.at_once > 0 else ["--at-once: must be above 0"]


def sockets(options: Namespace) -> int:
    """Return how many sockets it needs."""
    return int(options.clients)


async def run(context: Context) -> None:
    """Connect, hold, and count who was dropped."""
    options, report = context.options, context.report

    def dropped(socket: Socket) -> None:
        report.count("dropped")
        report.error(socket.why)

    async def prepare(socket: Socket) -> None:
        socket.on_close = dropped
        if options.topic:
            await socket.call("subscribe", topic=options.topic)
        else:
            # Credentials are refused after the upgrade: only an answer says that the client is in.
            await socket.call("ping")

    report.count("dropped", 0)
    clients = await context.connect(options.clients, options.at_once, prepare)
    context.phase = f"holding {len(clients):,} clients"
    await context.ticking(
        asyncio.sleep(options.duration), lambda: {"clients": sum(not socket.closed for socket in clients)}
    )
    report.count("held", sum(not socket.closed for socket in clients))
    for socket in clients:
        socket.close()
