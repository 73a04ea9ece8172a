"""What a scenario gets: its options, the place of the service, the report, and someone to tell how it goes."""

import asyncio
import resource
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from time import monotonic
from typing import Protocol

from loadtest.report import Moment, Report
from loadtest.sockets import ConnectFailed, Place, Socket, place_of

__all__ = ["CannotRun", "Context", "Scenario"]

_PORTS_PER_ADDRESS = 20_000
"""Sockets from one loopback address; Linux gives out about 28,000 ports for each."""


class CannotRun(Exception):
    """The run cannot be made; one line that says what to do."""


class Scenario(Protocol):
    """One kind of load: a module in ``loadtest/scenarios`` has these names."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the scenario's own options."""
        ...

    def validate(self, options: Namespace) -> list[str]:
        """Return everything that is wrong with the options."""
        ...

    def sockets(self, options: Namespace) -> int:
        """Return how many descriptors it needs."""
        ...

    async def run(self, context: "Context") -> None:
        """Make the load and fill the report; raises CannotRun."""
        ...


class Context:
    """One run of a scenario."""

    def __init__(self, options: Namespace, report: Report, tell: Callable[[str], None]) -> None:
        self.options = options
        self.report = report
        self.tell = tell
        self.began = monotonic()
        self.phase = "starting"
        self._last: dict[str, float] = {}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every request carries."""
        headers = dict(text.split(":", 1) for text in self.options.header)
        headers = {name.strip(): value.strip() for name, value in headers.items()}
        if self.options.token:
            headers["Authorization"] = f"Bearer {self.options.token}"
        return headers

    def place(self, path: str = "/ws") -> Place:
        """Return where WebSockets connect."""
        return place_of(self.options.url, path, {"Sec-WebSocket-Protocol": "sluice.v1", **self.headers})

    def moment(self, **gauges: float) -> None:
        """Close one second of the time line: what each counter grew by, and the gauges."""
        grown = {name: value - self._last.get(name, 0) for name, value in self.report.counters.items()}
        self._last = dict(self.report.counters)
        self.report.timeline.append(Moment(monotonic() - self.began, {**grown, **gauges}))

    async def ticking(self, job: Awaitable[None], gauges: Callable[[], dict[str, float]]) -> None:
        """Keep the time line and the display while a job runs."""
        task = asyncio.ensure_future(job)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=1.0)
                self.moment(**gauges())
                self.tell(self.phase)
            await task
        finally:
            task.cancel()

    async def connect(self, count: int, at_once: int, prepare: Callable[[Socket], Awaitable[None]]) -> list[Socket]:
        """Connect ``count`` sockets, at most ``at_once`` at a time, and return those that are up and prepared."""
        place, sources = self.place(), _sources(self.place().host, count)
        numbers: Iterable[int] = iter(range(count))
        up: list[Socket] = []

        async def worker() -> None:
            for number in numbers:
                socket = Socket(place)
                try:
                    tcp, upgrade = await socket.connect(sources[number % len(sources)])
                    self.report.latency("connect").record((tcp + upgrade) * 1000)
                    await prepare(socket)
                except ConnectFailed as error:
                    self.report.error(f"connect: {error}")
                    socket.abort()
                else:
                    up.append(socket)
                    self.report.count("connected")

        self.phase = f"connecting {count:,} clients"
        await self.ticking(_all(worker() for _ in range(min(at_once, count))), lambda: {"clients": len(up)})
        return up


def raise_descriptors(needed: int) -> None:
    """Raise the limit of descriptors, or raise CannotRun when it is too low for ``needed`` sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed + 50 > hard:
        raise CannotRun(
            f"{needed} sockets need {needed + 50} descriptors and the limit is {hard}: take fewer --clients, "
            "or raise it (ulimit -Hn)"
        )
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _all(jobs: Iterable[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_run(job))


async def _run(job: Awaitable[None]) -> None:
    await job


def _sources(host: str, count: int) -> list[str | None]:
    """Return the addresses to connect from: several on loopback, where one has too few ports."""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or ":" in host or count <= _PORTS_PER_ADDRESS:
        return [None]
    return [f"127.0.0.{2 + number}" for number in range(-(-count // _PORTS_PER_ADDRESS))]
