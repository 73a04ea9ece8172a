"""A model of clients that come, ask, are cancelled, fail and vanish: in the end none of them holds anything of any pool."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import aiohttp
import pytest

from service.core.owner import SERVICE
from service.core.pool import Pool
from service.core.topics.hub import Hub
from service.core.topics.memory_store import MemoryStore
from service.edge.websocket.frames import ClientSocket
from tests.edge.running import Client, client_of
from tests.edge.test_claims import SECRET, token

STEPS = 100
SHORT: dict[str, Any] = {
    "jwt_secret": SECRET, "batch_age": 5.0, "batch_linger": 2.0, "ring_age": 2.0, "topics": 12, "watches": 12,
    "upstream": 6, "upstream_client": 4, "upstream_host": 3, "connections": 20, "websockets": 30,
}  # fmt: skip
PATHS = (
    "bytes/100",
    "bytes/200000",
    "slow/50",
    "slow/4000",
    "slow/60000",
    "status/500",
    "status/429",
    "etag/a",
    "fail",
)
KEPT = frozenset({"cache_size"})
"""What is kept after its client has gone, until another's needs the room."""


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Pool]:
    """Every pool that is made."""
    made: list[Pool] = []
    before = Pool.__init__

    def init(self: Pool, *args: Any, **more: Any) -> None:
        before(self, *args, **more)
        made.append(self)

    monkeypatch.setattr(Pool, "__init__", init)
    return made


def break_now_and_then(monkeypatch: pytest.MonkeyPatch, chance: Random) -> Counter[str]:
    """Have parts of the service raise what nobody expects."""
    broken: Counter[str] = Counter()

    def armed(kind: type, name: str) -> None:
        inner: Callable[..., Any] = getattr(kind, name)

        def bomb(*args: Any, **more: Any) -> Any:
            if chance.random() < 0.15:
                broken[name] += 1
                raise RuntimeError(f"{name} is broken")
            return inner(*args, **more)

        monkeypatch.setattr(kind, name, bomb)

    for kind, name in ((Hub, "attach"), (Hub, "log"), (ClientSocket, "prepare")):
        armed(kind, name)
    return broken


