"""One run: a source of fetches like the batches of the service. Every URL ends in exactly one event."""

import asyncio
import errno
import logging
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from random import random
from typing import Any

import orjson

from service.commands.fetch.folder import Folder
from service.commands.fetch.group import Group
from service.commands.fetch.inputs import UrlList
from service.commands.fetch.output import OutputWriter
from service.commands.fetch.stepping import BodySteps
from service.commands.fetch.tally import Tally
from service.core.fetching.batch import BatchLimits, failed_event
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.request import Options
from service.core.fetching.task import FetchTask
from service.runtime.timer import Periodic
from service.upstream.caching.cache import Cache
from service.upstream.content.result_events import result_event
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from service.work.step_runner import StepOutcome

__all__ = ["FetchRun"]

_log = logging.getLogger("sluice.fetch")

_UNWRITTEN = 64 << 20
"""Bytes of bodies that come or wait for the disk, and of lines that wait for their reader; then no fetch starts."""
_SAVERS, _LOOK = 4, 0.05
_GRACE = 60.0
"""Seconds beyond the time of a URL in which some URL must end."""
_SAVING_ENDS = 10
"""Files in a row that could not be written because of the disk, not of themselves."""
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOENT})


class FetchRun:
    """All URLs of one command, and what happens to each; ``whole`` are the files that are there already."""

    def __init__(
        self,
        urls: UrlList,
        options: Options,
        folder: Folder | None,
        whole: Mapping[int, str],
        lines: OutputWriter | None,
        tally: Tally,
        steps: BodySteps,
    ) -> None:
        self._urls = urls
        self._options = options
        self._folder = folder
        self._whole = whole
        self._lines = lines
        self._tally = tally
        self._steps = steps
        # What has to be fetched, and where each stands among all that were given.
        self._indices = array("I", (index for index in urls.firsts() if index not in whole))
        self._group = Group([urls.urls[index] for index in self._indices], options, self)
        self._ended = bytearray(len(self._indices))
        self._left = len(self._indices)
        self._saving: set[asyncio.Future[str]] = set()
        self._unsaved = 0
        self._usual = 0.0
        """Bytes of a body, as they have come lately: what has begun is about to need so much."""
        self._disk_failures = 0
        self._over = asyncio.Event()
        self._moved = 0.0
        self.stopped = ""
        """Why the run ended before its last URL; empty where it did not."""

    async def run(self, policy: Policy, limits: BatchLimits) -> None:
        """Fetch them all."""
        self._loop = asyncio.get_running_loop()
        self._savers = ThreadPoolExecutor(_SAVERS, "saving")
        fetcher = Fetcher(policy, Cache(0, clock=time.time))
        runner = self._runner = Runner(fetcher, limits, chance=random)
        self._skip()
        self._moved = self._loop.time()
        checking = Periodic("stall check", _LOOK, self._check)
        checking.start()
        try:
            if self._left:
                runner.add(self._group)
                await self._over.wait()
        finally:
            checking.stop()
            runner.cancel(self._group)
            await runner.close()
            await fetcher.close()
            await self._steps.close()
            # What was fetched is saved, also when the run was stopped.
            await asyncio.gather(*self._saving, return_exceptions=True)
            self._savers.shutdown()

    def stop(self, why: str) -> None:
        """End the run soon."""
        self.stopped = self.stopped or why
        self._over.set()

    def put(self, event: Mapping[str, Any]) -> None:
        """Write a line."""
        if self._lines is not None:
            line = orjson.dumps(event) + b"\n"
            self._lines.put([line], len(line))

    def admit(self, group: Group) -> Permit:
        """Hold all back while the reader of the lines, or the disk, has much to take."""
        waiting = self._lines.waiting if self._lines is not None else 0
        unsaved = self._unsaved + self._group.active * self._usual
        if max(waiting, unsaved) < _UNWRITTEN and not self._steps.full and not self._over.is_set():
            return Permit.START
        self._loop.call_later(_LOOK, self._runner.wake, group)
        return Permit.HOLD

    def succeeded(self, group: Group, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Write an answer, or have it saved."""
        try:
            if not self._options.runs_steps(fetched.status):
                self._answered(task, fetched, queued, shared)
            elif fetched.truncated:
                self._fail(task.index, self._too_large(), task.attempts, fetched.timing)
            else:
                self._unsaved += len(fetched.body)
                self._steps.begin(task.request.url, fetched, partial(self._stepped, task, fetched, queued, shared))
        except Exception as error:
            self._broken(task.index, error)

    def failed(self, group: Group, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Write a failure."""
        try:
            self._fail(index, failure, attempts, timing)
        except Exception as error:
            self._broken(index, error)

    def _skip(self) -> None:
        for first in self._whole:
            self._tally.skipped += sum(1 for _ in self._urls.same(first))
        if self._lines is not None and self._whole:
            self._lines.put(self._skipped(), 0)

    def _skipped(self) -> Iterator[bytes]:
        for first, file in self._whole.items():
            for index in self._urls.same(first):
                event = {"event": "skipped", "index": index, "url": self._urls.urls[index], "file": file}
                yield orjson.dumps(event) + b"\n"

    def _stepped(
        self, work: FetchTask, fetched: Fetched, queued: float, shared: bool, outcome: StepOutcome
    ) -> None:
        """Go on with an answer whose steps are over."""
        self._unsaved -= len(fetched.body)
        try:
            if (failure := outcome.failure) is not None:
                self._fail(work.index, failure, work.attempts, fetched.timing)
            else:
                self._answered(work, fetched, queued, shared, outcome.results)
        except Exception as error:
            self._broken(work.index, error)

    def _too_large(self) -> Failure:
        return Failure("too_large", f"the body is larger than --max-bytes ({self._options.max_bytes})")

    def _answered(
        self, work: FetchTask, fetched: Fetched, queued: float, shared: bool, steps: Sequence[bytes] | None = None
    ) -> None:
        self._usual += (len(fetched.body) - self._usual) / 8
        cache = "shared" if shared else fetched.cache
        mode = "none" if self._folder is not None or self._lines is None else self._options.mode(fetched.status)
        first, url = self._indices[work.index], work.request.url
        event = result_event(first, url, fetched, mode, work.attempts, cache, queued, steps)
        if self._folder is None or fetched.status >= 400:
            self._succeed(work.index, event)
        elif fetched.truncated:
            self._fail(work.index, self._too_large(), work.attempts, fetched.timing)
        else:
            content_type = fetched.headers.get("content-type", "")
            origin = work.target.origin
            saved = url, origin, content_type, fetched.status, fetched.body
            self._unsaved += len(fetched.body)
            saving = self._folder.begin_saving(self._savers, *saved)
            self._saving.add(saving)
            saving.add_done_callback(partial(self._saved, work, event, len(fetched.body)))

    def _saved(self, work: FetchTask, event: dict[str, Any], size: int, done: "asyncio.Future[str]") -> None:
        self._saving.discard(done)
        self._unsaved -= size
        try:
            error = done.exception()
            if error is None:
                self._disk_failures = 0
                self._succeed(work.index, {**event, "file": done.result()})
            elif isinstance(error, OSError):
                self._not_saved(work, error, event["timing"])
            else:
                self._broken(work.index, error)
        except Exception as bug:
            self._broken(work.index, bug)

    def _not_saved(self, work: FetchTask, error: OSError, timing: Mapping[str, float]) -> None:
        reason = error.strerror or str(error)
        where = f"{error.filename}: " if error.filename and not str(error.filename).isdigit() else ""
        self._fail(work.index, Failure("unavailable", f"cannot save: {where}{reason}"), work.attempts, timing)
        self._disk_failures = self._disk_failures + 1 if error.errno in _DISK else 0
        if self._disk_failures >= _SAVING_ENDS:
            self.stop(f"cannot save any more files: {reason}")

    def _fail(self, index: int, failure: Failure, attempts: int, timing: Mapping[str, float]) -> None:
        if self._ended[index]:
            return
        first = self._indices[index]
        event = failed_event(first, self._urls.urls[first], failure, attempts, dict(timing))
        self._emit(first, event)
        for copy in self._urls.same(first):
            url = self._urls.place(copy) + self._urls.urls[copy]
            self._tally.failure(failure.kind, url, failure.detail)
        self._end(index)

    def _succeed(self, index: int, event: dict[str, Any]) -> None:
        if self._ended[index]:
            return
        first = self._indices[index]
        self._emit(first, event)
        self._tally.bytes += event["bytes"]
        for copy in self._urls.same(first):
            self._tally.answer(event["status"], self._urls.place(copy) + self._urls.urls[copy])
        self._end(index)

    def _emit(self, first: int, event: dict[str, Any]) -> None:
        """Write the event of a URL, and that of each that is the same: encoded one by one, as they are read."""
        if self._lines is None:
            return
        line = orjson.dumps(self._of(first, event)) + b"\n"
        self._lines.put([line], len(line))
        copies = self._urls.same(first)
        next(copies)
        if (copy := next(copies, None)) is not None:
            if event["event"] == "result":
                event = {**event, "cache": "shared"}
            rest = (orjson.dumps(self._of(index, event)) + b"\n" for index in chain([copy], copies))
            self._lines.put(rest, len(line))

    def _of(self, index: int, event: dict[str, Any]) -> dict[str, Any]:
        line = self._urls.line(index)
        event = {**event, "index": index, "url": self._urls.urls[index]}
        return {**event, "line": line} if line and event["event"] == "failed" else event

    def _end(self, index: int) -> None:
        self._ended[index] = 1
        self._left -= 1
        self._moved = self._loop.time()
        if not self._left:
            self._over.set()

    def _broken(self, index: int, error: BaseException) -> None:
        """End a URL that cannot end because of a bug in sluice; the others do not wait for it."""
        if self._ended[index]:
            return
        first = self._indices[index]
        _log.error("internal error with %s", ascii(self._urls.urls[first]), exc_info=error)
        failure = Failure("protocol", f"internal error: {error!a}")
        try:
            self._fail(index, failure, 0, {})
        except Exception:
            _log.exception("cannot report a failure")
            self._tally.failure("protocol", ascii(self._urls.urls[first]), failure.detail)
            self._end(index)

    def _check(self) -> float:
        """End the run when its lines cannot be written, and when nothing has ended for longer than it may take."""
        if self._lines is not None and self._lines.error is not None:
            self.stop("output")
        elif self._saving or self._steps.running or (self._lines is not None and self._lines.waiting):
            self._moved = self._loop.time()
        elif self._loop.time() - self._moved > self._options.timeout + _GRACE:
            self._give_up()
        return _LOOK

    def _give_up(self) -> None:
        failure = Failure("unavailable", "internal error: the fetch engine lost this URL")
        _log.error(
            "%d URLs were lost by the fetch engine: nothing happened for %g s",
            self._left,
            self._loop.time() - self._moved,
        )
        for index, ended in enumerate(self._ended):
            if not ended:
                self.failed(self._group, index, failure, 0, {})
