"""What every connection of a session does, and the fake of one too."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from service.core.access.grants import EVERYTHING
from service.core.ports import Peer
from service.core.sessions.session import Session, SessionLimits
from service.core.topics.hub import Hub
from service.core.topics.topic import OnLag, Reader
from tests.core.peers import FakePeer
from tests.core.readers import Turns, make_hub


@dataclass
class Connected:
    """A connection with its session, and a hub that turns on request."""

    peer: Peer
    session: Session
    hub: Hub
    turns: Turns

    def join(self, on_lag: OnLag = OnLag.DISCONNECT) -> Reader:
        """Subscribe to the topic ``t`` from now on."""
        reader = self.peer.new_reader(self.hub.own("t"), on_lag)
        self.session.subscriptions.join(reader, "newest")
        return reader

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            self.hub.publish("t", b"%d" % number, 0.0)
        self.turns.settle()


class PeerContract:
    """Subclasses make the connection, and return what its client has received: answers, and data of messages."""

    def connect(self) -> AbstractAsyncContextManager[Any]:
        """Make a connection, which is closed after the block."""
        raise NotImplementedError

    async def received(self, peer: Any) -> list[Any]:
        """Return all that has come so far."""
        raise NotImplementedError

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connected]:
        turns = Turns()
        hub = make_hub(turns)
        async with self.connect() as peer:
            backend: Any = SimpleNamespace(refusals=Counter())
            peer.session = Session(hub, backend, SessionLimits(), peer, EVERYTHING)
            yield Connected(peer, peer.session, hub, turns)

    async def test_a_reader_brings_the_messages_of_its_topic_in_their_order(self) -> None:
        async with self.connected() as one:
            reader = one.peer.new_reader(one.hub.own("t"), OnLag.LATEST)
            assert (reader.topic, reader.on_lag, reader.attached) == (one.hub.own("t"), OnLag.LATEST, False)
            one.publish(0)
            one.session.subscriptions.join(reader, "newest")
            one.publish(1, 2, 3)
            assert await self.received(one.peer) == [1, 2, 3]

    async def test_an_answer_comes_before_what_is_written_after_it(self) -> None:
        async with self.connected() as one:
            one.join()
            one.publish(1)
            one.peer.answer(b'{"id":1}')
            one.publish(2)
            assert await self.received(one.peer) == [1, {"id": 1}, 2]

    async def test_messages_wait_while_they_are_held_and_answers_do_not(self) -> None:
        async with self.connected() as one:
            reader = one.join()
            one.peer.hold()
            one.publish(1)
            one.publish(2)
            assert (await self.received(one.peer), reader.attached) == ([], True)
            one.peer.answer(b"[]")
            one.peer.resume()
            one.publish(3)
            assert await self.received(one.peer) == [[], 1, 2, 3]

    async def test_a_reader_that_is_made_during_a_hold_is_held_too(self) -> None:
        async with self.connected() as one:
            one.peer.hold()
            one.join()
            one.publish(1)
            assert await self.received(one.peer) == []
            one.peer.resume()
            assert await self.received(one.peer) == [1]

    async def test_what_is_held_for_it_is_of_the_owner_of_its_last_credentials(self) -> None:
        async with self.connected() as one:
            assert one.peer.owner == EVERYTHING.owner(one.peer.owner)
            named = replace(EVERYTHING, subject="somebody")
            one.peer.belong_to(named)
            assert one.peer.owner == named.owner("any address")

    async def test_a_bug_is_noted_and_nothing_is_sent_for_it(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.CRITICAL, "sluice")
        async with self.connected() as one:
            one.peer.on_bug(ZeroDivisionError("a bug"))
            one.turns.settle()
            assert await self.received(one.peer) == []


class TestFakePeer(PeerContract):
    """The connection of the tests of sessions."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FakePeer]:
        yield FakePeer(EVERYTHING)

    async def received(self, peer: FakePeer) -> list[Any]:
        return peer.received
