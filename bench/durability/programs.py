"""What runs against the service while it is killed: publishers, readers, batches and a watch, which all go on."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import aiohttp

from bench.durability.account import Account, Place
from bench.durability.fetches import Batches, Watched
from service.client import Backoff, Client, Message, State, Unanswered

__all__ = ["RING", "Programs"]

RING: Final = 5000
"""Messages that a topic keeps: many more than are published while a reader is away."""
_TOPICS: Final = ("a", "b", "c", "d")
_NAMES: Final = ("reader 0", "reader 1", "reader 2", "reader 3", "reader 4")
"""Those that read from the beginning to the end."""
_HTTP, _SOCKETS, _AT_ONCE = 3, 2, 4
"""Publishers, and how many publishes each of those over a WebSocket has under way."""
_REPEATED: Final = 100
"""Messages of a publisher of which one is published again now and then, some from before the last kill."""
_PAUSE: Final = 0.002
_AGAIN: Final = 0.02
_BACKOFF: Final = (0.02, 0.2)
_PATIENCE: Final = 60.0


class Programs:
    """All of it, and what it has found."""

    def __init__(self, url: str, upstream: str) -> None:
        self.account = Account()
        self.batches = Batches(url, upstream)
        self.watched = Watched(url, upstream)
        self.again = 0
        """Publishes that were repeated though they had an answer."""
        self.broken = 0
        """Gaps, and new beginnings."""
        self._url = url
        self._stopped = False
        self._connections = 0
        self._newest: dict[str, Place] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all of it until the block ends, and then until everybody has had everything."""
        async with asyncio.TaskGroup() as group:
            publishers = [group.create_task(self._post(f"h{number}")) for number in range(_HTTP)]
            publishers += [group.create_task(self._send(f"s{number}")) for number in range(_SOCKETS)]
            publishers += [group.create_task(self.batches.run())]
            readers = [group.create_task(self._read(name)) for name in _NAMES]
            watcher = group.create_task(self.watched.run())
            try:
                yield
                self._stopped = self.batches.stopped = True
                await asyncio.wait(publishers)
                await self._ask_newest()
                await self._complete(*_NAMES)
                readers.append(group.create_task(self._read("last")))
                await self._complete("last")
            finally:
                for task in (*readers, watcher):
                    task.cancel()

    @property
    def progress(self) -> str:
        """Say how far it is."""
        return f"{len(self.account.acknowledged):,} acknowledged, {self.batches.summary} batches"

    @property
    def lost_count(self) -> int:
        """How many were acknowledged that a reader has missed, or that the service has no longer."""
        lost = self.account.gone("last", self._newest, RING)
        return len(lost.union(*map(self.account.missed, _NAMES)))

    @property
    def lost(self) -> str:
        """The same, of how many."""
        return f"{self.lost_count:,} of {len(self.account.acknowledged):,}"

    @property
    def repeated(self) -> int:
        """How many are at two places, or came twice."""
        return self.account.moved + self.account.twice

    @property
    def resumed(self) -> str:
        """How many subscriptions went on where they were, of how many that were made again."""
        made = (self._connections - len(_NAMES) - 1) * len(_TOPICS)
        return f"{made - self.broken:,} of {made:,}"

    async def _post(self, name: str) -> None:
        """Publish over HTTP, one after another."""
        published: deque[tuple[str, str]] = deque(maxlen=_REPEATED)
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as session:
            for number in count():
                if self._stopped:
                    return
                published.append((f"{name}-{number}", random.choice(_TOPICS)))
                await self._posted(session, *published[-1])
                if number % 10 == 9:
                    self.again += 1
                    await self._posted(session, *random.choice(published))
                await asyncio.sleep(_PAUSE)

    async def _posted(self, session: aiohttp.ClientSession, key: str, topic: str) -> None:
        """Publish a message again and again until it is acknowledged."""
        while True:
            try:
                answer = await session.post(
                    f"/topics/{topic}", json={"key": key}, headers={"Idempotency-Key": f'"{key}"'}
                )
                async with answer:
                    if answer.status == 200:
                        document = await answer.json()
                        self.account.acknowledge(key, Place(topic, document["epoch"], document["offset"]))
                        return
                    if answer.status not in (429, 503):
                        raise RuntimeError(f"a publish was answered {answer.status}: {await answer.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass  # the service was killed: it may have been stored or not
            await asyncio.sleep(_AGAIN)

    async def _send(self, name: str) -> None:
        """Publish over a WebSocket, several at once."""
        async with Client(self._url, backoff=Backoff(*_BACKOFF)) as client, asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(self._sent(client, f"{name}-{number}"))

    async def _sent(self, client: Client, name: str) -> None:
        published: deque[tuple[str, str]] = deque(maxlen=_REPEATED)
        for number in count():
            if self._stopped:
                return
            published.append((f"{name}-{number}", random.choice(_TOPICS)))
            await self._called(client, *published[-1])
            if number % 10 == 9:
                self.again += 1
                await self._called(client, *random.choice(published))
            await asyncio.sleep(_PAUSE)

    async def _called(self, client: Client, key: str, topic: str) -> None:
        while True:
            try:
                position = await client.publish(topic, {"key": key}, key=key)
            except Unanswered:
                continue  # several kills in a row
            self.account.acknowledge(key, Place(topic, position.epoch, position.offset))
            return

    async def _read(self, name: str) -> None:
        """Read all topics through every restart."""

        def count_connections(state: State) -> None:
            self._connections += state.state == "open"

        backoff = Backoff(*_BACKOFF)
        async with (
            Client(self._url, backoff=backoff, on_state=count_connections) as client,
            asyncio.TaskGroup() as group,
        ):
            for topic in _TOPICS:
                group.create_task(self._follow(client, topic, name))

    async def _follow(self, client: Client, topic: str, name: str) -> None:
        async for value in client.subscribe(topic, since="oldest"):
            if isinstance(value, Message):
                self.account.receive(name, value.data["key"], Place(topic, value.epoch, value.offset))
            else:
                self.broken += 1

    async def _ask_newest(self) -> None:
        async with aiohttp.ClientSession(self._url) as session:
            for topic in _TOPICS:
                async with session.get(f"/topics/{topic}") as answer:
                    document = await answer.json()
                self._newest[topic] = Place(topic, document["epoch"], document["offset"])

    async def _complete(self, *readers: str) -> None:
        """Return when these readers have had the newest message of each topic."""
        heads = self.account.heads
        wanted = [(name, topic) for name in readers for topic in _TOPICS]
        async with asyncio.timeout(_PATIENCE):
            while any(heads.get(each) != self._newest[each[1]] for each in wanted):  # noqa: ASYNC110 - four events
                await asyncio.sleep(_AGAIN)
