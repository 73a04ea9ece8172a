"""How much of their client's turns the messages of a WebSocket use up."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from aiohttp import WSMessage, WSMsgType

from service.core.owner import Owner
from service.core.sessions.closing import Reply
from service.edge.websocket.conversation import Conversation, RequestHandler
from service.runtime.per_turn import PerTurn


class Costs(PerTurn):
    """Lets every message pass, and records its cost."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.costs: list[int] = []

    async def wait(self, owner: Owner, cost: int = 1) -> None:
        self.costs.append(cost)


class Socket:
    """A socket that receives some messages, and then ends."""

    def __init__(self, *texts: bytes) -> None:
        self._messages = [WSMessage(WSMsgType.TEXT, text, None) for text in texts]

    async def receive(self) -> WSMessage:
        return self._messages.pop(0) if self._messages else WSMessage(WSMsgType.CLOSED, None, None)

    async def send_frame(self, text: bytes, kind: WSMsgType) -> None:
        return


class Session:
    """A session that takes some seconds for each message."""

    def __init__(self, *took: float) -> None:
        self.grant, self.late, self.flooding = object(), SimpleNamespace(bounded=False), False
        self._took, self.now = list(took), 0.0

    def receive(self, data: bytes, now: float) -> Any:
        self.now += self._took.pop(0)
        return Reply()


async def costs(*took: float) -> list[int]:
    """Return the costs of messages of 100 bytes that take these times, and of the end of their connection."""
    session: Any = Session(*took)
    connection: Any = SimpleNamespace(closing=None, alive=True, owner=Owner("a"), session=session, last_cost=0)
    hub: Any = SimpleNamespace(clock=lambda: session.now, pressed=False)
    counters: Any = SimpleNamespace(received=0, answered=0, closed=Counter())
    socket: Any = Socket(*[b"x" * 100] * len(took))
    turns = Costs()
    talking = Conversation(asyncio.get_running_loop().time, turns)
    await talking.run(socket, connection, RequestHandler(hub, counters, SimpleNamespace(), turns))  # type: ignore[arg-type]
    return turns.costs


async def test_a_message_costs_its_size_or_what_the_one_before_it_took() -> None:
    assert await costs(0.00001, 0.0005, 0.00001) == [164, 164, 2048, 128]


async def test_what_one_message_costs_is_bounded() -> None:
    assert await costs(5.0, 0.0) == [164, 16384, 128]
