"""The options of ``sluice job``."""

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter, _SubParsersAction
from contextlib import suppress
from math import inf
from typing import Final

__all__ = ["add_options"]

_STATES: Final = ("scheduled", "queued", "running", "done", "failed", "cancelled")
_EXAMPLES: Final = """examples:
  sluice job submit --delay 1800 --key expire-17 call https://shop.example/orders/17/expire
  sluice job submit run transcode '{"video": "a.mkv"}' --follow
  sluice job list --state failed
  sluice job follow ID

exit code: 0 done; 1 it failed, or was refused; 2 bad usage; 3 the job that was followed was cancelled;
130 interrupted, which leaves the job as it is; 141 the reader of the output has gone
"""


def add_options(parser: ArgumentParser) -> None:
    """Add the commands and their options."""
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_submit(actions)
    listing = _action(actions, "list", "list your jobs, the newest first")
    listing.add_argument("--state", choices=_STATES, help="only those in this state")
    listing.add_argument("--limit", type=_count, default=50, metavar="N", help="at most this many (default 50)")
    for name, text in (
        ("show", "print the state of a job"),
        ("cancel", "cancel a job, and stop it if it runs"),
        ("follow", "print the events of a job until it has ended"),
    ):
        _action(actions, name, text).add_argument("id", help="of the job")


def _seconds(text: str) -> float:
    """Read a number of seconds; JSON has no infinity and no NaN."""
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < inf:
            return seconds
    raise ArgumentTypeError(f"{text!r} is not a number of seconds")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise ArgumentTypeError(f"{text!r} is not a number from 1 on")


def _action(actions: "_SubParsersAction[ArgumentParser]", name: str, text: str) -> ArgumentParser:
    action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    _add_common(action)
    return action


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument("--url", help="of the service (default: SLUICE_URL, or http://127.0.0.1:8080)")
    parser.add_argument("--json", action="store_true", help="print the service's JSON unchanged")


def _add_submit(actions: "_SubParsersAction[ArgumentParser]") -> None:
    """Add the command whose options may stand before the kind of work, and after it."""
    submit = _action(actions, "submit", "submit work for now or later; prints the id of the job")
    _add_request(submit)
    # What is not given after the kind leaves alone what was given before it.
    shared = ArgumentParser(add_help=False, argument_default=SUPPRESS)
    _add_common(shared)
    _add_request(shared)
    _add_kinds(submit, shared)


def _add_request(parser: ArgumentParser) -> None:
    due = parser.add_mutually_exclusive_group()
    due.add_argument("--delay", type=_seconds, metavar="SECONDS", help="from now")
    due.add_argument("--at", metavar="TIME", help="such as 2026-12-24T18:00:00Z")
    parser.add_argument("--key", help="idempotency key: the same key gives the same job")
    parser.add_argument("--retries", type=int, metavar="N", help="how often a failed attempt is repeated")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="time limit of one attempt")
    parser.add_argument("--keep", type=_seconds, metavar="SECONDS", help="how long it can be read after its end")
    parser.add_argument("--follow", action="store_true", help="print its events until it has ended")


def _add_kinds(submit: ArgumentParser, shared: ArgumentParser) -> None:
    kinds = submit.add_subparsers(dest="kind", required=True, metavar="KIND")
    call = kinds.add_parser("call", help="make an HTTP request", parents=[shared])
    call.add_argument("target", metavar="URL")
    call.add_argument("--method", help="default POST")
    call.add_argument("-H", "--header", action="append", default=[], metavar="NAME: VALUE", help="repeatable")
    call.add_argument("--body", metavar="TEXT", help="sent as it is, or as JSON where it is an array or an object")
    publish = kinds.add_parser("publish", help="publish a message", parents=[shared])
    publish.add_argument("topic")
    publish.add_argument("data", metavar="JSON")
    fetch = kinds.add_parser("fetch", help="fetch URLs as a batch", parents=[shared])
    fetch.add_argument("urls", nargs="+", metavar="URL")
    run = kinds.add_parser("run", help="run a function of the service's operator", parents=[shared])
    run.add_argument("name")
    run.add_argument("args", nargs="?", metavar="JSON", help="an array of positions, or an object of keywords")
