"""Who asks hosts for their robots.txt, and remembers it: an option of the service (RFC 9309)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from cachetools import TLRUCache

from service.core.fetching.outcome import NO_MEMORY, Failure, Fetched
from service.core.fetching.robots import ALL, NONE, Rules, parse_robots
from service.core.fetching.target import Target
from service.core.owner import Owner
from service.runtime.threads import call_in_thread
from service.upstream.attempts import FetchAttempt

__all__ = ["Robots"]

_AGENT: Final = "sluice"
_SIZE: Final = 512 << 10
"""Bytes that are read; the RFC asks for 500 KiB (section 2.5)."""
_AGE: Final = 3600.0
"""Seconds; the RFC allows a day (section 2.4)."""
_UNREACHED_AGE: Final = 60.0
_ORIGINS: Final = 10_000
_MEMORY: Final = 64 << 20
"""Bytes for the rules of all origins."""
_COST: Final = 1 << 20
"""Characters that are matched on the loop; a host that has more to be looked at has it done in a thread."""

Fetch = Callable[[FetchAttempt, "asyncio.Task[Any]"], Coroutine[Any, Any, Fetched | Failure]]


class Robots:
    """The rules of each origin, fetched once for all who wait for them."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._loop = asyncio.get_running_loop()
        self._known: TLRUCache[tuple[str, Owner | None], tuple[float, Rules]] = TLRUCache(
            _MEMORY,
            ttu=lambda _, known, now: now + known[0],
            timer=self._loop.time,
            getsizeof=lambda known: max(known[1].size, _MEMORY // _ORIGINS),
        )
        """Of an origin, for all owners or for one: how many seconds its rules hold, and the rules."""
        self._asking: dict[tuple[str, Owner], asyncio.Task[Rules]] = {}

    def __repr__(self) -> str:
        return f"<Robots {len(self._known)} known, {len(self._asking)} being asked>"

    async def allows(self, target: Target, owner: Owner) -> bool:
        """Return whether a target may be fetched; where that is not known yet, its host is asked first.

        Each owner asks by itself: otherwise one would wait for look-ups and connections of another. Raises
        ThreadUnavailable.
        """
        key = target.origin, owner
        known = self._known.get((target.origin, None)) or self._known.get(key)
        if known is None:
            asking = self._asking.get(key)
            if asking is None:
                asking = self._asking[key] = self._loop.create_task(
                    self._ask(target, owner), name=f"robots {target.origin}"
                )
                asking.add_done_callback(lambda _: self._asking.pop(key, None))
            # One that waits may give up; the others wait on.
            rules = await asyncio.shield(asking)
        else:
            rules = known[1]
        if rules.cost(target.request_target) > _COST:
            return await call_in_thread(None, rules.allows, target.request_target)
        return rules.allows(target.request_target)

    async def _ask(self, target: Target, owner: Owner) -> Rules:
        task = asyncio.current_task()
        assert task is not None
        attempt = FetchAttempt(target.at("/robots.txt"), "GET", {}, None, 10.0, _SIZE, 5, robots=False)
        # The rules hold for all: not over a connection of this owner, whose earlier requests may have tainted it.
        attempt.owner = Owner(f"robots.txt for {owner}", owner.weight)
        apart = False

        def keep_apart() -> None:
            nonlocal apart
            apart = True

        attempt.kept_apart = keep_apart
        outcome = await self._fetch(attempt, task)
        age, holds_for = _AGE, None
        if isinstance(outcome, Failure):
            # What cannot be read forbids everything for the time being (section 2.3.1.4); what redirects
            # without an end is as if it were not there (section 2.3.1.2).
            rules, age = (ALL, _AGE) if outcome.kind == "redirects" else (NONE, _UNREACHED_AGE)
            # Neither too many look-ups of one owner nor our lack of memory says anything of the host.
            holds_for = owner if apart or outcome is NO_MEMORY else None
        elif outcome.status >= 500:
            rules, age = NONE, _UNREACHED_AGE
        elif outcome.status >= 400:
            rules = ALL
        else:
            rules = await call_in_thread(None, _read, outcome.body, outcome.truncated)
        self._known[target.origin, holds_for] = (age, rules)
        return rules

    async def close(self) -> None:
        """End what is being asked."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(body: bytes, cut: bool) -> Rules:
    # Half a rule may forbid far more than the whole one.
    if cut:
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
    return parse_robots(body.decode("utf-8", "surrogateescape"), _AGENT)
