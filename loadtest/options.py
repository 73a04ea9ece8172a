"""The command line's options: those of every scenario here, a scenario's own in its module."""

import os
import re
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Callable
from math import inf
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from loadtest.clock import settle_start
from loadtest.custom import is_file
from loadtest.endpoint import endpoint_of
from loadtest.exports import EXPORTS
from loadtest.files import read_users
from loadtest.headers import TOKEN_VARIABLE, settle_token
from loadtest.measures import Measures
from loadtest.recognition import finder
from loadtest.schedule import parse_rate, parse_stages
from loadtest.single_option import SingleOption
from loadtest.targets import TARGETS, unable
from loadtest.thresholds import parse_threshold

__all__ = ["add_common", "add_files", "add_origin", "measures_of", "plan", "wrong_outputs", "wrong_with"]

_OPEN = (
    "open: by the clock, latency from the intended time (default); closed: each client asks when it has its answer"
)
_STAGED = frozenset({"broadcast", "echo", "churn", "resume", "slow-readers"})


def add_common(parser: ArgumentParser, **defaults: object) -> None:
    """Declare what every scenario takes."""
    where = parser.add_argument_group("where")
    where.add_argument(
        "--url",
        action=SingleOption,
        default="http://127.0.0.1:8080",
        help="the server (default http://127.0.0.1:8080)",
    )
    kinds = "; ".join(f"{name}: {target.HELP}" for name, target in TARGETS.items())
    where.add_argument(
        "--target", default="sluice", help=f"{kinds}; or an adapter of your own: ./mine.py or module:Class"
    )
    where.add_argument(
        "--path", default="", help="where clients connect (default: the target's own); {topic} is the topic's name"
    )
    where.add_argument(
        "--join", default="", help="how targets subscribe that have no one way; {topic} is the topic's name"
    )
    where.add_argument(
        "--joined", default="", help="regular expression of the answer to --join (default: none is awaited)"
    )
    where.add_argument(
        "--say",
        default="",
        help="how they publish: {data} is the JSON of a message, {text} the same as a string, {n} its number",
    )
    where.add_argument(
        "--recognise",
        default="",
        help="where the server puts a message's number or its word: $.data.id, /data/id or a regular expression",
    )
    where.add_argument(
        "--publish-path",
        default="",
        help="where targets that publish over HTTP POST to; {topic} is the topic's name",
    )
    where.add_argument(
        "--header", action="append", default=[], help="repeatable, like 'Name: value'; Host takes the place of ours"
    )
    where.add_argument(
        "--server-pid", type=int, default=0, help="the server's process, where its port does not tell"
    )
    where.add_argument("--compress", action="store_true", help="offer permessage-deflate to the server")
    _add_credentials(parser.add_argument_group("credentials and TLS"))

    load = parser.add_argument_group("how much")
    load.add_argument("--clients", type=int, default=1000, help="WebSocket clients (default %(default)s)")
    load.add_argument("--duration", type=float, default=10.0, help="seconds of load (default 10)")
    load.add_argument("--rate", default="10", help="things a second: 100, 10..200 (a ramp) or 10,50,100 (steps)")
    load.add_argument(
        "--stage",
        action="append",
        default=[],
        help="repeatable, in place of --rate and --duration: 30s:1000 goes to 1000 a second in 30 s",
    )
    load.add_argument(
        "--users",
        default="",
        help="CSV or JSONL: token, login, path, headers (header.NAME), topics, messages of each client in turn",
    )
    load.add_argument("--arrivals", choices=("even", "poisson"), default="even", help="evenly spread or at random")
    load.add_argument("--seed", type=int, default=1, help="of what is random (default 1)")
    load.add_argument("--model", choices=("open", "closed"), default="open", help=_OPEN)
    load.add_argument(
        "--think", type=float, default=0.0, help="closed model: seconds between two requests (default 0)"
    )
    load.add_argument("--at-once", type=int, default=500, help="handshakes at a time (default 500)")
    load.add_argument("--connect-timeout", type=float, default=30.0, help="seconds for one connection (default 30)")
    load.add_argument("--answer-timeout", type=float, default=10.0, help="seconds for one answer (default 10)")
    load.add_argument("--settle", type=float, default=10.0, help="most seconds to wait for the last (default 10)")
    load.add_argument(
        "--start-at",
        default="",
        help="begin the load then, on several machines: 2026-11-27T09:30:00Z, or since 1970",
    )
    load.add_argument("--processes", type=int, default=1, help="worker processes that share the plan (default 1)")

    result = parser.add_argument_group("results")
    result.add_argument(
        "--warm-up", type=float, default=None,
        help="first seconds whose latencies do not count (default: a tenth, at most 5; none below 5 s of duration)",
    )  # fmt: skip
    result.add_argument(
        "--rounds", type=int, default=1, help="repeat all of it; `loadtest compare` needs 4 (default 1)"
    )
    result.add_argument("--abort-on-fail", action="store_true", help="stop when an upper bound is broken")
    for name, does in (
        ("metrics", "answer GET /metrics for Prometheus during the run"),
        ("live", "serve the report as a page while it runs"),
    ):
        result.add_argument(f"--{name}-port", type=int, default=None, help=f"{does}; 0: any free port")
        result.add_argument(f"--{name}-host", default="127.0.0.1", help="where that listens (default 127.0.0.1)")
    result.add_argument("--quiet", action="store_true", help="say nothing but what failed")
    add_files(result)
    parser.set_defaults(**defaults)


