"""What a scenario gets: its options, its share of the clients, the target, and where to count."""

import asyncio
import random
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterable, Iterator
from copy import copy
from time import monotonic
from typing import TypeVar

from loadtest.account import LoadAccount
from loadtest.client import ClientContext
from loadtest.clock import beginning
from loadtest.dialling import source_addresses
from loadtest.endpoint import NoAddress, endpoint_of
from loadtest.intake import Intake
from loadtest.pace import closed_model, open_model, until
from loadtest.position import Position
from loadtest.requests import request_of, user_of
from loadtest.schedule import Schedule, dealt, parse_rate, parse_stages
from loadtest.sockets import AnswerTimeout, ConnectFailed
from loadtest.tally import Tally, reasons
from loadtest.targets import target_of
from loadtest.targets.blame import blame, is_ours
from loadtest.worker_link import WorkerLink

__all__ = ["CannotRun", "WorkerContext"]

T = TypeVar("T")

_LEAD = 0.1
"""Seconds between the last worker's readiness and the begin, so that the word reaches all."""


class CannotRun(Exception):
    """The run cannot be made, or not go on; one line that says what to do."""


class WorkerContext:
    """One process' part in one round of a scenario."""

    def __init__(self, options: Namespace, link: WorkerLink) -> None:
        self.options = options
        self.link = link
        self.tally = Tally()
        self.account = LoadAccount(self.tally)
        self.endpoint = endpoint_of(options)
        self.target = target_of(options.target)(self.endpoint)
        self.target.options = options
        self.intake = Intake(self.target, options, self.tally)
        self.chores: list[Callable[[], bool]] = []
        """Called all the time, for a millisecond each; they return whether they have more to do."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with CannotRun when nothing is left to go on with."""
        self.together: asyncio.Barrier | None = None
        """Where the parts of a mixed plan wait for each other before they begin."""
        self._sources = source_addresses(self.endpoint.host, options.clients)
        self._alive = [0]  # the parts of a plan share it
        self._sequences = [1]  # and this

    def part(self, options: Namespace, name: str, together: asyncio.Barrier) -> "WorkerContext":
        """Return the context of one part of a mixed plan: it has its own options and shares everything else."""
        part = copy(self)
        part.options = options
        part.link = self.link.part(name)
        part.account = LoadAccount(self.tally, name.replace(" ", ""))
        part.together = together
        return part

    @property
    def alive(self) -> int:
        """How many clients are connected."""
        return self._alive[0]

    def phase(self, text: str) -> None:
        """Say what is going on."""
        self.link.send("phase", text)

    def mine(self, total: int) -> range:
        """Return the numbers of this process' share of ``total``: all shares together are all, once."""
        return range(self.link.index, total, self.link.count)

    async def resolve(self) -> None:
        """Look up the target's addresses once; raises CannotRun."""
        endpoint = self.endpoint
        try:
            await endpoint.addresses.look_up(endpoint.host, endpoint.port, self.options.connect_timeout)
        except NoAddress as error:
            raise CannotRun(f"--url: {endpoint.host} has no address: {error}") from None

    def sequences(self, count: int) -> int:
        """Take numbers for this many sequences of messages, and return the first; a run of one needs none."""
        first = self._sequences[0]
        self._sequences[0] += count
        return 0 if count == 1 and self.together is None else first

    async def client(
        self, number: int, topic: str = "", due: float | None = None, since: Position | None = None
    ) -> ClientContext:
        """Connect one client; ``due`` is when that was meant to begin, ``since`` where it was before.

        Raises ConnectFailed.
        """
        begin, options = monotonic(), self.options
        user = user_of(options, number)
        request = request_of(options, self.target, user, topic, since)
        socket = self.target.SOCKET(self.endpoint, *request, self.intake.reads)
        socket.token, socket.login, socket.since = user["token"] or options.token, user["login"], since
        client = ClientContext(self, number, socket)
        if since is not None:
            client.hold()
        source = self._sources[number % len(self._sources)]
        try:
            phases = await socket.connect(number, source, options.connect_timeout)
        except AnswerTimeout:
            self.account.unanswered()
            raise
        try:
            await self.answered(self.target.ready(socket))
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
        if self.target.HEARTBEAT:
            asyncio.get_running_loop().call_later(self.target.HEARTBEAT, client.beat)
        if self.endpoint.tls is None:
            self.intake.epoll.add(socket)
        return client

    def dismiss(self, clients: Iterable[ClientContext]) -> None:
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

    async def answered(self, call: Awaitable[T], size: int = 1) -> T:
        """Await what the server answers; raises AnswerTimeout, and counts ``size`` of the load as that."""
        try:
            async with asyncio.timeout(self.options.answer_timeout):
                return await call
        except TimeoutError:
            self.account.unanswered(size)
            raise AnswerTimeout(f"no answer within {self.options.answer_timeout:g} s") from None
        except (ValueError, KeyError, TypeError) as error:
            if not is_ours(self.target):
                raise
            raise ConnectFailed(f"an answer that makes no sense: {type(error).__name__}: {error}") from None

    async def act(self, call: Awaitable[T]) -> T:
        """Await one piece of the load and count it: as started, and as made or unanswered."""
        self.account.started()
        result = await self.answered(call)
        self.account.made()
        return result

    async def connect(
        self,
        numbers: Iterable[int],
        at_once: int,
        topic_of: Callable[[int], str] = lambda number: "",
        prepare: Callable[[ClientContext], Awaitable[None]] | None = None,
    ) -> list[ClientContext]:
        """Connect clients, ``at_once`` at a time, and return those that are up; raises CannotRun if none is."""
        numbers = list(numbers)
        self.tally.count("clients_intended", len(numbers))
        waiting, up, failed = iter(numbers), list[ClientContext](), list[str]()
        at_once = max(1, at_once // self.link.count)

        async def worker() -> None:
            for number in waiting:
                try:
                    up.append(await self._prepared(number, topic_of(number), prepare))
                except ConnectFailed as error:
                    self.tally.error(f"connect: {error}")
                    failed.append(f"connect: {error}")
                # Nobody is there, or nobody who answers: the others would only wait as long.
                if not up and len(failed) >= at_once:
                    return

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
        if not up and numbers:
            raise CannotRun(f"no client could connect to {self.options.url}: {reasons(failed)}")
        self.tally.count("clients_ready", len(up))
        return up

    async def _prepared(
        self, number: int, topic: str, prepare: Callable[[ClientContext], Awaitable[None]] | None
    ) -> ClientContext:
        client = await self.client(number, topic)
        try:
            if prepare is not None:
                await self.answered(prepare(client))
        except ConnectFailed:
            client.cut()
            raise
        return client

    def nonsense(self, error: Exception) -> None:
        """Count what makes no sense in a message; an adapter that is not ours ends the run with its error."""
        if isinstance(error, ConnectFailed) or is_ours(self.target):
            self.tally.error(f"a message that makes no sense: {error}"[:100])
        elif not self.over.done():
            self.over.set_exception(CannotRun(blame(error, self.options.target, self.target)))

    def schedule(self) -> Schedule:
        """Return the schedule that ``--rate`` and ``--duration`` make."""
        options = self.options
        return parse_stages(options.stage) if options.stage else parse_rate(options.rate, options.duration)

    def times(self, schedule: Schedule) -> Iterator[float]:
        """Return the intended times of a schedule, with the arrivals that were asked for."""
        if self.options.arrivals == "poisson":
            return schedule.poisson(random.Random(self.options.seed).random)  # noqa: S311 - no secret
        return schedule.even()

    async def begin(self) -> float:
        """Meet all workers and return the moment (monotonic clock) at which the load begins."""
        if self.together is not None:
            await self.together.wait()
        moments = await self.link.meet("begin", monotonic())
        soonest = float(max(moments)) + _LEAD
        begin = beginning(self.options.start_at, soonest)
        if begin < soonest:
            raise CannotRun(
                f"--start-at: the clients were ready {soonest - begin:.1f} s too late; give a later time"
            )
        if self.link.index == 0:
            self.link.send("began", begin)
        self.tally.measured_from = begin + self.options.warm_up
        # Reported now: a short run might be over before the next second.
        self.tally.gauges["clients"] = self.alive
        self.link.send("tick", self.tally.flush())
        return begin

    async def start(self) -> None:
        """Wait for ``--start-at``, where connecting is the load itself."""
        if self.options.start_at:
            await until(beginning(self.options.start_at, 0.0))
            self.options.start_at = 0.0

    async def end(self) -> None:
        """Meet all workers when the load is over."""
        await self.link.meet("end")

    async def load(self, begin: float, one: Callable[[int, float], Awaitable[None]]) -> None:
        """Do ``one(number, due)`` by the schedule of the options, this process its share; or in a closed loop."""
        options = self.options
        if options.model == "closed":
            await self._closed(begin, one)
            return
        await self.by_clock(dealt(self.times(self.schedule()), self.link.index, self.link.count), begin, one)

    async def by_clock(
        self,
        times: Iterator[tuple[int, float]],
        begin: float,
        one: Callable[[int, float], Awaitable[None]],
        at_most: int | None = None,
        size_of: Callable[[int], int] = lambda number: 1,
    ) -> None:
        """Do ``one(number, due)`` at each time; all are counted as intended, even if the run ends early."""
        planned = self.account.planned(times, size_of)
        more = {} if at_most is None else {"at_most": at_most}
        try:
            await open_model(planned, begin, one, lambda: self.tally.count("dropped_iterations"), **more)
        finally:
            self.account.rest(planned)

    async def _closed(self, begin: float, one: Callable[[int, float], Awaitable[None]]) -> None:
        options = self.options

        async def counted(number: int, due: float) -> None:
            self.account.intended()
            await one(number, due)

        await until(begin)
        await closed_model(len(self.mine(options.clients)), begin + options.duration, options.think, counted)
