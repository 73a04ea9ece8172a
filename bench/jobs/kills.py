"""Kills at random of the service and of what carries its functions out, while jobs of all kinds are due."""

import asyncio
import logging
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import psutil
import uvloop

from bench.durability.figure import Figure, data_folder
from bench.jobs.account import Account
from bench.jobs.asking import TOPIC, Effects, Round
from bench.jobs.figure import Service
from service.client import Backoff, Client, Message

__all__ = ["Embedded", "Place", "add_options", "run"]

_LONGEST: Final = 0.7
"""Seconds between two kills, at the most."""
_KILLS: Final = 3
"""Of one round, which no attempt of a job can all be lost to: it fails after three."""
_NAMED: Final = 5
_SLOT: Final = "service.jobs.slot"
_RING: Final = ("--ring-messages", "100000", "--ring-size", str(64 << 20), "--ring-age", "86400")


class Place(Protocol):
    """A service, and what carries its functions out: processes of its own, or the workers of a broker."""

    name: str
    url: str

    def kill(self, chance: random.Random) -> str:
        """Kill something, start it again if it does not come back by itself, and return what it was."""
        ...

    def stop(self) -> None:
        """End all of it."""
        ...


class Embedded:
    """A service with slots."""

    name = "slots"

    def __init__(self, port: int, folder: Path, upstream: int) -> None:
        allowed = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream), "--jobs-size", str(4 << 30))
        self._service = Service(port, folder, *allowed, *_RING)
        self.url = self._service.url

    def kill(self, chance: random.Random) -> str:
        """Kill the service, or one of its slots."""
        slots = self._slots()
        if slots and chance.random() < 0.5:
            with suppress(psutil.NoSuchProcess):
                chance.choice(slots).kill()
            return "slot"
        self._service.kill()
        self._service.start_again()
        return "service"

    def _slots(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self._service.child.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if _SLOT in child.cmdline():
                    found.append(child)
        return found

    def stop(self) -> None:
        """End the service."""
        self._service.stop()


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=5, help="of kills (the issue: 200)")
    parser.add_argument("--jobs", type=int, default=100, help="of each round (the issue: 1,000)")
    parser.add_argument("--seed", type=int, default=None, help="of the kills; default: another each time")


def run(options: Namespace) -> list[Figure]:
    """Have jobs done through kills, and return the broken promises."""
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"  kills: --seed {seed}", file=sys.stderr)
    # It warns whenever nothing listens at the port.
    logging.getLogger("sluice.client").setLevel(logging.ERROR)
    with data_folder() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_killed(options, folder, random.Random(seed)))


async def _killed(options: Namespace, folder: Path, chance: random.Random) -> list[Figure]:
    account, kills = Account(), dict[str, int]()
    effects = Effects(account)
    await effects.open()
    place: Place = await asyncio.to_thread(Embedded, options.port, folder, effects.port)
    try:
        reading = asyncio.create_task(_read(place.url, account))
        for number in range(options.rounds):
            one = Round(number, place.url, f"http://127.0.0.1:{effects.port}", folder / f"marks-{number}", account)
            try:
                await _round(one, place, options.jobs, chance, kills)
            finally:
                await one.close()
            one.read_marks(account.effect)
            print(f"  kills: round {number + 1} of {options.rounds}, {kills}, {_shown(account)}", file=sys.stderr)
        await _published(reading, account)
    finally:
        await asyncio.to_thread(place.stop)
        await effects.close()
    return [_figure(options, account, kills, place)]


async def _round(one: Round, place: Place, jobs: int, chance: random.Random, kills: dict[str, int]) -> None:
    asking = asyncio.create_task(one.ask(jobs, chance))
    for _ in range(_KILLS):
        await asyncio.sleep(chance.uniform(0.0, _LONGEST))
        what = await asyncio.to_thread(place.kill, chance)
        kills[what] = kills.get(what, 0) + 1
    await asking
    await one.follow()


async def _read(url: str, account: Account) -> None:
    """Take every message of the topic for an effect, through all kills."""
    async with Client(url, backoff=Backoff(0.05, 0.2)) as client:
        async for message in client.subscribe(TOPIC, since="oldest"):
            if not isinstance(message, Message):
                raise RuntimeError(f"messages were missed: {message}")
            account.effect(message.data, time.time())


async def _published(reading: "asyncio.Task[None]", account: Account) -> None:
    """Wait until what was published has come to the reader, and end it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while account.without_effect and not reading.done():  # noqa: ASYNC110 - a message is on its way
                await asyncio.sleep(0.1)
    if reading.done():
        await reading
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


def _shown(account: Account) -> str:
    broken = account.broken
    return "; ".join(f"{rule}: {len(names)} ({', '.join(names[:_NAMED])})" for rule, names in broken.items()) or "0"


def _figure(options: Namespace, account: Account, kills: dict[str, int], place: Place) -> Figure:
    killed = ", ".join(f"{count} of a {what}" for what, count in sorted(kills.items()))
    return Figure(
        f"kills: promises broken, {place.name}",
        f"{options.rounds} rounds of {options.jobs:,} jobs of all kinds; kills: {killed}",
        f"{_shown(account)} of {len(account.jobs):,}; {account.again} effects again, {account.given_up} `lost`",
        bar="0", held=not account.broken,
    )  # fmt: skip
