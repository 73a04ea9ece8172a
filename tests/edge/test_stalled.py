"""Connections without room: visited again when they have some, bounded all together."""

import asyncio
from typing import Any

from service.core.owner import Owner
from service.core.pool import PoolStatistics
from service.edge.websocket.stalled import Stalled


class FakeConnection:
    """Holds so many bytes that its peer does not take."""

    def __init__(self, size: int, owner: str = "a") -> None:
        self.size = size
        self.owner = Owner(owner)
        self.visits = 0
        self.was_cut = False
        self.transport: Any = self
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.size

    def full(self) -> bool:
        return self.size > 100

    def revisit(self) -> None:
        self.visits += 1

    def cut_slow(self, reason: str) -> None:
        assert reason == "backlogs"
        self.was_cut = True


async def test_a_connection_that_has_drained_is_visited_once() -> None:
    stalled, one, two = Stalled(), FakeConnection(1000), FakeConnection(1000)
    assert stalled.add(one)  # type: ignore[arg-type]
    assert not stalled.add(one)  # type: ignore[arg-type]
    stalled.add(two)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    assert one.visits == two.visits == 0
    one.size = 0
    await asyncio.sleep(1)
    assert (one.visits, two.visits, len(stalled)) == (1, 0, 1)
    stalled.close()


async def test_a_connection_without_readers_is_released() -> None:
    stalled, one = Stalled(), FakeConnection(1000)
    stalled.add(one)  # type: ignore[arg-type]
    one.reading = False
    await asyncio.sleep(1)
    assert len(stalled) == 0


async def test_beyond_the_bound_the_longest_stuck_is_cut() -> None:
    stalled = Stalled(most=2500)
    connections = [FakeConnection(1000) for _ in range(4)]
    for connection in connections:
        stalled.add(connection)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    assert [connection.was_cut for connection in connections] == [True, True, False, False]
    assert (stalled.cut, stalled.held) == (2, 2000)
    stalled.close()


async def test_beyond_the_bound_the_client_that_holds_most_gives_way() -> None:
    stalled = Stalled(most=4000)
    careful = [FakeConnection(700, "careful") for _ in range(2)]
    greedy = [FakeConnection(1000, "greedy") for _ in range(4)]
    for connection in (*careful, *greedy):
        stalled.add(connection)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    assert not any(connection.was_cut for connection in careful)
    assert [connection.was_cut for connection in greedy] == [True, True, False, False]
    assert stalled.statistics() == PoolStatistics(bound=4000, used=3400, owners=2, largest=2000, refused=2)
    stalled.close()


async def test_a_client_that_takes_again_holds_nothing() -> None:
    stalled, one = Stalled(), FakeConnection(1000)
    stalled.add(one)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    assert stalled.statistics().used == 1000
    one.size = 0
    await asyncio.sleep(1)
    assert (stalled.statistics().used, stalled.statistics().owners) == (0, 0)


async def test_nothing_ticks_when_nobody_is_stuck() -> None:
    stalled, one = Stalled(), FakeConnection(0)
    stalled.add(one)  # type: ignore[arg-type]
    await asyncio.sleep(1)
    assert not stalled._timer.running
