"""What a scenario gets: its options, its share of the clients, the target, and where to count."""

import asyncio
import random
from argparse import Namespace, _ArgumentGroup
from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from ipaddress import ip_address
from time import monotonic
from typing import Protocol

from loadtest.client import Client
from loadtest.crew import Crew
from loadtest.endpoint import NoAddress, endpoint_of
from loadtest.headers import Headers
from loadtest.pace import closed_model, open_model
from loadtest.pump import Pump
from loadtest.reads import Reads
from loadtest.schedule import Schedule, dealt, parse_rate
from loadtest.sockets import ConnectFailed, Socket
from loadtest.tally import Tally
from loadtest.targets import target_of

__all__ = ["CannotRun", "Context", "Scenario"]

_PORTS_PER_ADDRESS = 20_000
"""Sockets from one loopback address; Linux gives out about 28,000 ports for each."""
_LEAD = 0.1
"""Seconds between the last worker's readiness and the begin, so that the word reaches all."""


class CannotRun(Exception):
    """The run cannot be made, or not go on; one line that says what to do."""


class Scenario(Protocol):
    """One kind of load: a module in ``loadtest/scenarios`` has these names."""

    HELP: str

    def add_options(self, parser: _ArgumentGroup) -> None:
        """Declare the scenario's own options."""
        ...

    def validate(self, options: Namespace) -> list[str]:
        """Return everything that is wrong with the options."""
        ...

    async def run(self, context: "Context") -> None:
        """Make this process' share of the load and count what comes of it; raises CannotRun."""
        ...