def _add_credentials(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--token", default="", help="bearer token; others of this machine can see it in the process list"
    )
    group.add_argument("--token-file", default="", help="file with the token")
    group.add_argument("--token-env", default="", help=f"variable with the token (without one: {TOKEN_VARIABLE})")
    group.add_argument(
        "--metrics-credentials", action="store_true", help="show token and headers to the server's /metrics, too"
    )
    group.add_argument("--ca", default="", help="PEM file of the authorities to trust, instead of the system's")
    group.add_argument("--cert", default="", help="PEM file of a client certificate")
    group.add_argument("--key", default="", help="PEM file of its key, where --cert has none")
    group.add_argument("--insecure", action="store_true", help="take any certificate")
    group.add_argument("--sni", default="", help="name to ask for in TLS and to check (default: the URL's)")


def add_files(group: _ArgumentGroup | ArgumentParser) -> None:
    """Declare what judges a run, and where its results go."""
    group.add_argument("--threshold", action="append", default=[], help='repeatable, like "delivery_p99_ms<250"')
    group.add_argument("--json", default="", help="write the report as JSON")
    group.add_argument("--html", default="", help="write the report as one HTML file")
    group.add_argument("--junit", default="", help="write each threshold as a test case, in JUnit's XML")
    group.add_argument("--openmetrics", default="", help="write all figures as OpenMetrics (Prometheus) text")
    group.add_argument("--csv", default="", help="write the time line as CSV, a row a second")


def add_origin(parser: ArgumentParser) -> None:
    """Declare where the simulated upstream is."""
    parser.add_argument("--origin", default="http://127.0.0.1:9000", help="upstream; `loadtest origin` is one")


def wrong_with(options: Namespace, scenario: ModuleType) -> list[str]:
    """Return everything that is wrong with the options, a line each; and settle what depends on others."""
    files = _from_files(options)
    above = ("clients", "duration", "at_once", "connect_timeout", "answer_timeout", "processes", "rounds")
    wrong = [
        f"--{name.replace('_', '-')}: must be above 0" for name in above if not 0 < getattr(options, name) < inf
    ]
    wrong += [
        f"--{name}: must not be below 0" for name in ("think", "settle") if not 0 <= getattr(options, name) < inf
    ]
    if options.warm_up is None:
        options.warm_up = min(5.0, options.duration / 10) if options.duration >= 5 else 0.0
    elif not 0 <= options.warm_up < options.duration:
        wrong.append("--warm-up: from 0 to below --duration")
    for name in ("metrics_port", "live_port"):
        if not 0 <= (getattr(options, name) or 0) <= 65535:
            wrong.append(f"--{name.replace('_', '-')}: from 0 to 65535")
    wrong += settle_start(options)
    wrong += [*files, *_refused(options), *wrong_outputs(options)]
    wrong += _unable(options)
    if options.processes > options.clients > 0:
        wrong.append("--processes: more than clients")
    wrong += scenario.validate(options)
    return wrong + ([] if wrong else _unmeasured(options, scenario))


