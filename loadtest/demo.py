"""The main job, proved: the service and the origin as child processes, and a full house."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from types import ModuleType

from loadtest import mixed
from loadtest.live import Display
from loadtest.options import add_common
from loadtest.report import Report
from loadtest.run import Run
from loadtest.verdict import COULD_NOT_RUN, Verdict

__all__ = ["HELP", "SCENARIO", "add_options", "measures", "run", "summary", "validate"]

HELP = "start the service and an origin; 10,000 clients, 10,000 URLs and broadcasts to all, at once"
SCENARIO = mixed
measures = mixed.measures
_START, _STOP = 30, 20
_LOG = 20_000
"""Characters of a child's log that are shown where it failed."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    # All deliveries are shown and none is warm-up: the demo counts a million of them.
    add_common(parser, clients=10_000, json="demo-report.json", html="demo-report.html", settle=20.0, warm_up=0.0)
    parser.add_argument("--urls", type=int, default=10_000, help="URLs to fetch (default 10000)")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message's data, about (default 150)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong; and settle what the two parts are."""
    parts = [
        {"scenario": "broadcast", "weight": 1, "size": options.size, "prefix": "demo", "rate": options.rate},
        {"scenario": "fetch", "weight": 0, "urls": options.urls, "rate": ""},
    ]
    return mixed.share_out(options, parts)


async def run(options: Namespace, scenario: ModuleType, report: Report, display: Display) -> Verdict:
    """Start both, connect everyone, then fetch and broadcast at the same time."""
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
            sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, stderr=log,
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


def summary(options: Namespace, report: Report) -> list[str]:
    """Return what the demo shows, a line each."""
    get = report.figures().get
    failed = [f"FAILED {judgement.text}" for judgement in report.judgements if not judgement.passed]
    return [
        f"clients connected and held   {get('held', 0):>10,.0f} of {options.clients:,}",
        (
            f"messages delivered           {get('delivered', 0):>10,.0f}, lost {get('lost', 0):.0f}, "
            f"out of order {get('reordered', 0):.0f}, repeated {get('repeated', 0):.0f}"
        ),
        f"delivery p50 / p99           {get('delivery_p50_ms', 0):>10,.0f} / {get('delivery_p99_ms', 0):,.0f} ms",
        (
            f"URLs fetched                 {get('fetched', 0):>10,.0f} of {options.urls:,}"
            f" in {get('batch_max_ms', 0) / 1000:.1f} s"
        ),
        *(f"report                       {path}" for path in (options.html, options.json) if path),
        *failed,
        *(f"error: {text}: {count:,}" for text, count in report.errors.most_common(10)),
        f"verdict                      {report.verdict.text}",
    ]
