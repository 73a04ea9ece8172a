"""Bodies that many answers decode at the same time: all of them together hold the loop no longer than one."""

import asyncio
import gzip
from collections import Counter
from types import SimpleNamespace
from typing import Any

from service.core.owner import SERVICE, Owner
from service.runtime.per_turn import PerTurn
from service.upstream.http1.client import Response
from service.upstream.http1.codings import Decoding

STEPS = 4


class Bomb:
    """A reader whose whole body has come: 1 MiB that is coded as 1 KiB."""

    def __init__(self) -> None:
        self.pieces = [gzip.compress(bytes(1 << 20))]
        self.codings = ()
        self.done = True

    def read(self) -> bytes:
        return self.pieces.pop()


async def size_of(answer: Response, owner: Owner = SERVICE) -> int:
    size = 0
    while piece := await answer.piece(owner):
        size += len(piece)
    return size


async def test_many_bombs_together_take_no_more_steps_in_a_turn_than_one(monkeypatch: Any) -> None:
    now, steps = 0, Counter[int]()
    step = Decoding.step

    def counted(decoding: Decoding) -> bytes:
        steps[now] += 1
        return step(decoding)

    monkeypatch.setattr(Decoding, "step", counted)
    head: Any = SimpleNamespace(status=200, headers={"content-encoding": "gzip"}, repeated={}, size=22)
    limiter = PerTurn(STEPS)
    parts: Any = None
    bombs: list[Any] = [Bomb() for _ in range(20)]
    tasks = [asyncio.create_task(size_of(Response(parts, bomb, head, parts, limiter))) for bomb in bombs]
    tasks[3].cancel()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        now += 1
    assert tasks[3].cancelled()
    assert [task.result() for task in tasks if not task.cancelled()] == [1 << 20] * 19
    # Of those who wait some pass at the end of a turn, and some who come new at its beginning.
    assert max(steps.values()) <= 2 * STEPS
    assert steps.total() >= 19 * 16


async def test_a_body_is_decoded_in_its_owners_turn_however_many_another_owner_has() -> None:
    head: Any = SimpleNamespace(status=200, headers={"content-encoding": "gzip"}, repeated={}, size=22)
    limiter = PerTurn(STEPS)
    parts: Any = None

    def begin(owner: str) -> "asyncio.Task[int]":
        bomb: Any = Bomb()
        return asyncio.create_task(size_of(Response(parts, bomb, head, parts, limiter), Owner(owner)))

    bombs = [begin("many") for _ in range(200)]
    await asyncio.sleep(0)
    other, turns = begin("other"), 0
    while not other.done():
        await asyncio.sleep(0)
        turns += 1
    # 17 steps, and what lies between two of them: 200 bodies would have a turn of 4 steps fifty times as often.
    assert turns < 100
    assert not any(task.done() for task in bombs)
    for task in bombs:
        task.cancel()
    await asyncio.gather(*bombs, return_exceptions=True)