def _pattern(text: str) -> None:
    try:
        re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"--joined: {text!r} is not a regular expression: {error}") from None


def measures_of(options: Namespace, scenario: ModuleType) -> Measures:
    """Return what a scenario can measure; a mixed plan, what its parts can."""
    found: Measures = scenario.measures(options) if hasattr(scenario, "measures") else scenario.MEASURES
    return found


def _unmeasured(options: Namespace, scenario: ModuleType) -> list[str]:
    """Return the figures in thresholds that the scenario does not measure."""
    measures = measures_of(options, scenario)
    figures = [name for text in options.threshold for name in parse_threshold(text).names]
    found = [measures.wrong_with(options.scenario, figure) for figure in dict.fromkeys(figures)]
    if urlsplit(options.url).scheme in ("http", "ws"):
        found += [f"--threshold: there is no TLS to {options.url}, so no {figure}" for figure in figures
                  if figure.startswith("tls_")]  # fmt: skip
    return [text for text in found if text is not None]


def wrong_outputs(options: Namespace) -> list[str]:
    """Return what keeps the results from being written: found out before the load is made."""
    wrong, seen = [], dict[Path, str]()
    for name in ("json", "html", *EXPORTS):
        path = Path(getattr(options, name) or ".")
        first = seen.setdefault(path.resolve(), name) if path.is_file() or not path.exists() else name
        if first != name:
            wrong.append(f"--{name}: {path} is the file of --{first}, too")
        if getattr(options, name) and path.is_dir():
            wrong.append(f"--{name}: {path} is a folder")
        elif not path.parent.is_dir():
            wrong.append(f"--{name}: there is no folder {path.parent}")
        elif getattr(options, name) and not os.access(path if path.exists() else path.parent, os.W_OK):
            wrong.append(f"--{name}: {path} cannot be written")
    return wrong


def _from_files(options: Namespace) -> list[str]:
    """Settle users and stages; return what is wrong with them."""
    wrong, options.user_rows = [], []
    try:
        options.user_rows = read_users(options.users) if options.users else []
    except ValueError as error:
        wrong.append(str(error))
    if options.stage and options.scenario not in _STAGED and not is_file(options.scenario):
        return [*wrong, f"--stage: has no place in {options.scenario}; it has in {', '.join(sorted(_STAGED))}"]
    try:
        if options.stage:
            options.duration = parse_stages(options.stage).duration
    except ValueError as error:
        wrong.append(str(error))
    return wrong


def _unable(options: Namespace) -> list[str]:
    """Return what keeps the target from taking part."""
    name = getattr(options, "of", options.scenario)
    try:
        wrong = unable(options.target, name)
    except ValueError as error:
        return [str(error)]
    if options.target == "sluice" and options.recognise:
        return ["--recognise: has no place with the target sluice, which numbers its messages"]
    # The parts of a plan are looked at one by one.
    return [wrong] if wrong and not is_file(name) and name not in ("mixed", "demo") else []


def _refused(options: Namespace) -> list[str]:
    """Return what the parsers of single options say."""

    def rate(text: str) -> object:
        try:
            return parse_rate(text, max(options.duration, 1e-3)) if text else None
        except ValueError as error:
            raise ValueError(f"--rate: {error}") from None

    checks: list[tuple[Callable[[Any], object], object]] = [
        (settle_token, options), (endpoint_of, options), (rate, options.rate), (_pattern, options.joined),
        (finder, options.recognise),
    ]  # fmt: skip
    wrong = []
    for check, text in [*checks, *((parse_threshold, text) for text in options.threshold)]:
        try:
            check(text)
        except ValueError as error:
            wrong.append(str(error))
    return wrong


def plan(options: Namespace, scenario: ModuleType) -> dict[str, object]:
    """Return the options as a worker gets them."""
    return {
        **vars(options),
        "module": options.scenario if is_file(options.scenario) else scenario.__name__,
        "sockets": options.clients + getattr(options, "publishers", 0) + 20,
        "run": token_hex(4),
        "resumes": "resume" in (options.scenario, *(part["scenario"] for part in getattr(options, "parts", ()))),
    }