class Model:
    """Clients with three names, and one that shows a token of no name."""

    def __init__(self, client: Client, chance: Random) -> None:
        self.client = client
        self.chance = chance
        self.tasks: set[asyncio.Task[None]] = set()
        self.done: Counter[str] = Counter()
        self.batches: list[str] = []
        everything = {"subscribe": ["*"], "publish": ["*"], "fetch": True, "watch": True}
        named: list[dict[str, Any]] = [{"sub": name} for name in "abc"]
        named[0] |= {"limits": {"weight": 0.3, "fetches": 1}}
        self.tokens = [token(lives=1e6, **everything, **more) for more in (*named, {})]

    def begin(self) -> None:
        """Have a client do something, until it has done it or is cut off."""
        act = self.chance.choice((self.ask, self.post, self.post, self.detach, self.stream, self.talk, self.talk))
        task = asyncio.create_task(self.contained(act))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def contained(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.done[type(error).__name__] += 1

    def cut(self) -> None:
        """Have some clients vanish."""
        for task in [task for task in self.tasks if self.chance.random() < 0.3]:
            task.cancel()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.chance.choice(self.tokens)}"}

    @property
    def urls(self) -> list[str]:
        count = self.chance.choice((1, 3, 20))
        return [f"{self.client.origin}/{self.chance.choice(PATHS)}" for _ in range(count)]

    async def ask(self) -> None:
        name = f"t{self.chance.randrange(30)}"
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", f"/topics/{name}", {"json": "x" * self.chance.choice((1, 5000))}),
            ("POST", "/publish", {"json": {"topics": [name, "u"], "data": 1}}),
            ("POST", f"/topics/{name}", {"data": b"{", "headers": {"Content-Type": "application/json"}}),
            ("GET", f"/topics/{name}", {}), ("GET", "/batches/none", {}), ("POST", "/nowhere", {"json": 1}),
        ]  # fmt: skip
        for method, path, more in self.chance.sample(asked, 2):
            headers = {**self.headers, **more.pop("headers", {})}
            if self.chance.random() < 0.3:
                headers["Idempotency-Key"] = f"k{self.chance.randrange(20)}"
            status, _, _ = await self.client.ask(method, path, headers=headers, **more)
            self.done[f"{method} {status}"] += 1

    async def post(self) -> None:
        accept = self.chance.choice(("application/json", "application/x-ndjson", "text/event-stream"))
        body = {"urls": self.urls, "options": {"timeout": self.chance.choice((1, 30)), "retries": 0}}
        status, _, _ = await self.client.batch(body, Accept=accept, **self.headers)
        self.done[f"batch {status}"] += 1

    async def detach(self) -> None:
        headers = {**self.headers, "Prefer": "respond-async", "Idempotency-Key": f"k{self.chance.randrange(9)}"}
        status, document, _ = await self.client.ask(
            "POST", "/fetch-batch", json={"urls": self.urls}, headers=headers
        )
        self.done[f"detached {status}"] += 1
        if status == 202:
            self.batches.append(document["batch"])
        if self.batches and self.chance.random() < 0.5:
            await self.client.ask("DELETE", f"/batches/{self.chance.choice(self.batches)}", headers=self.headers)

    async def stream(self) -> None:
        path = f"/topics/t{self.chance.randrange(30)}/events"
        if self.batches and self.chance.random() < 0.5:
            path = f"/batches/{self.chance.choice(self.batches)}/events"
        async with self.client.session.get(self.client.url(path), headers=self.headers) as response:
            self.done[f"stream {response.status}"] += 1
            async for _ in response.content:
                await asyncio.sleep(self.chance.choice((0.0, 0.1, 100.0)))

    async def talk(self) -> None:
        async with self.client.socket(headers=self.headers) as socket:
            for number in range(self.chance.randrange(1, 15)):
                method, params = self.chance.choice((
                    ("subscribe", {"topic": f"t{self.chance.randrange(30)}"}),
                    ("publish", {"topic": f"t{self.chance.randrange(30)}", "data": 1, "key": f"k{number}"}),
                    ("fetch", {"urls": self.urls}),
                    ("watch", {"url": f"{self.client.origin}/etag/{self.chance.randrange(20)}", "every": 1}),
                    ("authenticate", {"token": self.chance.choice((*self.tokens, "wrong"))}),
                ))  # fmt: skip
                await socket.send_json({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
                self.done[method] += 1
                if self.chance.random() < 0.3:
                    await asyncio.sleep(self.chance.choice((0.1, 3.0)))
            with suppress(TimeoutError):
                async with asyncio.timeout(self.chance.choice((0.0, 1.0, 20.0))):
                    async for _ in socket:
                        pass
            if self.chance.random() < 0.3:
                assert socket._response.connection is not None
                socket._response.connection.transport.abort()


@pytest.mark.parametrize("seed", range(4))
async def test_in_the_end_nobody_holds_anything(
    seed: int, pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(seed)
    async with client_of(**SHORT) as client:
        broken = break_now_and_then(monkeypatch, chance) if seed % 2 else Counter[str]()
        model = Model(client, chance)
        for _ in range(STEPS):
            model.begin()
            if chance.random() < 0.2:
                model.cut()
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.01, 0.3, 2.0)))
        assert any(pool.refused for pool in pools), "nobody met a limit"
        for task in model.tasks:
            task.cancel()
        await asyncio.gather(*model.tasks, return_exceptions=True)
        monkeypatch.undo()
        service = client.service
        assert isinstance(service.hub.store, MemoryStore)
        service.hub.keys._age = service.hub.store.retired._age = 5.0
        await asyncio.sleep(60)
        left = {pool.name: pool._held for pool in pools if pool.name not in KEPT and {*pool._held} - {SERVICE}}
        assert left == {}
        assert service.admission.addresses._connections == {}
        assert service.sockets.stalled.statistics().used == 0
        plan, hosts = service.batches._runner.plan, service.batches._runner.hosts
        assert (plan.shares.statistics().used, hosts.statistics().used) == (0, 0)
        assert (plan.active, plan.owners.states, plan.owners.backlogs, plan.parking.waiting) == (0, {}, {}, 0)
        assert not service.streams.readers
        assert not seed % 2 or broken, "what was to break did not"
        assert {"fetch", "watch", "authenticate", "batch 200", "detached 202"} <= model.done.keys()
