"""The main job, proved: the service and the origin as child processes, and a full house."""

import asyncio
import shlex
import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory, TemporaryFile
from types import ModuleType

from loadtest import mixed
from loadtest.crashes import CRASHING, wrong_crashes
from loadtest.live import Display
from loadtest.measures import Measures
from loadtest.options import add_common
from loadtest.report import RunReport
from loadtest.run import Run
from loadtest.scenarios import broadcast
from loadtest.verdict import COULD_NOT_RUN, Verdict
from service.runtime.python_path import command, environment

__all__ = ["HELP", "add_options", "measures", "run", "scenario", "summary", "validate"]

HELP = "start the service and an origin; 10,000 clients, 10,000 URLs and broadcasts to all, at once"
_START, _STOP = 30, 20
_CLIENTS = 10_000
_OF_DATA = {
    "clients": (_CLIENTS, 500), "rate": ("10", "50"), "duration": (10.0, 20.0),
}  # fmt: skip
"""Defaults, and what stands in for them with ``--data``: a service that starts again has all of them at once."""
_LOG = 20_000
"""Characters of a child's log that are shown where it failed."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    # All deliveries are shown and none is warm-up: the demo counts a million of them.
    add_common(parser, clients=_CLIENTS, json="demo-report.json", html="demo-report.html", settle=20.0, warm_up=0.0)
    parser.add_argument("--urls", type=int, default=10_000, help="URLs to fetch (default 10000)")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message's data, about (default 150)")
    parser.add_argument(
        "--data",
        action="store_true",
        help="show something else: a service that keeps its topics on disk is killed again and again, while 500 "
        "clients read: nothing that it has acknowledged is missing",
    )
    parser.add_argument("--crashes", type=int, default=3, help="with --data: how often it is killed (default 3)")


def scenario(options: Namespace) -> ModuleType:
    """Return what the workers run."""
    return broadcast if options.data else mixed


def measures(options: Namespace) -> Measures:
    """Return what is measured."""
    return broadcast.MEASURES | CRASHING if options.data else mixed.measures(options)


def validate(options: Namespace) -> list[str]:
    """Return what is wrong; and settle what is run."""
    if options.data:
        settled = {name: other for name, (usual, other) in _OF_DATA.items() if getattr(options, name) == usual}
        vars(options).update(settled, topics=1, publishers=4, apart=False, messages="", prefix="demo", crash="")
        return broadcast.validate(options) + ([] if options.crashes > 0 else ["--crashes: must be above 0"])
    parts = [
        {"scenario": "broadcast", "weight": 1, "size": options.size, "prefix": "demo", "rate": options.rate},
        {"scenario": "fetch", "weight": 0, "urls": options.urls, "rate": ""},
    ]
    return mixed.share_out(options, parts)


async def run(options: Namespace, scenario: ModuleType, report: RunReport, display: Display) -> Verdict:
    """Start both, connect everyone, then fetch and broadcast at the same time."""
    if options.data:
        return await _run_data(options, scenario, report, display)
    try:
        async with _child("loadtest", "origin", "--port", "0") as origin:
            port = origin.rsplit(":", 1)[1]
            more = ["--websockets", str(max(10_000, options.clients))]
            async with _child(
                "service", "serve", "--port", "0", "--allow-net", "127.0.0.0/8", "--allow-port", port, *more
            ) as url:
                options.url, options.origin = url, origin
                for part in options.parts:
                    part |= {"url": url, "origin": origin}
                options.threshold += _success(options)
                return await Run(options, scenario, report, display).run()
    except RuntimeError as error:
        report.note(str(error))
        report.verdict = Verdict(COULD_NOT_RUN, (str(error),))
        return report.verdict


async def _run_data(options: Namespace, scenario: ModuleType, report: RunReport, display: Display) -> Verdict:
    """Have the run itself start a service, and kill it; its directory is removed at the end."""
    with TemporaryDirectory(prefix="sluice-demo-") as folder:
        port = str(_free_port())
        options.url = f"http://127.0.0.1:{port}"
        options.crash = shlex.join(command("service", "serve", "--port", port, "--data", folder))
        published = round(float(options.rate) * options.duration)
        options.threshold += [
            f"acknowledged=={published}", f"delivered=={published * options.clients}", f"held=={options.clients}",
            "not_recovered==0", "gapped==0", "errors==0",
        ]  # fmt: skip
        wrong_crashes(options)
        return await Run(options, scenario, report, display).run()


def _free_port() -> int:
    """Return a port for a service that is started several times."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _success(options: Namespace) -> list[str]:
    """Return as thresholds what makes the demo a success."""
    published = round(float(options.rate) * options.duration)
    return [
        f"connected=={options.clients}",
        f"held=={options.clients}",
        f"fetched=={options.urls}",
        f"published=={published}",
        f"delivered=={published * options.clients}",
        "lost==0", "gapped==0", "repeated==0", "reordered==0", "errors==0",
    ]  # fmt: skip


