"""Pings of all connections from one timer: each once in a heartbeat, and a silent one is cut within one and a half."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from service.core.owner import Owner
from service.edge.websocket.heartbeat import _PINGED, PingTimer


class Peer:
    """Notes when it is pinged; cut when it was silent."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.pings: list[float] = []
        self.cut_at: float | None = None

    def ping(self) -> None:
        self.pings.append(asyncio.get_running_loop().time())

    def cut_silent(self) -> None:
        self.cut_at = asyncio.get_running_loop().time()


async def test_each_is_pinged_once_in_a_heartbeat_and_not_all_at_once() -> None:
    heartbeat, peers = PingTimer(10.0), [Peer() for _ in range(20)]
    some: list[Any] = peers
    began = asyncio.get_running_loop().time()
    for peer in some:
        heartbeat.add(peer)
    assert repr(heartbeat) == "<PingTimer of 20 every 10 s>"
    await asyncio.sleep(30.5)
    heartbeat.close()
    assert {len(peer.pings) for peer in peers} == {3}
    assert len({peer.pings[0] for peer in peers}) == 10
    assert all(began < peer.pings[0] <= began + 10.1 for peer in peers)
    assert heartbeat.cut == 0


async def test_many_that_are_due_together_are_pinged_some_in_each_turn_of_the_loop() -> None:
    loop: Any = asyncio.get_running_loop()
    heartbeat, at = PingTimer(10.0), Counter[int]()

    class Counted(Peer):
        def ping(self) -> None:
            super().ping()
            at[loop.turns] += 1

    some: list[Any] = [Counted() for _ in range(2000)]
    for peer in some:
        heartbeat.add(peer)
    await asyncio.sleep(10.5)
    heartbeat.close()
    assert {len(peer.pings) for peer in some} == {1}
    assert max(at.values()) <= _PINGED


async def test_a_silent_one_is_cut_within_one_and_a_half_and_the_others_are_not() -> None:
    heartbeat, silent, other = PingTimer(10.0), Peer(silent=True), Peer()
    some: list[Any] = [silent, other]
    began = asyncio.get_running_loop().time()
    for peer in some:
        heartbeat.add(peer)
    await asyncio.sleep(15.5)
    heartbeat.close()
    assert silent.cut_at is not None
    assert silent.cut_at <= began + 15
    assert other.cut_at is None
    assert heartbeat.cut >= 1


async def test_one_that_has_left_is_not_pinged_and_leaving_twice_is_harmless() -> None:
    heartbeat, peer = PingTimer(2.0), Peer()
    some: Any = peer
    heartbeat.add(some)
    heartbeat.discard(some)
    heartbeat.discard(some)
    await asyncio.sleep(5)
    heartbeat.close()
    assert peer.pings == []


async def test_without_connections_nothing_runs() -> None:
    PingTimer(2.0).close()
    assert len(asyncio.all_tasks()) == 1


class Backlog:
    """Turns of a loop that is behind: what is called waits until the test carries it out."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], object]] = []

    @property
    def waiting(self) -> int:
        return len(self.actions)

    def call(self, owner: Owner, action: Callable[[], object]) -> None:
        self.actions.append(action)

    def carry_out(self) -> None:
        while self.actions:
            self.actions.pop(0)()


async def test_one_that_was_pinged_late_has_as_long_to_answer_as_the_others() -> None:
    heartbeat, peer = PingTimer(10.0), Peer()
    turns: Any = Backlog()
    heartbeat._turns = turns
    some: Any = peer
    heartbeat.add(some)
    await asyncio.sleep(5.9)
    assert turns.waiting == 1
    turns.carry_out()
    peer.silent = True
    await asyncio.sleep(4.0)
    assert peer.cut_at is None
    await asyncio.sleep(2.0)
    heartbeat.close()
    assert peer.cut_at is not None
