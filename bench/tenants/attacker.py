"""The other client: what it can do, again and again, and what it was answered."""

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from bench.tenants.values import FAR, HOSTS, at

__all__ = ["Attack", "Attacker"]

_LIMIT = re.compile(r"limit \w+")
_PAUSE = 0.2
"""Seconds before something that was cut is begun anew."""
_CANCELLED = 8
"""Batches that are cancelled at once when an attack is over."""
_LONGEST = 90
"""Characters of what it was answered."""


class Attacker:
    """One client with one token and one address, and what it was answered."""

    def __init__(self, port: int, near: int, far: int, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.reported: defaultdict[str, float] = defaultdict(float)
        self.serials: set[str] = set()
        self._detached: list[str] = []
        self.chance = random.Random(7)
        self._ports = {HOSTS: near, FAR: far}
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    def near(self, number: int, path: str) -> str:
        """Return a URL at a host that the careful client asks too."""
        return at(self._ports[HOSTS], number, path)

    def named(self, host: str, path: str) -> str:
        """Return a URL there, by another name of the host."""
        return at(self._ports[HOSTS], 0, path, (host,))

    def far(self, number: int, path: str) -> str:
        """Return a URL at a host of its own."""
        return at(self._ports[FAR], number, path, FAR)

    async def steadily(self, step: Callable[[int], Awaitable[object]], pause: float = 0.0) -> None:
        """Do something again and again; what is cut is counted and begun anew."""
        number = 0
        while True:
            try:
                await step(number)
            except (aiohttp.ClientError, OSError) as error:
                self.cut(error)
                await asyncio.sleep(_PAUSE)
            number += 1
            await asyncio.sleep(pause)

    def cut(self, error: Exception) -> None:
        """Count what was cut, by its status where that is a WebSocket that was refused."""
        if isinstance(error, aiohttp.WSServerHandshakeError):
            self.reported[f"{error.status} before the upgrade"] += 1
        else:
            self.reported[f"cut: {type(error).__name__}"] += 1

    async def batch(
        self, urls: list[str], *, detached: bool = False, headers: dict[str, str] | None = None, **options: Any
    ) -> int:
        """Have URLs fetched, read all that comes, and return the status."""
        more = {"Prefer": "respond-async"} if detached else {"Accept": "application/x-ndjson"}
        body = {"urls": urls, "options": {**options, "headers": headers or {}}}
        async with self._session.post(f"{self._url}/fetch-batch", json=body, headers=more) as answer:
            await self.note(answer)
            if location := answer.headers.get("Location"):
                self._detached.append(location)
            if answer.status == 200:
                async for line in answer.content:
                    self._event(orjson.loads(line))
            return answer.status

    async def read_last_events(self) -> None:
        """Read the last events of the last batch that nobody reads, once it is done: they say why URLs failed."""
        path = self._detached[-1] if self._detached else ""
        while path:
            async with self.get(path) as answer:
                state = orjson.loads(await answer.read())
            if state.get("state") != "running":
                break
            await asyncio.sleep(_PAUSE)
        if path and "epoch" in state:
            since = f"{state['epoch']}:{state['total'] - 3}"
            async with self.get(f"{path}/events?since={since}", Accept="application/x-ndjson") as answer:
                for line in (await answer.read()).splitlines():  # of 1.3 MB each where they are results
                    self._event(orjson.loads(line))

    async def end(self) -> None:
        """Cancel the batches that would go on without a client: what is left then is the service's doing."""
        left = iter(self._detached)

        async def cancel() -> None:
            for path in left:
                await self._cancel(path)

        await asyncio.gather(*(cancel() for _ in range(_CANCELLED)))

    async def _cancel(self, path: str) -> None:
        while True:
            async with self._session.delete(f"{self._url}{path}") as answer:
                await answer.read()
            if answer.status != 429:
                return
            await asyncio.sleep(_PAUSE)

    async def post(self, path: str, body: Any, **headers: str) -> int:
        """Post a document, and return the status."""
        async with self._session.post(f"{self._url}{path}", json=body, headers=headers) as answer:
            await self.note(answer)
            return answer.status

    async def drain(self, urls: list[str]) -> None:
        """Have URLs fetched, and read what comes without a look at it."""
        headers = {"Accept": "application/x-ndjson"}
        async with self._session.post(f"{self._url}/fetch-batch", json={"urls": urls}, headers=headers) as answer:
            await self.note(answer)
            async for piece in answer.content.iter_any():
                self.reported["MB read"] += len(piece) / 1e6

    async def send(self, path: str, body: bytes) -> None:
        """Send a document as it is."""
        headers = {"Content-Type": "application/json"}
        async with self._session.post(f"{self._url}{path}", data=body, headers=headers) as answer:
            await self.note(answer)
            self.reported["MB sent"] += len(body) / 1e6

    def get(self, path: str, **headers: str) -> Any:
        """Begin a request whose answer may be a stream."""
        return self._session.get(f"{self._url}{path}", headers=headers)

    async def note(self, answer: aiohttp.ClientResponse) -> None:
        """Count an answer, and what it says of a limit."""
        text = str(answer.status)
        if answer.status >= 400:
            problem = orjson.loads(await answer.read())
            text += f" {self._why(str(problem.get('detail')))}"
        self.reported[text] += 1

    @asynccontextmanager
    async def socket(self) -> Any:
        """Yield a WebSocket whose answers are counted as they come."""
        async with self._session.ws_connect(f"{self._url}/ws", max_msg_size=0) as socket:
            listening = asyncio.create_task(self._listen(socket))
            try:
                yield socket
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def request(self, socket: Any, method: str, *several: dict[str, Any]) -> None:
        """Make requests, as one array."""
        calls = [{"jsonrpc": "2.0", "id": 1, "method": method, "params": params} for params in several]
        await socket.send_str(orjson.dumps(calls).decode())

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            reported = orjson.loads(message.data)
            for one in reported if isinstance(reported, list) else [reported]:
                if (error := one.get("error")) is not None:
                    self.reported[f"{error['code']} {self._why(error['message'])}"] += 1
                elif "result" in one:
                    self.reported["answered"] += 1
        self.reported[f"closed {socket.close_code}"] += 1

    def _event(self, event: dict[str, Any]) -> None:
        if event["event"] == "failed":
            self.reported[f"{event['error']}: {self._why(event['detail'])}"] += 1
        elif event["event"] == "result":
            self.reported["results"] += 1
            if isinstance(event["body"], str) and event["body"].startswith("serial-"):
                self.serials.add(event["body"])

    def _why(self, text: str) -> str:
        found = _LIMIT.search(text)
        return found[0] if found else re.sub(r"'[^']*'|\d+", "N", text)[:_LONGEST]


Attack = Callable[[Attacker], Awaitable[None]]
