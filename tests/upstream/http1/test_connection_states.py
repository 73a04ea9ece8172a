"""The states of a connection to an upstream: the table in the module's text is what the code does, pair by pair."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from service.core.owner import Owner
from service.upstream.http1 import connection as module
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.http1.connection import Connection, ConnectionState
from service.upstream.http1.errors import ServerDisconnected
from service.upstream.http1.reader import ResponseReader
from tests.state_tables import transitions

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"2\r\nok\r\n0\r\n\r\n"
EVENTS = ("send", "part", "head", "last", "wrong", "end", "rest", "close")
TABLE = transitions(module, EVENTS)


class Wire(asyncio.Transport):
    """A transport that sends nothing and reports its end when the test does."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Walk:
    """One connection, and what can happen to it."""

    connection: Connection

    def happen(self, event: str) -> None:
        data = {
            "part": HEAD[:9] if self.connection.state is not ConnectionState.READING else BODY[:3],
            "head": HEAD,
            "last": HEAD + BODY if self.connection.state is not ConnectionState.READING else BODY,
            "wrong": b"\x16\x03\x01 no chunk and no head\r\n\r\n",
        }.get(event)
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: self.connection.send(b"GET / HTTP/1.1\r\n\r\n", ResponseReader()),
            "end": lambda: self.connection.connection_lost(None),
            "rest": self.connection.rest,
            "close": self.connection.close,
        }
        if data is not None:
            self.connection.data_received(data)
        else:
            calls[event]()

    def reach(self, state: str) -> None:
        for event in {"WAITING": ("send",), "READING": ("send", "head"), "ANSWERED": ("send", "last"),
                      "CLOSED": ("close",)}.get(state, ()):  # fmt: skip
            self.happen(event)
        assert self.connection.state.name == state


@pytest.fixture
async def walk() -> AsyncIterator[Walk]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = Connection(("http://a.example", Owner("a")), ours, AnswerTurns())
    connection.connection_made(Wire())
    yield Walk(connection)
    ours.close()
    theirs.close()


def test_the_table_has_every_state() -> None:
    assert {state for state, _ in TABLE} == {state.name for state in ConnectionState}


@pytest.mark.parametrize(("state", "event"), [pair for pair, following in TABLE.items() if following])
async def test_each_pair_of_the_table_is_what_happens(walk: Walk, state: str, event: str) -> None:
    walk.reach(state)
    if TABLE[state, event] == "refused":
        with pytest.raises(RuntimeError, match="carries another request"):
            walk.happen(event)
        assert walk.connection.state.name == state
    else:
        walk.happen(event)
        assert walk.connection.state.name == TABLE[state, event]
    assert walk.connection.state.name.lower() in repr(walk.connection)


async def test_a_request_on_a_closed_connection_fails_as_one_that_was_never_sent(walk: Walk) -> None:
    walk.reach("CLOSED")
    walk.happen("send")
    with pytest.raises(ServerDisconnected) as raised:
        await walk.connection.progress()
    assert raised.value.unsent


async def test_an_answer_that_allows_no_other_is_followed_by_the_end(walk: Walk) -> None:
    walk.reach("WAITING")
    walk.connection.data_received(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert walk.connection.state.name == "ANSWERED"
    assert walk.connection.rest() == 0
    assert walk.connection.state.name == "CLOSED"
