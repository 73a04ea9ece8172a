"""``sluice fetch``: a batch from the terminal, by the engine of the service, without a server."""

import asyncio
import gc
import signal
import sys
import time
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from random import random
from typing import Any

import orjson
import uvloop

from service.core.address import DEFAULT_PORTS, Policy
from service.core.batch import BatchLimits, BatchState, Failure, Keep, Options, check_headers, failed_event
from service.core.topic import Topic
from service.core.work import Work
from service.output import Output
from service.progress import Progress
from service.saving import Folder, SavingFailed, file_name
from service.settings import SettingsError, read_settings
from service.upstream.bodies import result_event
from service.upstream.cache import Cache
from service.upstream.fetcher import Fetcher
from service.upstream.guard import own_addresses
from service.upstream.orders import Fetched
from service.upstream.runner import Runner

__all__ = ["Run", "add_options", "fetch"]

_LARGEST = 64 << 20
_UNWRITTEN = 64 << 20
"""Bytes that wait for the disk, or for the reader of the lines; then no fetch starts until some are written."""
_INTERRUPTED = 130


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL")
    add("-i", "--input", metavar="FILE", help="take URLs from a file, one a line; - is standard input")
    add("-o", "--output", metavar="DIR", help="save bodies there, and fetch only what is not there already")
    add("--concurrency", type=int, default=100, metavar="N", help="fetches at once (default 100)")
    add("--per-host", type=int, default=20, metavar="N", help="fetches at once from one host (default 20)")
    add("--timeout", type=float, default=10.0, metavar="S", help="seconds for one URL (default 10)")
    add("--retries", type=int, default=2, metavar="N", help="further attempts (default 2)")
    add("--redirects", type=int, default=5, metavar="N", help="redirects to follow (default 5)")
    larger = "bytes of a body (default 1 MiB; with --output 64 MiB, and what is larger fails)"
    add("--max-bytes", type=int, metavar="N", help=larger)
    bodies = ("auto", "text", "base64", "none")
    add("--body", choices=bodies, default="auto", help="how bodies are put into lines (default auto)")
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="request header (repeatable)")
    add("-q", "--quiet", action="store_true", help="no progress and no summary")
    for option, text in (("net", "network that fetches may reach too"), ("port", "port that fetches may use too")):
        name = f"allow_{option}"
        add(
            f"--allow-{option}", action="append", dest=name, default=SUPPRESS, metavar=option.upper(),
            help=f"{text} (repeatable; SLUICE_{name.upper()})",
        )  # fmt: skip


def fetch(options: Namespace) -> int:
    """Run the command: 0 all fetched, 1 some failed or answered 400 and more, 2 bad usage, 130 interrupted."""
    try:
        urls = list(_urls(options))
        batch = _options(options)
        settings = read_settings(
            {name: value for name, value in vars(options).items() if name.startswith("allow_")}
        )
        folder = Folder(Path(options.output)) if options.output else None
    except (SettingsError, SavingFailed, OSError, ValueError) as error:
        sys.stderr.writelines(f"sluice: {line}\n" for line in str(error).splitlines())
        return 2
    policy = Policy(nets=settings.nets, ports=DEFAULT_PORTS | frozenset(settings.allow_port), own=own_addresses())
    limits = BatchLimits(
        active=options.concurrency, active_per_client=options.concurrency, active_per_host=options.per_host
    )
    # It ends soon, and what it makes has no cycles: collections would find nothing.
    gc.disable()
    progress = Progress(len(urls), None if options.quiet else sys.stderr)
    run = Run(urls, batch, folder, Output(sys.stdout.buffer), progress)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run.run(policy, limits))


def _urls(options: Namespace) -> Iterator[str]:
    yield from options.urls
    source = options.input or ("-" if not options.urls and not sys.stdin.isatty() else None)
    if source is None and not options.urls:
        raise ValueError("give URLs, or -i FILE")
    if source is not None:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8", errors="replace")
        yield from (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _options(options: Namespace) -> Options:
    headers = {}
    for line in options.header:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"--header: {line!r} has no colon")
        headers[name.strip()] = value.strip()
    if wrong := check_headers(headers):
        raise ValueError(f"--header: {wrong}")
    if (
        not 1 <= options.concurrency <= 10_000
        or options.per_host < 1
        or options.timeout <= 0
        or options.retries < 0
    ):
        raise ValueError(
            "--concurrency, --per-host, --timeout, --retries: must be positive, and at most 10,000 at once"
        )
    return Options(
        body=options.body,
        max_bytes=options.max_bytes or (_LARGEST if options.output else 1 << 20),
        timeout=options.timeout,
        retries=options.retries,
        concurrency=options.concurrency,
        redirects=options.redirects,
        cache="no-store",
        headers=headers,
    )


