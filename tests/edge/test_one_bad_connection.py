"""One bad connection hurts itself alone: timers that serve many of them go on when one of them raises."""

import asyncio
from typing import Any

import pytest

from service.core.owner import Owner
from service.edge.access.expiries import Expiries
from service.edge.routes.streams import Streams
from service.edge.websocket.heartbeat import PingTimer
from service.edge.websocket.stalled import Stalled
from service.upstream.deadlines import Deadlines


class Bad:
    """Raises at every call, once it has been armed."""

    full = False
    reading = True
    size = 1000
    owner = Owner("a")

    def __init__(self, *, armed: bool) -> None:
        self.armed = armed
        self.done: list[str] = []
        self.session = self.transport = self.topic = self
        self.readers = {"t": object()}
        self.limits = object()
        self.name = "t"
        self.held = 1000
        self.silent = True

    def _do(self, what: str) -> None:
        self.done.append(what)
        if self.armed:
            raise RuntimeError(what)

    def get_write_buffer_size(self) -> int:
        return self.size

    def revisit(self) -> None:
        self._do("revisit")

    def cut(self) -> None:
        self._do("cut")

    def cut_slow(self, reason: str, *_: object) -> None:
        self._do("cut slow")

    def ping(self) -> None:
        self._do("ping")

    def cut_silent(self) -> None:
        self._do("cut silent")

    def expire(self) -> None:
        self._do("expire")

    def end(self) -> None:
        self._do("end")

    def evict(self) -> None:
        self._do("evict")

    def cancel(self) -> None:
        self._do("cancel")


@pytest.fixture
def some() -> list[Any]:
    return [Bad(armed=True), Bad(armed=False), Bad(armed=True), Bad(armed=False)]


def done(some: list[Any], what: str) -> list[bool]:
    return [what in one.done for one in some]


async def test_stalled_connections(some: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    for one in some:
        one.full = lambda: False
    stalled = Stalled()
    for one in some:
        stalled.add(one)
    await asyncio.sleep(1)
    assert done(some, "revisit") == [True] * 4
    assert done(some, "cut") == [True, False, True, False]
    assert len(stalled) == 0
    assert "Traceback" in caplog.text


async def test_stalled_connections_that_hold_too_much(some: list[Any]) -> None:
    for one in some:
        one.full = lambda: True
    stalled = Stalled(most=0)
    for one in some:
        stalled.add(one)
    await asyncio.sleep(1)
    assert done(some, "cut slow") == [True] * 4
    for one in some:
        stalled.add(one)
    assert stalled.shed() == 1


async def test_heartbeats(some: list[Any]) -> None:
    heartbeat = PingTimer(2.0)
    for one in some:
        heartbeat.add(one)
    await asyncio.sleep(10)
    assert done(some, "ping") == done(some, "cut silent") == [True] * 4
    heartbeat.close()


async def test_ends_of_tokens(some: list[Any]) -> None:
    expiries = Expiries(asyncio.get_running_loop().time)
    for one in some:
        expiries.set(one, 5.0)
    await asyncio.sleep(10)
    assert done(some, "expire") == [True] * 4
    expiries.close()


async def test_streams(some: list[Any]) -> None:
    streams = Streams()
    streams.readers.update(some)
    streams.end()
    assert done(some, "end") == [True] * 4
    assert streams.shed() == 1


async def test_deadlines(some: list[Any]) -> None:
    deadlines = Deadlines()
    for one in some:
        deadlines.begin(one, 1.0)
    await asyncio.sleep(2)
    assert done(some, "cancel") == [True] * 4
    deadlines.close()
