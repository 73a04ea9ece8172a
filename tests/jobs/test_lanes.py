"""Places for attempts of jobs: no client keeps all of them, and of few places there is an extra one for others."""

import asyncio
from collections import Counter
from collections.abc import Callable

from service.core.jobs.agenda import Agenda
from service.jobs.lanes import Lane
from tests.core.jobs.jobs import new_job


class Carried:
    """A lane whose attempts run until the test ends them."""

    def __init__(self, places: int) -> None:
        self.agenda = Agenda()
        self.lane = Lane("call", self.agenda, places, self._carry_out)
        self.began: list[str] = []
        self._ends: dict[str, list[Callable[[], None]]] = {}
        self._rows = 0

    async def _carry_out(self, row: int, worked: Callable[[], None]) -> None:
        owner = self.agenda.get(row).owner
        self.began.append(owner)
        end = asyncio.Event()
        self._ends.setdefault(owner, []).append(end.set)
        await end.wait()
        worked()

    def make(self, owner: str, count: int) -> None:
        for _ in range(count):
            self._rows += 1
            self.agenda.put(new_job(self._rows, owner=(owner, 1.0, True), kind="call"))

    async def pump(self) -> Counter[str]:
        """Begin the jobs that may begin, and return how many of each owner have begun."""
        while self.lane.pump(1000.0):
            pass
        await asyncio.sleep(0.01)
        return Counter(self.began)

    async def end(self, owner: str) -> None:
        self._ends[owner].pop()()
        await asyncio.sleep(0.01)


async def test_one_client_has_nine_tenths_of_many_places() -> None:
    bench = Carried(20)
    bench.make("a", 50)
    assert await bench.pump() == {"a": 18}
    bench.make("b", 5)
    assert await bench.pump() == {"a": 18, "b": 2}
    statistics = bench.lane.pool.statistics()
    assert (statistics.used, statistics.owners, statistics.largest) == (20, 2, 18)
    assert statistics.refused
    assert bench.lane.due == 35
    for _ in range(2):
        await bench.end("a")
    assert (await bench.pump())["b"] > 2, "it has its turns"
    assert "20 of 20 run" in repr(bench.lane)
    await bench.lane.close()


async def test_of_few_places_one_has_all_and_there_is_one_more_for_others() -> None:
    bench = Carried(2)
    bench.make("a", 3)
    assert await bench.pump() == {"a": 2}
    bench.make("b", 2)
    assert await bench.pump() == {"a": 2, "b": 1}
    bench.make("c", 1)
    assert await bench.pump() == {"a": 2, "b": 1}, "one extra place, and not one for each client"
    await bench.end("b")
    assert await bench.pump() in ({"a": 2, "b": 2}, {"a": 2, "b": 1, "c": 1})
    await bench.lane.close()
    assert bench.lane.pool.used == 0


async def test_what_becomes_due_while_its_client_has_used_up_its_share_keeps_its_order() -> None:
    bench = Carried(10)
    bench.make("a", 12)
    bench.make("b", 1)
    assert await bench.pump() == {"a": 9, "b": 1}
    bench.make("a", 3)
    await bench.pump()
    for _ in range(9):
        await bench.end("a")
    assert await bench.pump() == {"a": 15, "b": 1}
    assert not bench.lane.due
    await bench.lane.close()
