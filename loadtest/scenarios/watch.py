"""Clients that watch URLs which change at the origin: how fresh each is, and what the origin has to bear."""

import time
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable
from typing import Any

import orjson

from loadtest.audience import Audience
from loadtest.client import ClientContext
from loadtest.context import CannotRun, WorkerContext
from loadtest.measures import Measures
from loadtest.pace import until, until_all
from loadtest.sockets import Socket
from loadtest.targets.sluice import Sluice

__all__ = ["DEFAULTS", "HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "watch URLs whose document changes by the clock: freshness at every client, requests at the origin"
MEASURES = Measures(
    ("changes", "changes_missed", "delivered_freshness"), ("freshness",),
    ("origin_requests", "origin_conditional", "origin_not_modified"), checks=True,
)  # fmt: skip
_SAME_CLOCK = 0.001
DEFAULTS: dict[str, Any] = {"rate": "", "duration": 30.0}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--origin", default="http://127.0.0.1:9000", help="upstream: a `loadtest origin`")
    parser.add_argument("--urls", type=int, default=1, help="URLs that the clients share out (default 1)")
    parser.add_argument("--every", type=int, default=1, help="seconds between two polls (default 1)")
    parser.add_argument(
        "--period", type=float, default=5.0, help="seconds between two changes at the origin (default 5)"
    )


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    wrong = [] if options.urls > 0 else ["--urls: must be above 0"]
    if not 1 <= options.every <= 86_400:
        wrong.append("--every: from 1 to 86400")
    if options.period < options.every:
        wrong.append("--period: not below --every, or changes are missed")
    if options.duration < options.period + options.every + 1:
        wrong.append("--duration: at least --period and --every and a second, or no change may fall into it")
    return wrong


async def run(context: WorkerContext) -> None:
    """Watch for the duration. The first client of each URL reads what it says; the others count messages."""
    options = context.options
    if not isinstance(context.target, Sluice):
        raise CannotRun("--target: only a sluice service watches URLs")
    watching = [Watching(context, context.target, number) for number in range(options.urls)]
    context.chores.append(lambda: any(list(map(_flush, watching))))
    context.phase(f"connecting {options.clients:,} clients")

    async def watch(client: ClientContext) -> None:
        await watching[client.number % options.urls].join(client)

    clients = await context.connect(context.mine(options.clients), options.at_once, prepare=watch)
    begin = await context.begin()
    for one in watching:
        one.expect()
    context.phase(f"watching {options.urls:,} URLs that change every {options.period:g} s")
    await until(begin + options.duration)
    await context.end()
    await until_all(lambda: all(one.audience.complete for one in watching), options.settle)
    for one in watching:
        one.audience.close()
    context.dismiss(clients)


def _flush(one: "Watching") -> bool:
    return one.audience.flush()


class Watching:
    """One watched URL, and this process' clients of it."""

    def __init__(self, context: WorkerContext, target: Sluice, number: int) -> None:
        options = context.options
        self._context = context
        self._target = target
        self._period = options.period
        self._url = f"{options.origin}/etag/{options.run}-{number}?period={options.period:g}"
        self._scout: ClientContext | None = None
        self._version: int | None = None
        self.audience = Audience(self._url, context.tally, "freshness")

    async def join(self, client: ClientContext) -> None:
        """Have a client watch; raises ConnectFailed."""
        scout = self._scout is None
        early: list[tuple[int, int, float]] = []
        if scout:
            self._scout = client
            client.socket.on_text = self._reading(client.socket.on_text)
        else:
            client.socket.on_run = lambda *run: early.append(run)
        options = self._context.options
        # A client that was away would take the newest state; here the account shows whether any was left out.
        answer = await self._target.call(
            client.socket, "watch", url=self._url, every=options.every, on_lag="drop_oldest"
        )
        if scout:
            return
        member = self.audience.join(client.number, int(answer["offset"]) + 1)
        client.members = (member,)
        for run in early:
            member.took(*run)
        client.socket.on_run = member.took

    def expect(self) -> None:
        """Count the changes that fall into the run, and are seen before its end, as its load."""
        if self._scout is not None:
            now, options = time.time(), self._context.options
            last = now + options.duration - options.every - 1
            changes = int(last // self._period) - int(now // self._period)
            self._context.account.intended(changes)
            self._context.account.started(changes)

    def _reading(self, others: Callable[[Socket, bytes], None] | None) -> Callable[[Socket, bytes], None]:
        def received(socket: Socket, payload: bytes) -> None:
            message = orjson.loads(payload)
            if message.get("method") == "message":
                self._record(message["params"]["offset"], message["params"]["data"])
            elif others is not None:
                others(socket, payload)

        return received

    def _record(self, offset: int, event: dict[str, Any]) -> None:
        """Learn from the scout when a message's content came into being."""
        tally = self._context.tally
        if event["event"] == "error":
            tally.error(f"watch: {event['error']}")
            return
        if event["event"] not in ("state", "changed"):
            return
        version = int(orjson.loads(event["body"])["version"])
        # Both ends know the time of a change: it is a multiple of the period of the wall clock.
        age = time.time() - version * self._period
        due = time.monotonic() - age
        if age < -_SAME_CLOCK:
            tally.error("watch: a change from the future: the clocks of the origin and of this machine differ")
        if event["event"] == "state":
            # How old a first state is says nothing about how fast a change gets through.
            self.audience.ignore(offset)
        else:
            tally.count("changes")
            self._context.account.made()
            self.audience.published(offset, due)
            tally.latency("freshness", due, due + age)
            if self._version is not None:
                tally.count("changes_missed", version - self._version - 1)
        self._version = version
