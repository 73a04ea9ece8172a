"""A fake of a session's connection: it keeps what it is sent, in its order."""

from typing import Any

import orjson

from service.core.access.grants import Grant
from service.core.topics.topic import OnLag, Topic
from tests.core.readers import FakeReader

__all__ = ["FakePeer", "PeerReader"]


class FakePeer:
    """Answers and messages are in ``received``; ``wire`` has answers that came late, and marks of holds."""

    def __init__(self, grant: Grant) -> None:
        self.owner = grant.owner("me")
        self.held = False
        self.received: list[Any] = []
        self.wire: list[Any] = []
        self.bugs: list[BaseException] = []
        self.readers: list[PeerReader] = []

    def belong_to(self, grant: Grant) -> None:
        self.owner = grant.owner("me")

    def new_reader(self, topic: Topic, on_lag: OnLag) -> "PeerReader":
        self.readers.append(PeerReader(topic, on_lag, self))
        return self.readers[-1]

    def answer(self, text: bytes) -> None:
        answer = orjson.loads(text)
        self.wire.append(answer)
        self.received.append(answer)

    def hold(self) -> None:
        self.wire.append("hold")
        self.held = True

    def resume(self) -> None:
        self.wire.append("resume")
        self.held = False
        for reader in self.readers:
            if reader.attached and reader.behind:
                reader.visit()

    def on_bug(self, error: BaseException) -> None:
        self.bugs.append(error)


class PeerReader(FakeReader):
    """Brings its messages to a fake peer, unless that holds them."""

    def __init__(self, topic: Topic, on_lag: OnLag, peer: FakePeer) -> None:
        super().__init__(topic, on_lag)
        self._peer = peer

    def visit(self) -> None:
        if self._peer.held:
            return
        had = len(self.sent)
        super().visit()
        for chunk in self.sent[had:]:
            self._peer.received += map(orjson.loads, chunk.splitlines())
