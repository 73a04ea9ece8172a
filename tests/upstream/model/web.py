"""The web of the model, at the seam of the HTTP client: hosts that answer, fail, hang, redirect and ask for pauses."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from service.core.fetching.target import Target
from service.core.owner import Owner
from service.upstream.guard import LookupFailed, NameNotFound
from service.upstream.http1.errors import ProtocolError, ServerDisconnected

__all__ = ["HOSTS", "PAGES", "Reply", "Web", "trace_of"]

HOSTS = 5
PAGES = 10
_DELAYS = (0.0, 0.0, 0.01, 0.5, 3.0)
_TROUBLE = (
    ConnectionRefusedError("refused"),
    ServerDisconnected(silent=True),
    ProtocolError("not HTTP"),
    LookupFailed("the name server is down"),
    NameNotFound("no such name"),
    TimeoutError("the kernel gave up"),
)
BROKEN = b"broken"
"""A piece of a body that breaks off."""
_BODIES = ((b"z" * 10,) * 5, (b"z" * 1000, BROKEN), (b"z" * 70_000,) * 2, ())
_STORABLE = {"cache-control": "max-age=5", "etag": '"1"'}


class Reply:
    """An answer whose head has come: the part of ``Answer`` that the fetcher uses."""

    def __init__(self, status: int, headers: Mapping[str, str], *pieces: bytes, pause: float | None = None) -> None:
        self.status = status
        self.headers = {"content-type": "text/plain", **headers}
        self.head_size = 100
        self._pieces = list(pieces)
        self._pause = pause

    @property
    def locations(self) -> set[str]:
        return {self.headers["location"]} if "location" in self.headers else set()

    def at_once(self) -> bytes | None:
        return b"".join(self._pieces) if self._pause is None else None

    async def piece(self, owner: Owner) -> bytes:
        if self._pause:
            await asyncio.sleep(self._pause)
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece is BROKEN:
            raise ProtocolError("half of it")
        return piece

    def close(self) -> None:
        """There is no connection."""

    release = close


class Web:
    """Stands for ``http1.Client``; what a URL answers the Nth time is the same in every run of a seed."""

    def __init__(self, seed: int, *, wide: bool) -> None:
        self.wide = wide
        """Whether there is what only every second walk has."""
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._seed = seed

    def close(self) -> None:
        """There is no connection."""

    def keeps(self, origin: str, owner: Owner) -> bool:
        return not self.wide or self.asked.total() % 2 == 0

    async def ask(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, owner: Owner, timing: Any
    ) -> Reply:
        self.asked[target.url] += 1
        chance = Random(f"{self._seed} {target.url} {self.asked[target.url]}")
        await asyncio.sleep(chance.choice(_DELAYS))
        if target.host in self.hanging or chance.random() < 0.01:
            await asyncio.Event().wait()
        if chance.random() < 0.04:
            raise chance.choice(_TROUBLE)
        page = target.url.rpartition("/")[2]
        if page == "robots.txt":
            return _robots(chance)
        answered = self._odd(int(page), chance, headers, owner) if self.wide else None
        return answered or self._answer(int(page), chance, headers)

    def _odd(self, page: int, chance: Random, headers: Mapping[str, str], owner: Owner) -> Reply | None:
        """Return what only every second walk has."""
        if chance.random() < 0.5:
            return None
        match page:
            case 0:
                if any(name.lower() == "if-none-match" for name in headers):
                    return Reply(chance.choice((304, 412, 416)), {"etag": '"2"'})
                return Reply(
                    200, {**_STORABLE, "cache-control": "max-age=1, stale-if-error=60", "vary": "x-any"}, b"x"
                )
            case 2 | 8:
                said = chance.choice(({"cache-control": "private"}, {"set-cookie": "a=b"}, {"vary": "*"}))
                return Reply(200, said, f"for {owner}".encode())
            case 4:
                return Reply(302, {"location": "http://127.0.0.1/", "cache-control": "private"})
            case 6:
                return Reply(429, {"retry-after": str(chance.choice((1, 30)))})
            case 7:
                return Reply(200, {}, *chance.choice(_BODIES), pause=chance.choice((0.0, 1.0, 20.0)))
            case 9:
                shown = next((value for name, value in headers.items() if name == "traceparent"), "nothing")
                return Reply(200, _STORABLE, b"trace " + shown.encode(), b" " * chance.choice((0, 100_000)))
        return None

    def _answer(self, page: int, chance: Random, headers: Mapping[str, str]) -> Reply:
        text = b"x" * chance.choice((0, 10, 300, 3000))
        match page:
            case 0 | 1:
                known = any(name.lower() == "if-none-match" for name in headers)
                return Reply(304, _STORABLE) if known and chance.random() < 0.7 else Reply(200, _STORABLE, text)
            case 2:
                return Reply(200, {"cache-control": "private, no-store", "set-cookie": "a=b"}, text)
            case 3 | 4:
                return Reply(
                    302, {"location": f"http://h{chance.randrange(HOSTS)}.example/{chance.randrange(PAGES)}"}
                )
            case 5:
                bad = chance.random() < 0.3
                return Reply(503, {"retry-after": str(chance.choice((0, 1, 30)))}) if bad else Reply(200, {}, text)
            case 6:
                return Reply(429, {}) if chance.random() < 0.1 else Reply(200, {}, text)
            case 7:
                pieces = [b"y" * 2000] * chance.randrange(12)
                return Reply(200, {}, *pieces, pause=chance.choice((0.0, 0.2, 2.0)))
            case _:
                return Reply(200, {"cache-control": "no-store"}, text)


def trace_of(owner: str) -> str:
    """Return the id of the traces of an owner."""
    return owner.encode().hex().ljust(32, "0")


def _robots(chance: Random) -> Reply:
    rules = chance.choice(("", "User-agent: *\nDisallow: /3"))
    return Reply(chance.choice((200, 200, 404, 503)), {}, rules.encode(), pause=chance.choice((None, 0.1, 20.0)))