class Context:
    """One process' part in one round of a scenario."""

    def __init__(self, options: Namespace, crew: Crew) -> None:
        self.options = options
        self.crew = crew
        self.tally = Tally()
        self.endpoint = endpoint_of(options)
        self.target = target_of(options.target)(self.endpoint)
        self.reads = Reads(self.target.MARKER, self.target.OPENING)
        self.pump = Pump(self.reads)
        self.chores: list[Callable[[], bool]] = []
        """Called all the time, for a millisecond each; they return whether they have more to do."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with CannotRun when nothing is left to go on with."""
        self.together: asyncio.Barrier | None = None
        """Where the parts of a mixed plan wait for each other before they begin."""
        self._sources = _sources(self.endpoint.host, options.clients)
        self._alive = [0]  # the parts of a plan share it

    def part(self, options: Namespace, name: str, together: asyncio.Barrier) -> "Context":
        """Return the context of one part of a mixed plan: it has its own options and shares everything else."""
        part = copy(self)
        part.options = options
        part.crew = self.crew.part(name)
        part.together = together
        return part

    @property
    def alive(self) -> int:
        """How many clients are connected."""
        return self._alive[0]

    def phase(self, text: str) -> None:
        """Say what is going on."""
        self.crew.say("phase", text)

    def mine(self, total: int) -> range:
        """Return the numbers of this process' share of ``total``: all shares together are all, once."""
        return range(self.crew.index, total, self.crew.count)

    def _request(self, topic: str) -> tuple[str, Headers]:
        """Return the path and the headers with which a client of a topic connects."""
        target, endpoint = self.target, self.endpoint
        ours: Headers = (("Sec-WebSocket-Protocol", target.PROTOCOL),) if target.PROTOCOL else ()
        if endpoint.compress:
            ours += (("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"),)
        given = {name.lower() for name, _ in endpoint.headers}
        kept = tuple((name, value) for name, value in ours if name.lower() not in given)
        path = self.options.path or target.PATH.format(topic=topic)
        return endpoint.request_target(path), (*kept, *endpoint.headers)

    async def resolve(self) -> None:
        """Look up the target's addresses once; raises CannotRun."""
        endpoint = self.endpoint
        try:
            await endpoint.addresses.look_up(endpoint.host, endpoint.port, self.options.connect_timeout)
        except NoAddress as error:
            raise CannotRun(f"--url: {endpoint.host} has no address: {error}") from None

    async def client(self, number: int, topic: str = "", due: float | None = None) -> Client:
        """Connect one client; ``due`` is when that was meant to begin. Raises ConnectFailed."""
        begin = monotonic()
        socket = Socket(self.endpoint, *self._request(topic), self.reads)
        client = Client(self, number, socket)
        source = self._sources[number % len(self._sources)]
        phases = await socket.connect(number, source, self.options.connect_timeout)
        try:
            await self.target.ready(socket)
        except ConnectFailed:
            socket.abort()
            raise
        tally = self.tally
        tally.duration("tcp", phases.tcp)
        if phases.tls:
            tally.duration("tls", phases.tls)
        tally.duration("upgrade", phases.upgrade)
        tally.duration("connect", monotonic() - (begin if due is None else due))
        tally.count("connected")
        self._alive[0] += 1
        socket.on_close = client.lost
        if self.endpoint.tls is None:
            self.pump.take(socket)
        return client

    def dismiss(self, clients: Iterable[Client]) -> None:
        """Count who is still there at the end of the load, and have everyone leave."""
        clients = list(clients)
        self.tally.count("held", sum(not client.socket.closed for client in clients))
        for client in clients:
            client.leave()

    def left(self, why: str | None) -> None:
        """Note that a client has gone; ``why`` when it did not want to."""
        self._alive[0] -= 1
        if why is None:
            return
        self.tally.count("dropped")
        self.tally.error(why)
        if not self._alive[0] and not self.over.done():
            self.over.set_exception(CannotRun(f"the target is gone, every connection was lost: {why}"))

    async def connect(
        self,
        numbers: Iterable[int],
        at_once: int,
        topic_of: Callable[[int], str] = lambda number: "",
        prepare: Callable[[Client], Awaitable[None]] | None = None,
    ) -> list[Client]:
        """Connect clients, ``at_once`` at a time, and return those that are up; raises CannotRun if none is."""
        waiting, up = iter(numbers), list[Client]()

        async def worker() -> None:
            for number in waiting:
                try:
                    up.append(await self._prepared(number, topic_of(number), prepare))
                except ConnectFailed as error:
                    self.tally.error(f"connect: {error}")

        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, at_once // self.crew.count)):
                group.create_task(worker())
        if not up and self.mine(self.options.clients):
            errors = ", ".join(self.tally.errors) or "see the errors above"
            raise CannotRun(f"no client could connect to {self.options.url}: {errors}")
        return up

    async def _prepared(
        self, number: int, topic: str, prepare: Callable[[Client], Awaitable[None]] | None
    ) -> Client:
        client = await self.client(number, topic)
        try:
            if prepare is not None:
                await prepare(client)
        except ConnectFailed:
            client.cut()
            raise
        return client

    def schedule(self) -> Schedule:
        """Return the schedule that ``--rate`` and ``--duration`` make."""
        return parse_rate(self.options.rate, self.options.duration)

    def times(self, schedule: Schedule) -> Iterator[float]:
        """Return the intended times of a schedule, with the arrivals that were asked for."""
        if self.options.arrivals == "poisson":
            return schedule.poisson(random.Random(self.options.seed).random)  # noqa: S311 - no secret
        return schedule.even()

    async def begin(self) -> float:
        """Meet all workers and return the moment (monotonic clock) at which the load begins."""
        if self.together is not None:
            await self.together.wait()
        moments = await self.crew.meet("begin", monotonic())
        begin = float(max(moments)) + _LEAD
        self.tally.measured_from = begin + self.options.warm_up
        # Told now: a short run might be over before the next second.
        self.tally.gauges["clients"] = self.alive
        self.crew.say("tick", self.tally.take())
        return begin

    async def end(self) -> None:
        """Meet all workers when the load is over."""
        await self.crew.meet("end")

    async def load(self, begin: float, one: Callable[[int, float], Awaitable[None]]) -> None:
        """Do ``one(number, due)`` by the schedule of the options, this process its share; or in a closed loop."""
        options = self.options
        if options.model == "closed":
            users = len(self.mine(options.clients))
            await closed_model(users, begin + options.duration, options.think, one)
            return
        times = dealt(self.times(self.schedule()), self.crew.index, self.crew.count)
        await open_model(times, begin, one, lambda: self.tally.count("dropped_iterations"))


def _sources(host: str, count: int) -> list[str | None]:
    """Return the addresses to connect from: several on loopback, where one has too few ports."""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or ":" in host or count <= _PORTS_PER_ADDRESS:
        return [None]
    return [f"127.0.0.{2 + number}" for number in range(-(-count // _PORTS_PER_ADDRESS))]
