"""How much of their client's turns the messages of a WebSocket use up, and how many arrays are under way at once."""

import asyncio
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

from aiohttp import WSMessage, WSMsgType

from service.core.owner import Owner
from service.core.sessions.closing import Reply
from service.edge.websocket.conversation import _ARRAYS, Conversation, RequestHandler, message_turns
from service.runtime.per_turn import PerTurn


class Costs(PerTurn):
    """Lets every message pass, and records its cost, and what it took beyond that."""

    def __init__(self) -> None:
        super().__init__(1 << 30)
        self.costs: list[int] = []

    async def wait(self, owner: Owner, cost: int = 1) -> None:
        self.costs.append(cost)

    def spend(self, cost: int) -> None:
        self.costs.append(-cost)


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


async def test_a_message_costs_its_size_or_what_the_one_before_it_took_and_what_it_takes_beyond_that() -> None:
    assert await costs(0.00001, 0.0005, 0.00001) == [164, 164, 164 - 2048, 2048, 128]


async def test_what_one_message_costs_is_bounded() -> None:
    assert await costs(5.0, 0.0) == [164, 164 - 16384, 16384, 128]


class Arrays:
    """Arrays of requests that are carried out in some slices each."""

    def __init__(self) -> None:
        self.now = 0.0
        self.begun: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.expiries: list[float] = []
        turns, hub = message_turns(), SimpleNamespace(clock=lambda: self.now, pressed=False)
        counters, expiries = SimpleNamespace(received=0, answered=0), SimpleNamespace(set=self._expire)
        self._handler = RequestHandler(hub, counters, expiries, turns)  # type: ignore[arg-type]

    def _expire(self, connection: Any, until: float) -> None:
        self.expiries.append(until)

    def begin(self, owner: str, text: bytes = b" [{}]", slices: int = 20) -> "asyncio.Task[None]":
        session = SimpleNamespace(grant=SimpleNamespace(until=0.0), late=SimpleNamespace(bounded=False))
        session.receive = partial(self._slice, session, owner, slices)
        connection: Any = SimpleNamespace(session=session, owner=Owner(owner), closing=None, last_cost=0)
        socket: Any = None
        return asyncio.create_task(self._handler.text(socket, connection, text))

    def _slice(self, session: Any, owner: str, left: int, data: bytes, now: float) -> Reply:
        if data:
            self.begun[owner] += 1
            self.under_way[owner] += 1
            self.most = max(self.most, self.under_way[owner])
            session.grant = SimpleNamespace(until=7.0)
        self.now += 0.001
        if left > 1:
            return Reply(rest=partial(self._slice, session, owner, left - 1, b""))
        self.under_way[owner] -= 1
        return Reply()


async def test_only_some_arrays_of_a_client_are_in_memory_as_objects_and_another_client_finds_a_place() -> None:
    arrays = Arrays()
    tasks = [arrays.begin("a") for _ in range(3 * _ARRAYS)]
    while arrays.begun["a"] < _ARRAYS:
        await asyncio.sleep(0)
    other = arrays.begin("b")
    single = arrays.begin("a", b"{}", 1)
    await asyncio.sleep(0)
    assert arrays.begun["b"] == 1
    assert single.done(), "a request of its own does not wait for arrays"
    await asyncio.gather(*tasks, other)
    assert arrays.begun["a"] == 3 * _ARRAYS + 1
    assert arrays.most <= _ARRAYS + 1


async def test_a_client_that_has_given_up_leaves_its_place_to_another() -> None:
    arrays = Arrays()
    tasks = [arrays.begin("a", slices=1000) for _ in range(_ARRAYS + 5)]
    while arrays.begun["a"] < _ARRAYS:
        await asyncio.sleep(0)
    for task in tasks[:_ARRAYS]:
        task.cancel()
    await asyncio.wait(tasks[:_ARRAYS])
    await asyncio.sleep(0)
    assert arrays.begun["a"] == _ARRAYS + 5
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_new_credentials_of_an_array_count_before_the_rest_of_it_is_carried_out() -> None:
    arrays = Arrays()
    task = arrays.begin("a")
    await asyncio.sleep(0)
    assert arrays.expiries == [7.0]
    assert not task.done()
    await task
    assert arrays.expiries == [7.0]


async def test_messages_of_another_client_wait_for_a_few_of_a_crowd_however_short_turns_are() -> None:
    turns, passed = message_turns(), list[str]()

    async def come(owner: str) -> None:
        await turns.wait(Owner(owner), 200)
        passed.append(owner)

    many = [asyncio.create_task(come("crowd")) for _ in range(200)]
    few = [asyncio.create_task(come("other")) for _ in range(4)]
    while not all(task.done() for task in few):
        turns.turn(1 / 64)
        await asyncio.sleep(0)
    last = len(passed) - passed[::-1].index("other")
    begun = passed.index("other")
    assert last - begun < 20, "a few of the crowd between two of the other"
    await asyncio.gather(*many)
