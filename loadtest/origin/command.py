"""``python -m loadtest origin``, which needs nothing of the extra ``loadtest`` and starts without it."""

import asyncio
import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

import uvloop

from loadtest import origin
from loadtest.origin.protocol import serve_origin
from service.ops.standard_streams import greet, run

__all__ = ["HELP", "add_options", "main"]

HELP = "run the simulated upstream"
_STOPPED = 1


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 ended by a signal, 1 failed to run, 2 bad usage."""
    return run("loadtest", lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    parser = ArgumentParser(prog="loadtest origin")
    add_options(parser)
    options = parser.parse_args(arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_serve(options))
        except KeyboardInterrupt:
            return _STOPPED


def add_options(parser: ArgumentParser) -> None:
    """Declare the options; the help has the table of paths."""
    parser.description = origin.__doc__
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9000, help="port (default 9000; 0 takes a free one)")
    parser.add_argument("--latency", default="0", help="distribution of milliseconds for /page (default 0)")
    parser.add_argument("--size", default="1024", help="distribution of bytes for /page (default 1024)")


async def _serve(options: Namespace) -> int:
    """Serve until a signal; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await serve_origin(options.host, options.port, options.latency, options.size)
    except ValueError as error:
        print(f"origin: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        where = f"{options.host}:{options.port}"
        print(f"origin: cannot listen on {where}: {error.strerror}; choose another --port", file=sys.stderr)  # noqa: T201
        return 1
    greet(f"origin listening on http://{options.host}:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()
    return 0
