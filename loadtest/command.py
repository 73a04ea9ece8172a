"""The command line: ``python -m loadtest SCENARIO``, with everything that its extra installs."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import ModuleType

import uvloop

from loadtest import capacity, compare, custom, demo, merge, mixed
from loadtest.listening import CannotListen
from loadtest.live import Display
from loadtest.masking import Secrets, public_options
from loadtest.options import add_common, add_files, wrong_outputs, wrong_with
from loadtest.origin import command as origin
from loadtest.page.server import watched
from loadtest.report import RunReport
from loadtest.run import Run
from loadtest.scenarios import SCENARIOS as SINGLE
from loadtest.scraping import scraped
from loadtest.self_monitor import descriptors
from loadtest.summary import summary
from loadtest.verdict import COULD_NOT_RUN, Verdict
from loadtest.writing import written
from service.ops.standard_streams import run

__all__ = ["main"]

BAD_USAGE, STOPPED = 2, 1
SCENARIOS = {**SINGLE, "mixed": mixed}
_MORE: dict[str, ModuleType] = {
    "capacity": capacity,
    "demo": demo,
    "compare": compare,
    "merge": merge,
    "origin": origin,
}
"""``origin`` is here for the help: the entrance runs it without this module."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 passed, 1 failed to run, 2 bad usage, 99 a threshold failed."""
    return run("loadtest", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    path, arguments = custom.scenario_file(arguments)
    try:
        scenarios = {**SCENARIOS, path: custom.load(path)} if path else SCENARIOS
    except ValueError as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    parser = _parser(scenarios)
    options, rest = parser.parse_known_args(arguments)
    if options.scenario == "capacity":
        # What follows belongs to the scenario that is varied.
        options = Namespace(**{**vars(parser.parse_args([options.of, *rest])), **vars(options)})
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if options.scenario == "compare":
            return compare.run(options)
        if options.scenario == "merge":
            return _merge(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return _load(runner, options, scenarios, arguments)
    except KeyboardInterrupt:
        return STOPPED


def _load(
    runner: asyncio.Runner, options: Namespace, scenarios: Mapping[str, ModuleType], arguments: Sequence[str]
) -> int:
    program = _MORE.get(options.scenario)
    named = getattr(options, "of", options.scenario)
    scenario = demo.scenario(options) if program is demo else scenarios[named]
    wrong = wrong_with(options, scenario if program is not demo else demo)
    if program is capacity:
        wrong += capacity.validate(options)
    secrets = Secrets(options)
    if wrong:
        print(*map(secrets.masked, wrong), sep="\n", file=sys.stderr)
        return BAD_USAGE
    if too_few := descriptors(2):
        print(f"loadtest: {too_few}", file=sys.stderr)
        return STOPPED
    report = RunReport(options.scenario, "python -m loadtest " + secrets.command(arguments), secrets=secrets)
    report.options = public_options(vars(options))
    display = Display(report, quiet=options.quiet)
    load = (
        Run(options, scenario, report, display).run
        if program is None
        else partial(program.run, options, scenario, report, display)
    )
    try:
        with display.shown():
            runner.run(_served(options, report, display, load))
    except CannotListen as error:
        print(error, file=sys.stderr)
        return BAD_USAGE
    return _finish(report, options, lambda: demo.summary(options, report) if program is demo else summary(report))


async def _served(
    options: Namespace, report: RunReport, display: Display, load: Callable[[], Awaitable[Verdict]]
) -> None:
    async with scraped(options, display), watched(options, report, display):
        await load()


def _merge(options: Namespace) -> int:
    wrong = wrong_outputs(options)
    try:
        report = merge.run(options)
    except (ValueError, KeyError, TypeError) as error:
        wrong.append(f"merge: {error}")
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return BAD_USAGE
    return _finish(report, options, lambda: summary(report))


def _finish(report: RunReport, options: Namespace, summarised: Callable[[], list[str]]) -> int:
    """Write and print a report; return the exit code."""
    unwritten = written(report, options)
    if unwritten:
        # One status everywhere: the files that can be written say it, too.
        report.verdict = Verdict(COULD_NOT_RUN, (*unwritten, *report.verdict.reasons))
        written(report, options)
    lines, masked = summarised(), report.secrets.masked
    if options.quiet:
        lines = (
            [line for line in lines if line.startswith(("FAILED", "verdict"))] if not report.verdict.passed else []
        )
    for line in lines:
        print(masked(line))
    for note in () if options.quiet and report.verdict.passed else report.notes:
        print(f"loadtest: {masked(note)}", file=sys.stderr)
    return report.verdict.exit_code


def _parser(scenarios: Mapping[str, ModuleType]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="loadtest",
        description="Load a WebSocket service from the outside and prove both ends.",
        epilog="`loadtest SCENARIO --help` has the options; docs/loadtest.md the figures that thresholds can name.",
    )
    names = parser.add_subparsers(dest="scenario", required=True, metavar="SCENARIO")
    for name, scenario in scenarios.items():
        one = names.add_parser(name, help=scenario.HELP, description=scenario.HELP)
        add_common(one)
        scenario.add_options(one.add_argument_group(f"of {name}"))
        # What a scenario has as its own defaults comes last.
        one.set_defaults(**getattr(scenario, "DEFAULTS", {}))
    for name, module in _MORE.items():
        one = names.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_options(one)
        if module is merge:
            add_files(one)
            one.set_defaults(quiet=False)
    return parser
