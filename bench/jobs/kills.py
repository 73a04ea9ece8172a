"""Kills at random of the service and of what carries its functions out, while jobs of all kinds are due."""

import asyncio
import logging
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from bench.durability.figure import Figure, data_folder
from bench.jobs import brokers
from bench.jobs.account import Account
from bench.jobs.asking import TOPIC, Effects, Round, read_marks
from bench.jobs.places import Embedded, OnCelery, Place
from service.client import Backoff, Client, Message

__all__ = ["add_options", "run"]

_LONGEST: Final = 0.7
"""Seconds between two kills, at most."""
_KILLS: Final = 3
"""Of one round."""
_ROUNDS: Final = 3
"""Rounds at a time: the next round begins while jobs of the one before wait for their next attempts."""
_NAMED: Final = 5


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
    return [_figure(options, kind, seed) for kind in options.celery or [None]]


def _figure(options: Namespace, kind: str | None, seed: int) -> Figure:
    """Kill processes of a service with slots, or with ``--celery`` of a service, its workers and the broker."""
    if kind is not None and (lacking := brokers.missing(kind)):
        return Figure(f"kills: promises broken, Celery on {brokers.NAMES[kind]}", "", f"not measured: {lacking}")
    start = Embedded if kind is None else partial(OnCelery, kind)
    account, kills = Account(), dict[str, int]()
    with data_folder() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        name = runner.run(_killed(options, start, folder, random.Random(seed), account, kills))
    killed = ", ".join(f"{count} of a {what}" for what, count in sorted(kills.items()))
    return Figure(
        f"kills: promises broken, {name}",
        f"{options.rounds} rounds of {options.jobs:,} jobs of all kinds; kills: {killed}",
        f"{_shown(account)} of {len(account.jobs):,}; {account.again} effects again, {account.given_up} `lost`",
        bar="0", held=not account.broken,
    )  # fmt: skip


async def _killed(
    options: Namespace, start: Callable[[int, Path, int], Place], folder: Path, chance: random.Random,
    account: Account, kills: dict[str, int],
) -> str:  # fmt: skip
    """Fill the account, and count the kills by what was killed; return the name of the place."""
    effects = Effects(account)
    await effects.open()
    place = await asyncio.to_thread(start, options.port, folder, effects.port)
    try:
        reading = asyncio.create_task(_read(place.url, account))
        async with asyncio.TaskGroup() as following:
            turns = asyncio.Semaphore(_ROUNDS)
            for number in range(options.rounds):
                await turns.acquire()
                one = Round(number, place.url, f"http://127.0.0.1:{effects.port}", folder / "marks", account)
                await _ask(one, place, options.jobs, chance, kills)
                print(f"  kills: round {number + 1} of {options.rounds}, {kills}", file=sys.stderr)
                following.create_task(_follow(one, turns))
        read_marks(folder / "marks", account.effect)
        await _published(reading, account)
    finally:
        await asyncio.to_thread(place.stop)
        await effects.close()
    return place.name


async def _ask(one: Round, place: Place, jobs: int, chance: random.Random, kills: dict[str, int]) -> None:
    """Make the jobs of a round, and kill meanwhile."""
    asking = asyncio.create_task(one.ask(jobs, chance))
    for _ in range(_KILLS):
        await asyncio.sleep(chance.uniform(0.0, _LONGEST))
        what = await asyncio.to_thread(place.kill, chance)
        kills[what] = kills.get(what, 0) + 1
    await asking


async def _follow(one: Round, turns: asyncio.Semaphore) -> None:
    try:
        await one.follow()
    finally:
        await one.close()
        turns.release()


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
