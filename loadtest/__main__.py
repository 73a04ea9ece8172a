"""The command line: ``python -m loadtest SCENARIO``."""

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from types import ModuleType

import orjson
import uvloop

from loadtest import demo
from loadtest.context import CannotRun, Context, raise_descriptors
from loadtest.html import render
from loadtest.live import Display
from loadtest.origin import serve_origin
from loadtest.report import Report
from loadtest.scenarios import SCENARIOS
from loadtest.sockets import place_of
from loadtest.thresholds import parse_threshold

__all__ = ["main"]

PASSED, FAILED_TO_RUN, BAD_USAGE, THRESHOLD_FAILED = 0, 1, 2, 99


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a scenario and return its exit code: 0 passed, 1 failed to run, 2 bad usage, 99 a threshold failed."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if options.scenario == "origin":
                return runner.run(_origin(options.host, options.port))
            scenario = demo if options.scenario == "demo" else SCENARIOS[options.scenario]
            wrong = _wrong(options, scenario)
            if wrong:
                print(*wrong, sep="\n", file=sys.stderr)
                return BAD_USAGE
            return _run(runner, scenario, options, "python -m loadtest " + shlex.join(arguments))
    except KeyboardInterrupt:
        return FAILED_TO_RUN


def _run(runner: asyncio.Runner, scenario: ModuleType, options: argparse.Namespace, command: str) -> int:
    report = Report(options.scenario, command)
    display = Display(report)
    context = Context(options, report, display.tell)
    code = PASSED
    try:
        with display.shown():
            raise_descriptors(scenario.sockets(options))
            runner.run(scenario.run(context))
    except CannotRun as error:
        report.notes.append(str(error))
        code = FAILED_TO_RUN
    except KeyboardInterrupt:
        report.notes.append("interrupted: the report covers what was done until then")
        code = FAILED_TO_RUN
    report.elapsed = monotonic() - context.began
    held = report.judge([parse_threshold(text) for text in options.threshold])
    _write(report, options)
    for line in demo.summary(context) if scenario is demo else _summary(report):
        print(line)
    for verdict in report.verdicts:
        if not verdict.passed:
            print(f"FAILED {verdict.threshold}: {'not measured' if verdict.value is None else verdict.value}")
    for note in report.notes:
        print(f"loadtest: {note}", file=sys.stderr)
    return code or (PASSED if held else THRESHOLD_FAILED)


def _write(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        Path(options.json).write_bytes(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2))
    if options.html:
        Path(options.html).write_text(render(report), encoding="utf-8")


def _summary(report: Report) -> list[str]:
    lines = [f"{name:24}{value:>14,.0f}" for name, value in report.counters.items()]
    for name, histogram in report.latencies.items():
        summary = histogram.summary()
        parts = "  ".join(f"{part} {summary[part]:,.1f}" for part in ("p50", "p90", "p99", "p999", "max"))
        lines.append(f"{name + ' ms':24}{parts}  of {summary['count']:,.0f}")
    checks = report.document()["checks"]
    lines.append("checks                  " + ", ".join(f"{name} {count}" for name, count in checks.items()))
    lines += [f"error: {text}: {count:,}" for text, count in report.errors.items()]
    return lines


def _wrong(options: argparse.Namespace, scenario: ModuleType) -> list[str]:
    """Return everything that is wrong with the options, a line each."""
    wrong = [] if options.clients > 0 else ["--clients: must be above 0"]
    if options.duration <= 0:
        wrong.append("--duration: must be above 0")
    wrong += [f"--header: {text!r} is not like Name: value" for text in options.header if ":" not in text]
    try:
        place_of(options.url, "/ws", {})
    except ValueError as error:
        wrong.append(str(error))
    for text in options.threshold:
        try:
            parse_threshold(text)
        except ValueError as error:
            wrong.append(str(error))
    return wrong + list(scenario.validate(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtest", description="Load a sluice service and prove both ends.")
    names = parser.add_subparsers(dest="scenario", required=True, metavar="SCENARIO")
    for name, scenario in {**SCENARIOS, "demo": demo}.items():
        one = names.add_parser(name, help=scenario.HELP, description=scenario.HELP)
        in_demo = name == "demo"
        one.add_argument(
            "--url", default="http://127.0.0.1:8080", help="the service (default http://127.0.0.1:8080)"
        )
        one.add_argument("--clients", type=int, default=10_000 if in_demo else 1000, help="WebSocket clients")
        one.add_argument("--duration", type=float, default=10.0, help="seconds (default 10)")
        one.add_argument("--json", default="demo-report.json" if in_demo else "", help="write the report as JSON")
        one.add_argument("--html", default="demo-report.html" if in_demo else "", help="write the report as HTML")
        one.add_argument("--threshold", action="append", default=[], help='repeatable, like "delivery_p99_ms<250"')
        one.add_argument("--token", default="", help="bearer token for the service")
        one.add_argument("--header", action="append", default=[], help="repeatable, like 'Name: value'")
        scenario.add_options(one)
    origin = names.add_parser("origin", help="run the simulated upstream", description=serve_origin.__doc__)
    origin.add_argument("--host", default="127.0.0.1")
    origin.add_argument("--port", type=int, default=9000)
    return parser


async def _origin(host: str, port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await serve_origin(host, port)
    except OSError as error:
        print(f"origin: cannot listen on {host}:{port}: {error.strerror}; choose another --port", file=sys.stderr)
        return FAILED_TO_RUN
    print(f"origin listening on http://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()
    return PASSED


if __name__ == "__main__":
    sys.exit(main())
