"""Servers of the supervisor: where they listen, and how they end."""

import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["CannotListen", "announce", "listening"]

_FAREWELL = 2.0
"""Seconds that requests under way have to take the last of their answer."""


class CannotListen(Exception):
    """The port cannot be opened; the text says why."""


@asynccontextmanager
async def listening(app: web.Application, name: str, options: Namespace) -> AsyncIterator[str]:
    """Serve an application at ``--NAME-port`` while the block runs; yields its address, or raises CannotListen.

    At the end, open requests get two seconds to finish.
    """
    host, port = getattr(options, f"{name}_host"), getattr(options, f"{name}_port")
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_FAREWELL)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            hint = f"; --{name}-port 0 takes any free port" if port else ""
            raise CannotListen(f"--{name}-port: cannot listen on {host}:{port}: {why}{hint}") from None
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def announce(what: str, address: str) -> None:
    """Say where something is, quiet or not: its port may be any."""
    print(f"loadtest: {what} at {address}", file=sys.stderr, flush=True)  # noqa: T201
