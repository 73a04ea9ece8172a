"""The states of a WebSocket: the tables in the module's text are what the code does, pair by pair."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from service.core.access.grants import EVERYTHING
from service.core.pool import Pool
from service.core.sessions.closing import BINARY, DRAINED, FLOODING
from service.edge.websocket import connection as module
from service.edge.websocket.connection import BACKLOG, ClosingState, Connection
from service.edge.websocket.conversation import RequestHandler
from service.edge.websocket.counters import WebSocketCounters
from service.edge.websocket.echo import Echo
from service.edge.websocket.stalled import Stalled
from tests.state_tables import transitions

EVENTS = ("end", "expire", "leave", "release", "release_busy", "cut_slow", "cut_stuck", "cut_silent", "cut")
SIGNS = ("taken", "pong", "ping", "ping_behind", "check")


STATES = transitions(module, EVENTS)
LIVENESS = transitions(module, SIGNS, "peer")


class Wire(asyncio.Transport):
    """A transport over a real socket, which holds as much as a test says."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.held = 0
        self.aborted = False
        self.written: list[bytes] = []

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.held

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))


class Subscriptions:
    closed = False


class Late:
    def when_answered(self, then: Callable[[], object]) -> None:
        then()


class Client:
    """The session of a client that reads nothing."""

    grant = EVERYTHING

    def __init__(self) -> None:
        self.readers: dict[str, Any] = {}
        self.late = Late()
        self.subscriptions = Subscriptions()

    def close(self) -> None:
        self.subscriptions.closed = True


class Walk:
    def __init__(self, sock: socket.socket, task: "asyncio.Task[object]") -> None:
        self.wire = Wire(sock)
        owner, pool = EVERYTHING.owner("::1"), Pool("websockets", 2, strict=True)
        pool.charge(owner, 1)
        self.connection = Connection("one", self.wire, task, Stalled(), "::1", pool, owner, WebSocketCounters())
        session: Any = Client()
        self.connection.session = session

    def take(self) -> None:
        """Have the peer take something of what waits, or be seen to."""
        self.wire.held += 1

    def happen(self, event: str) -> None:
        one = self.connection
        if event == "release_busy":
            one.busy = True
        if event == "cut_slow":
            self.take()
        calls: dict[str, Callable[[], object]] = {
            "end": lambda: one.end(BINARY), "expire": one.expire, "leave": lambda: one.leave(FLOODING), "release": one.release, "release_busy": one.release,
            "cut_slow": lambda: one.cut_slow("lag"), "cut_stuck": lambda: one.cut_slow("lag"),
            "cut_silent": one.cut_silent, "cut": one.cut,
        }  # fmt: skip
        calls[event]()
        one.busy = False

    def sign(self, event: str) -> None:
        one = self.connection
        if event == "taken":
            self.take()
            one.ping()
        elif event == "pong":
            one.handle_pong()
        elif event == "ping":
            one.ping()
        elif event == "ping_behind":
            self.wire.held = BACKLOG + 1
            one._seen = one._progress()
            one.ping()
        elif one.silent:
            one.cut_silent()

    @property
    def peer(self) -> str:
        if self.wire.aborted:
            return "CUT"
        return "HEARD" if self.connection.alive else "ASKED"


@pytest.fixture
async def walk() -> AsyncIterator[Walk]:
    ours, theirs = socket.socketpair()
    task: asyncio.Task[object] = asyncio.create_task(asyncio.sleep(3600))
    yield Walk(ours, task)
    task.cancel()
    ours.close()
    theirs.close()


def test_the_tables_have_every_state() -> None:
    assert {state for state, _ in STATES} == {state.name for state in ClosingState}
    assert {peer for peer, _ in LIVENESS} == {"HEARD", "ASKED", "CUT"}


REACHED = {"OPEN": None, "LEAVING": "release_busy", "ENDING": "end", "CUT": "cut"}


@pytest.mark.parametrize(("state", "event"), STATES)
async def test_each_pair_of_the_table_is_what_happens(walk: Walk, state: str, event: str) -> None:
    if (before := REACHED[state]) is not None:
        walk.happen(before)
    assert walk.connection.state.name == state
    reason = walk.connection.closing
    walk.happen(event)
    assert walk.connection.state.name == STATES[state, event]
    if reason is not None:
        assert walk.connection.closing is reason, "the first reason stays"


@pytest.mark.parametrize(("peer", "event"), [pair for pair, following in LIVENESS.items() if following])
async def test_each_pair_of_the_signs_of_life_is_what_happens(walk: Walk, peer: str, event: str) -> None:
    if peer == "ASKED":
        walk.sign("ping")
    elif peer == "CUT":
        walk.connection.cut()
    assert walk.peer == peer
    walk.wire.written.clear()
    walk.sign(event)
    assert walk.peer == LIVENESS[peer, event]
    assert walk.wire.written == ([b"\x89\x00"] if event == "ping" and peer != "CUT" else [])


async def test_one_that_may_miss_messages_and_holds_a_backlog_is_not_silent(walk: Walk) -> None:
    walk.sign("ping_behind")
    assert walk.connection.silent
    walk.connection.patient = True
    assert not walk.connection.silent


async def test_one_that_is_busy_is_not_silent(walk: Walk) -> None:
    walk.sign("ping")
    walk.connection.busy = True
    assert not walk.connection.silent


async def test_a_message_that_is_refused_does_not_replace_an_earlier_reason(walk: Walk) -> None:
    nothing: Any = None
    walk.connection.leave(DRAINED)
    await Echo().text(nothing, walk.connection, b"\xff")
    await RequestHandler.binary(nothing, nothing, walk.connection, b"")
    assert walk.connection.closing is DRAINED
