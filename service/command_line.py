"""The command line: the options of all commands, and which command runs."""

import argparse
import gc
import os
from collections.abc import Callable, Sequence
from typing import Final

from service import __version__
from service.commands import count, data, fetch, job, token
from service.config.configuration import SettingsError, add_options, read_settings, shown
from service.config.settings import Settings
from service.ops.logs import complain
from service.ops.standard_streams import run

__all__ = ["run_command"]

_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "fetch": fetch.fetch,
    "count": count.count,
    "token": token.token,
    "job": job.run,
    **dict.fromkeys(data.COMMANDS, data.run),
}
"""Those that do not serve."""


def run_command(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; what it prints may have no reader."""
    return run("sluice", lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
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
    serve.add_argument("--print-config", action="store_true", help="print all settings as variables, and exit")
    serve.add_argument(
        "--check-config", action="store_true", help="report what is wrong with the settings, and exit"
    )
    fetch.add_options(commands.add_parser("fetch", help="fetch URLs from the terminal"))
    count.add_options(commands.add_parser("count", help="count the keys of lines of files"))
    trying = commands.add_parser(
        "token",
        help="make a signed token for trying out",
        description="Print a signed token (JWT) for clients of a service that has the secret, or the public half "
        "of the key. It grants what is named here and nothing else.",
        epilog="Exit code: 0 done, 2 bad usage. Example: SLUICE_JWT_SECRET_FILE=secret sluice token --sub ann "
        "--subscribe 'news.*' --fetch '*.example.org'",
    )
    token.add_options(trying)
    data.add_parsers(commands)
    job.add_options(commands.add_parser("job", help="submit, list, follow and cancel jobs of a running service"))
    options = parser.parse_args(arguments)
    if options.command in _COMMANDS:
        return _COMMANDS[options.command](options)
    try:
        settings = read_settings(vars(options))
    except SettingsError as error:
        complain(getattr(options, "log_format", os.environ.get("SLUICE_LOG_FORMAT")), *str(error).splitlines())
        return 2
    if options.print_config:
        print(shown(settings))
    if options.print_config or options.check_config:
        return 0
    return _serve(settings, lambda: read_settings(vars(options)))


def _serve(settings: Settings, read_again: Callable[[], Settings]) -> int:
    """Import the server and run it: the other commands, and refusals, start in a quarter of the time without it."""
    # Nothing that an import makes is garbage, and looking for some would be a fifth of its time.
    gc.disable()
    try:
        from service.serving import serve
    finally:
        gc.enable()
    return serve(settings, read_again)
