"""The command line: ``python -m service serve``."""

import argparse
import asyncio
import errno
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence

import uvloop

from service import __version__, fetch, token
from service.app import running
from service.logs import Logs
from service.settings import Settings, SettingsError, add_options, read_settings, shown

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed to run, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="sluice", description="One event loop between the web and ten thousand sockets."
    )
    parser.add_argument("--version", action="version", version=f"sluice {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the service",
        description="Run the service until SIGTERM or Ctrl-C. Every option is also an environment variable.",
        # Else --jwt-secret would be --jwt-secret-file, and a secret in the list of processes.
        allow_abbrev=False,
    )
    add_options(serve)
    serve.add_argument("--print-config", action="store_true", help="print all settings as an environment, and end")
    serve.add_argument("--check-config", action="store_true", help="say what is wrong with the settings, and end")
    batch = commands.add_parser(
        "fetch",
        help="fetch URLs from the terminal",
        description="Fetch URLs, with the limits and the address guard of the service. One line of JSON for each "
        "on standard output as it finishes, and a last one with the counts; progress on standard error.",
        epilog="Exit code: 0 all were fetched, 1 some failed or were answered 400 and more, 2 bad usage, "
        "130 interrupted.",
    )
    fetch.add_options(batch)
    trying = commands.add_parser(
        "token",
        help="make a signed token for trying out",
        description="Print a signed token (JWT) for clients of a service that has the secret, or the public half "
        "of the key. It grants what is named here and nothing else.",
        epilog="Exit code: 0 done, 2 bad usage. Example: SLUICE_JWT_SECRET_FILE=secret sluice token --sub ann "
        "--subscribe 'news.*' --fetch '*.example.org'",
    )
    token.add_options(trying)
    options = parser.parse_args(arguments)
    if options.command == "fetch":
        return fetch.fetch(options)
    if options.command == "token":
        return token.token(options)
    try:
        settings = read_settings(vars(options))
    except SettingsError as error:
        print(*(f"sluice: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return 2
    if options.print_config:
        print(shown(settings))
    return 0 if options.print_config or options.check_config else _serve(settings)


def _serve(settings: Settings) -> int:
    logs = Logs()
    logs.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_stopped(settings))
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            print(f"sluice: {where} is in use: stop what listens there, or choose another --port", file=sys.stderr)
        else:
            print(f"sluice: cannot start on {where}: {error}", file=sys.stderr)
        return 1
    finally:
        logs.stop()


async def _until_stopped(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            # The second time somebody means it.
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with running(settings) as service:
        _settle_memory()
        scheme = "https" if settings.tls_cert else "http"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"sluice listening on {scheme}://{host}:{service.port}", flush=True)
        await stop.wait()
        await service.drain()
    return 0


def _settle_memory() -> None:
    """Keep the collector from walking over everything that lives as long as the process.

    With Python's defaults, 10,000 connects spend 40 % of their time in collections that free nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


if __name__ == "__main__":
    sys.exit(main())