@asynccontextmanager
async def _child(module: str, *arguments: str) -> AsyncIterator[str]:
    """Run a module as a child process; yield the address that it says it listens on. Raises RuntimeError."""
    # A line of its log would break the panel: they are shown when something went wrong.
    with TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command(module, *arguments), env=environment(), stdout=asyncio.subprocess.PIPE, stderr=log,
            # Ctrl-C ends the load first, and these when its report is made.
            start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), _START)).decode()
            if "listening on" not in line:
                raise RuntimeError(f"{module} {arguments[0]} did not start")
            yield line.split("listening on", 1)[1].strip()
        finally:
            await _ended(process, module)
            if process.returncode != 0:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace")[-_LOG:])


async def _ended(process: asyncio.subprocess.Process, module: str) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP)
        except TimeoutError:
            print(f"{module} did not stop by itself", file=sys.stderr)  # noqa: T201
            process.kill()
            await process.wait()


def summary(options: Namespace, report: RunReport) -> list[str]:
    """Return what the demo shows, a line each."""
    failed = [f"FAILED {judgement.text}" for judgement in report.judgements if not judgement.passed]
    return [
        *(_shown_data if options.data else _shown)(options, report),
        *(f"report                       {path}" for path in (options.html, options.json) if path),
        *failed,
        *(f"error: {text}: {count:,}" for text, count in report.errors.most_common(10)),
        f"verdict                      {report.verdict.text}",
    ]


def _shown_data(options: Namespace, report: RunReport) -> list[str]:
    get = report.figures().get
    return [
        (
            f"service killed               {get('crashes', 0):>10,.0f} times, up again after "
            f"{get('down_max_ms', 0):,.0f} ms at most"
        ),
        (
            f"clients came back            {get('returned', 0):>10,.0f} times, with their position "
            f"{get('recovered', 0):,.0f}"
        ),
        (
            f"messages acknowledged        {get('acknowledged', 0):>10,.0f}, missing {get('missing', 0):.0f}, "
            f"published twice {get('republished', 0):.0f}"
        ),
        _deliveries(report),
    ]


def _deliveries(report: RunReport) -> str:
    get = report.figures().get
    return (
        f"messages delivered           {get('delivered', 0):>10,.0f}, lost {get('lost', 0):.0f}, "
        f"out of order {get('reordered', 0):.0f}, repeated {get('repeated', 0):.0f}"
    )


def _shown(options: Namespace, report: RunReport) -> list[str]:
    get = report.figures().get
    return [
        f"clients connected and held   {get('held', 0):>10,.0f} of {options.clients:,}",
        _deliveries(report),
        f"delivery p50 / p99           {get('delivery_p50_ms', 0):>10,.0f} / {get('delivery_p99_ms', 0):,.0f} ms",
        (
            f"URLs fetched                 {get('fetched', 0):>10,.0f} of {options.urls:,}"
            f" in {get('batch_max_ms', 0) / 1000:.1f} s"
        ),
    ]
