"""Many jobs that are due within a minute: how late each begins, as one who reads what they publish sees it."""

import asyncio
import time
from argparse import ArgumentParser, Namespace
from typing import Final

import uvloop

from bench.delays import delays, more, percentile
from bench.durability.figure import Figure, data_folder
from bench.jobs.figure import Service, milliseconds
from bench.jobs.filling import fill, scheduled
from service.client import Client, Message

__all__ = ["add_options", "run"]

_TOPIC: Final = "due"
_FILLING: Final = 50e-6
_READING: Final = 30e-6
"""Seconds for a job: to make the directory, and to start on it."""
_START: Final = 4.0
_LATE: Final = 1.0
_LAG: Final = 5.0
"""Milliseconds that the loop may be later at the p99 than without jobs."""
_IDLE: Final = 2.0
_KIND: Final = "bench.peers.looking"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--due", type=int, default=20_000, help="jobs that are due (the issue: 100,000)")
    parser.add_argument("--within", type=float, default=12.0, help="seconds (the issue: 60)")


def run(options: Namespace) -> list[Figure]:
    """Make a directory with jobs that are due soon, start on it, and read what they publish."""
    count, within = options.due, options.within
    with data_folder() as folder:
        now = time.time()
        begin = now + _START + count * (_FILLING + _READING)
        jobs = (
            scheduled(row, due := begin + within * row / count, now, topic=_TOPIC, data={"due": due})
            for row in range(1, count + 1)
        )
        fill(folder / "full", jobs)
        service = Service(options.port, folder, module=_KIND)
        try:
            if time.time() > begin - _IDLE:
                raise RuntimeError("the service started too late: raise bench/jobs/due.py _READING")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_read(service, count, within, begin))
        finally:
            service.stop()


async def _read(service: Service, count: int, within: float, begin: float) -> list[Figure]:
    late: list[float] = []
    async with asyncio.timeout(within + 120), Client(service.url) as client:
        messages = client.subscribe(_TOPIC)
        reading = asyncio.create_task(_collect(messages, late, count))
        before = delays(service.port)
        await asyncio.sleep(max(0.0, begin - time.time()))
        start, cpu = delays(service.port), service.child.cpu()
        await reading
        end, used = delays(service.port), service.child.cpu() - cpu
    idle: dict[float, float] = {}
    busy: dict[float, float] = {}
    more(idle, before, start)
    more(busy, start, end)
    lag = [percentile(one, 0.99) * 1e3 for one in (idle, busy)]
    load = f"{count:,} publishes due within {within:g} s, --sync full"
    return [
        Figure(
            "due: message later than its time", load, milliseconds(late), bar="all within 1 s",
            held=max(late) <= _LATE,
        ),
        Figure(
            "due: loop late, p99", "before, meanwhile", f"{lag[0]:.1f}, {lag[1]:.1f} ms", bar=f"{_LAG:g} ms more",
            held=lag[1] - lag[0] <= _LAG,
        ),
        Figure("due: CPU of a job", load, f"{used / count * 1e6:.0f} us"),
    ]  # fmt: skip


async def _collect(messages: object, late: list[float], count: int) -> None:
    async for message in messages:  # type: ignore[attr-defined]
        if isinstance(message, Message):
            late.append(time.time() - message.data["due"])
            if late[-1] < 0:
                raise RuntimeError("a job began before it was due")
            if len(late) == count:
                return
        else:
            raise RuntimeError(f"messages were missed: {message}")
