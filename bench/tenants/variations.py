"""Variations of the attacks in attacks.py: in bursts, by many small clients, or a different kind each second."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import aiohttp

from bench.tenants.attacker import Attack, Attacker

__all__ = ["bursts", "crowd", "in_turn", "together"]

_BURST = 300
_CROWD = 400
_PAUSE = 0.5


async def bursts(a: Attacker) -> None:
    """Much at the same moment, then a rest: WebSockets that come and leave, requests, TLS to a plain port."""

    async def socket(_: int) -> None:
        async with a.socket() as one:
            await a.request(one, "subscribe", {"topic": "t"})

    async def request(number: int) -> None:
        async with a.get(f"/topics/burst-{number}") as answer:
            await answer.read()
            a.reported[str(answer.status)] += 1

    async def hello(_: int) -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        writer.transport.abort()

    kinds: tuple[Callable[[int], Awaitable[None]], ...] = (socket, request, hello)

    async def step(number: int) -> None:
        outcomes = await asyncio.gather(*map(kinds[number % 3], range(_BURST)), return_exceptions=True)
        for error in filter(None, outcomes):
            if not isinstance(error, (aiohttp.ClientError, OSError)):
                raise error
            a.cut(error)

    await a.steadily(step, _PAUSE)


async def crowd(a: Attacker) -> None:
    """Many small clients of one owner: each asks for a little of everything, twice a second."""

    async def one(name: int, _: int) -> None:
        async with a.socket() as socket:

            async def step(number: int) -> None:
                topic = f"crowd/{name % 20}"
                await a.request(socket, "subscribe", {"topic": topic})
                await a.request(socket, "publish", {"topic": topic, "data": number, "key": f"{name}-{number}"})
                await a.request(socket, "watch", {"url": a.far(name, f"watched/{name}"), "every": 1})
                await a.request(socket, "fetch", {"urls": [a.near(name, f"echo/crowd-{name}-{number}")]})
                await a.request(socket, "unsubscribe", {"topic": topic})

            await a.steadily(step, _PAUSE)

    await asyncio.gather(*(a.steadily(partial(one, name), 1.0) for name in range(_CROWD)))


def in_turn(attacks: Mapping[str, Attack], seconds: float) -> Attack:
    """Return an attack that runs one of these at random for this many seconds, then another."""

    async def attack(a: Attacker) -> None:
        await a.steadily(lambda _: _for(a, a.chance.choice(tuple(attacks.values())), seconds))

    return attack


def together(attacks: Mapping[str, Attack], places: int, seconds: float) -> Attack:
    """Return an attack that runs several of these at a time, chosen at random again and again."""
    one = in_turn(attacks, seconds)

    async def attack(a: Attacker) -> None:
        await asyncio.gather(*(one(a) for _ in range(places)))

    return attack


async def _for(a: Attacker, attack: Attack, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await attack(a)