class Run:
    """All URLs of one command, and what becomes of each: a source of fetches like the batches of the service."""

    def __init__(
        self, urls: list[str], options: Options, folder: Folder | None, output: Output, progress: Progress
    ) -> None:
        self._urls = urls
        self._folder = folder
        self._output = output
        self._progress = progress
        # What has to be fetched, and where each stands among all that were given.
        self._indices = [index for index, url in enumerate(urls) if folder is None or not folder.has(url)]
        wanted = [urls[index] for index in self._indices]
        topic = Topic("fetch", "", None)
        self._batch = BatchState("fetch", topic, "terminal", Keep.DETACHED, wanted, options, 0.0, self)
        self._refused = 0
        """Answers of 400 and more: results, but not what was wanted."""
        self._unsaved = 0
        self._over = asyncio.Event()
        self._interrupted = False
        self._began = time.monotonic()

    async def run(self, policy: Policy, limits: BatchLimits) -> int:
        """Fetch them all; return the exit code."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._interrupt)
        fetcher = Fetcher(policy, Cache(0, clock=time.time))
        runner = Runner(fetcher, limits, chance=random)
        showing = asyncio.create_task(self._progress.run())
        try:
            self._skip()
            if self._batch.total:
                runner.add(self._batch)
                await self._over.wait()
        finally:
            runner.cancel(self._batch)
            await runner.close()
            await fetcher.close()
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            await self._loop.shutdown_default_executor()
        return self._end()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._over.set()

    def _skip(self) -> None:
        wanted = set(self._indices)
        for index, url in enumerate(self._urls):
            if index not in wanted:
                self._progress.skipped += 1
                self._put({"event": "skipped", "index": index, "url": url, "file": file_name(url)})

    def may_start(self, asker: Any) -> bool:
        """Wait for whoever reads the lines, and for the disk."""
        return self._output.waiting < _UNWRITTEN and self._unsaved < _UNWRITTEN and not self._output.broken

    def succeeded(self, work: Work, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Take an answer."""
        index = self._indices[work.index]
        cache = "shared" if shared else fetched.cache
        mode = "none" if self._folder is not None else self._batch.options.body
        event = result_event(index, work.request.url, fetched, mode, work.attempts, cache, queued)
        if self._folder is None or fetched.status >= 400:
            self._tell(work.index, event)
        elif fetched.truncated:
            most = self._batch.options.max_bytes
            failure = Failure("too_large", f"has more than --max-bytes {most}")
            self.failed(self._batch, work.index, failure, work.attempts, fetched.timing)
        else:
            self._unsaved += len(fetched.body)
            saving = self._loop.run_in_executor(None, self._folder.save, work.request.url, fetched.body)
            saving.add_done_callback(lambda done: self._saved(work, event, len(fetched.body), done))

    def _saved(self, work: Work, event: dict[str, Any], size: int, done: "asyncio.Future[str]") -> None:
        self._unsaved -= size
        if (error := done.exception()) is not None:
            failure = Failure("unavailable", f"cannot be saved: {error}")
            self.failed(self._batch, work.index, failure, work.attempts, event["timing"])
        else:
            self._tell(work.index, {**event, "file": done.result()})

    def failed(self, asker: Any, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Take a failure."""
        if self._batch.finished[index]:
            return
        self._progress.failed += 1
        at = self._indices[index]
        event = failed_event(at, self._urls[at], failure, attempts, timing)
        self._output.put(self._batch.fail(index, event))
        self._look()

    def _tell(self, index: int, event: dict[str, Any]) -> None:
        self._progress.ok += 1
        self._progress.bytes += event["bytes"]
        self._refused += event["status"] >= 400
        self._output.put(self._batch.succeed(index, event["status"], event))
        self._look()

    def _look(self) -> None:
        if self._batch.complete or self._output.broken:
            self._over.set()

    def _put(self, event: dict[str, Any]) -> None:
        self._output.put(orjson.dumps(event))

    def _end(self) -> int:
        if not self._interrupted:
            self._batch.finish(time.monotonic() - self._began)
            counts = {**self._batch.counts(), "total": len(self._urls)}
            self._put({"event": "done", **counts, "skipped": self._progress.skipped})
        self._output.close()
        if self._folder is not None:
            self._folder.close()
        self._progress.end(interrupted=self._interrupted)
        if self._interrupted:
            return _INTERRUPTED
        return 1 if self._progress.failed or self._refused or self._output.broken else 0
