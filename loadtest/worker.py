"""A worker process: its share of one round, reported to the supervisor as it goes."""

import asyncio
import gc
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from loadtest.context import CannotRun, WorkerContext
from loadtest.custom import is_file, named
from loadtest.self_monitor import SelfMonitor, descriptors
from loadtest.targets.blame import blame, is_ours
from loadtest.worker_link import WorkerLink, read_line, standard_pipes

__all__ = ["main"]

_TICK = 1.0
_CLOSING = 5.0
"""Seconds that an adapter has to give back what it holds."""
_PULSE = 0.04
"""Seconds; at a hundred times a second, waking up alone would be 3 % of a core."""


def main() -> int:
    """Run the share that standard input describes."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work())
    return 0


async def _work() -> None:
    reader, out = await standard_pipes()
    plan = await read_line(reader)
    if plan is None:
        return

    def write(line: bytes) -> None:
        # A supervisor that is gone hears nothing any more; the end of standard input says so, too.
        if not out.is_closing():
            out.write(line)

    link = WorkerLink(plan["index"], plan["count"], write)
    stop = asyncio.Event()
    link.on_stop = stop.set
    listening = asyncio.create_task(link.listen(reader))
    try:
        await _round(link, Namespace(**plan["options"]), stop)
    finally:
        listening.cancel()
        out.close()


async def _round(link: WorkerLink, options: Namespace, stop: asyncio.Event) -> None:
    scenario = named(options.module)
    too_few = descriptors(-(-options.sockets // link.count))
    try:
        context = WorkerContext(options, link)
    except Exception as error:
        link.send("cannot", blame(error, options.target, None))
        return
    monitor = SelfMonitor()
    helpers = [asyncio.create_task(job) for job in (_ticks(context, monitor), _pulse(context, monitor))]
    # Ten thousand sockets are long-lived: looking through them again and again would be lag of ours.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        if too_few:
            raise CannotRun(too_few)
        await context.resolve()
        await _until_over(asyncio.ensure_future(scenario.run(context)), helpers, context, stop)
    except* CannotRun as errors:
        link.send("cannot", str(_first(errors)))
    except* Exception as errors:
        link.send("cannot", _bug(_first(errors), context))
    finally:
        for helper in helpers:
            helper.cancel()
        await _closed(context)
        context.intake.collect()
        link.send("tick", {**context.tally.flush(), "gauges": {}})


def _bug(error: BaseException, context: WorkerContext) -> str:
    """Return whose bug an error is; one of ours with its traceback."""
    options = context.options
    if is_file(options.module) and _is_from(error, options.module):
        return blame(error, options.module, None).replace("--target", "--scenario", 1)
    if not is_ours(context.target):
        return blame(error, options.target, context.target)
    traceback.print_exception(error)
    return f"a bug of loadtest, see above: {type(error).__name__}: {error}"


def _is_from(error: BaseException, path: str) -> bool:
    return any(frame.filename == str(Path(path).resolve()) for frame in traceback.extract_tb(error.__traceback__))


async def _closed(context: WorkerContext) -> None:
    try:
        async with asyncio.timeout(_CLOSING):
            await context.target.close()
    except Exception as error:
        context.link.send("note", f"closing: {blame(error, context.options.target, context.target)}")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_over(
    job: asyncio.Future[None], helpers: list[asyncio.Task[None]], context: WorkerContext, stop: asyncio.Event
) -> None:
    """Wait for the scenario, the end of all connections, or the word to stop; the first of them.

    A helper that has ended has failed: its error ends the round.
    """
    stopping = asyncio.ensure_future(stop.wait())
    try:
        ends: list[asyncio.Future[Any]] = [job, context.over, stopping, *helpers]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            job.cancel()
            await asyncio.wait([job])
        if context.over.done() and not stop.is_set():
            context.over.result()
        for helper in helpers:
            if helper.done():
                helper.result()
        if not job.cancelled():
            job.result()
    finally:
        stopping.cancel()
        job.cancel()
        if context.over.done():
            # Already reported, or the word to stop came first.
            context.over.exception()


async def _ticks(context: WorkerContext, monitor: SelfMonitor) -> None:
    while True:
        await asyncio.sleep(_TICK)
        context.intake.collect()
        context.tally.gauges = {"clients": context.alive, **monitor.gauges()}
        context.link.send("tick", context.tally.flush())


def _done(chore: Callable[[], bool]) -> bool:
    return chore()


async def _pulse(context: WorkerContext, monitor: SelfMonitor) -> None:
    """Note how late the loop is, and let those who have postponed something do a little of it at a time."""
    while True:
        due = monotonic() + _PULSE
        await asyncio.sleep(_PULSE)
        monitor.note_lag(monotonic() - due)
        more = True
        while more:
            more = any(list(map(_done, context.chores)))
            await asyncio.sleep(0)


if __name__ == "__main__":
    main()
