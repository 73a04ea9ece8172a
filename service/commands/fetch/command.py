"""The command: read the list, run, report the outcome."""

import asyncio
import gc
import logging
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvloop

from service.commands.fetch.folder import Folder, SavingFailed
from service.commands.fetch.inputs import UrlList, from_argument, from_file
from service.commands.fetch.options import fitting_concurrency, options_of, policy_of
from service.commands.fetch.output import OutputWriter
from service.commands.fetch.progress import ProgressDisplay
from service.commands.fetch.run import FetchRun
from service.commands.fetch.stepping import BodySteps
from service.commands.fetch.tally import Tally, fail_conditions, shown
from service.commands.progress_line import can_write_over
from service.core.fetching.batch import BatchLimits
from service.core.fetching.dial_policy import Policy

__all__ = ["fetch"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_USAGE = 2
_INTERRUPTED = 130
_READER_LEFT = 141
"""What a shell says of a program that SIGPIPE ended."""


def fetch(options: Namespace) -> int:
    """Run the command and return its exit code; docs/fetch.md lists them."""
    try:
        return _Command(options).run()
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except (SavingFailed, ValueError) as error:
        _complain(str(error))
        return _USAGE


class _Command:
    """Everything that one run needs. Raises SavingFailed or ValueError where it cannot be made."""

    def __init__(self, options: Namespace) -> None:
        batch, self._policy = options_of(options), policy_of(options)
        self._fail_on = fail_conditions(options.fail_on)
        self._options = options
        urls = _urls(options, self._policy)
        self._folder = Folder(Path(options.output)) if options.output else None
        whole = self._folder.load(urls, verify=options.verify) if self._folder is not None else {}
        # The list lives as long as the process: collections need not walk over it again and again.
        gc.freeze()
        terminal = os.isatty(1)
        self._lines = OutputWriter(1) if options.json or not terminal else None
        self._errors = OutputWriter(2)
        self._tally = Tally(len(urls))
        # Lines and a bar on one terminal would write over each other.
        bar = can_write_over() and not (self._lines is not None and terminal)
        self._progress = ProgressDisplay(self._tally, None if options.quiet else self._errors, bar=bar)
        self._concurrency = fitting_concurrency(options.concurrency)
        self._steps = BodySteps(batch.steps)
        self._run = FetchRun(urls, batch, self._folder, whole, self._lines, self._tally, self._steps)

    def run(self) -> int:
        """Fetch all of them, and return the exit code."""
        if self._concurrency < self._options.concurrency:
            self._progress.print_line(
                f"sluice: the open file limit (ulimit -n) allows only {self._concurrency} requests at once"
            )
        with _logging_to(self._errors), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._until_over())
        # The loop is over, but a reader that takes nothing may hold up the rest.
        for number in _SIGNALS:
            signal.signal(number, _exit_at_once)
        return self._end()

    async def _until_over(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        showing = self._progress.start()
        limits = BatchLimits(
            active=self._concurrency,
            active_per_client=self._concurrency,
            active_per_host=min(self._options.per_host, self._concurrency),
        )
        try:
            await self._run.run(self._policy, limits)
        finally:
            showing.stop()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self._run.stopped:
            # A second Ctrl-C must not wait for a disk or a reader.
            os._exit(_INTERRUPTED)
        self._run.stop("interrupted")
        self._progress.print_line("Interrupted: saving what was fetched. Press Ctrl-C again to stop now.")

    def _end(self) -> int:
        if not self._run.stopped:
            counts = {**self._tally.counts(), "elapsed_ms": self._progress.elapsed_ms, **self._steps.counted()}
            self._run.put({"event": "done", **counts})
        code = self._close()
        self._errors.close()
        return code

    def _close(self) -> int:
        """Close what was written to, report the outcome, and return the exit code."""
        wrong = self._close_outputs()
        if wrong is None:  # its reader has seen enough
            self._progress.clear()
            return _READER_LEFT
        if wrong:
            self._progress.clear()
            self._report(wrong)
            return 1
        self._progress.end(hint=self._hint())
        if self._run.stopped == "interrupted":
            return _INTERRUPTED
        if self._run.stopped:
            self._report(self._run.stopped)
            return 1
        return 1 if self._tally.meets(self._fail_on) else 0

    def _close_outputs(self) -> str | None:
        """Return what went wrong with the results as a whole, or None where their reader has gone."""
        wrong = ""
        if self._folder is not None:
            try:
                self._folder.close()
            except OSError as error:
                wrong = f"--output: cannot write the index: {error.strerror}"
        if self._lines is not None:
            self._lines.close()
            if self._lines.left:
                return None
            if self._lines.error is not None:
                return f"cannot write to standard output: {self._lines.error.strerror}"
        return wrong

    def _hint(self) -> str:
        tally = self._tally
        if self._folder is not None and (tally.failed or tally.refused or tally.done < tally.total):
            return "Run the same command again to fetch the rest."
        if self._run.stopped:
            return "With --output DIR, an interrupted run can be resumed."
        if self._folder is None and self._lines is None and tally.answered:
            return "Bodies were not kept: use --output DIR to save them, or --json to print them."
        return ""

    def _report(self, text: str) -> None:
        data = f"sluice: {shown(text)}\n".encode("utf-8", "replace")
        self._errors.put([data], len(data))


def _urls(options: Namespace, policy: Policy) -> UrlList:
    lists = options.input or (["-"] if not options.urls and not sys.stdin.isatty() else [])
    if len(lists) > 1:
        raise ValueError("--input: give one list; cat A B | sluice fetch -i - reads several")
    source = lists[0] if lists else None
    if source is None and not options.urls:
        raise ValueError("no URLs: give some, or a file with --input FILE")
    urls = UrlList("standard input" if source == "-" else source or "", policy)
    for text in options.urls:
        urls.add(from_argument(text))
    if source is not None:
        try:
            from_file(urls, source)
        except OSError as error:
            raise ValueError(f"--input: {source}: {error.strerror}") from None
    return urls


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    _complain("interrupted")
    os._exit(_INTERRUPTED)


def _complain(text: str) -> None:
    with suppress(OSError):  # there is nobody left to tell
        os.write(2, f"sluice: {shown(text)}\n".encode("utf-8", "replace"))


class _LogLines(logging.Handler):
    """The log of the engine, one line a record, in order with what else is shown."""

    def __init__(self, output: OutputWriter) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        text = record.getMessage()
        if record.exc_info and (error := record.exc_info[1]) is not None:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
            text += f": {error!r}{where}"
        data = f"sluice: {shown(text)}\n".encode("utf-8", "replace")
        self._output.put([data], len(data))


@contextmanager
def _logging_to(output: OutputWriter) -> Iterator[None]:
    log, handler = logging.getLogger("sluice"), _LogLines(output)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
