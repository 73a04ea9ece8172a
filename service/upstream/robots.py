"""Who asks hosts for their robots.txt, and remembers it: an option of the service (RFC 9309)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from service.core.batch import Failure
from service.core.robots import ALL, NONE, Rules, parse_robots
from service.core.target import Target
from service.upstream.orders import Fetched, Order

__all__ = ["Robots"]

_AGENT: Final = "sluice"
_SIZE: Final = 512 << 10
_AGE: Final = 3600.0
"""Seconds; the RFC allows a day (section 2.4)."""
_UNREACHED_AGE: Final = 60.0
_ORIGINS: Final = 10_000

Fetch = Callable[[Order, "asyncio.Task[Any]"], Coroutine[Any, Any, Fetched | Failure]]


class Robots:
    """The rules of each origin, fetched once for all who wait for them."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._loop = asyncio.get_running_loop()
        self._known: OrderedDict[str, tuple[float, Rules]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Rules]] = {}

    def __repr__(self) -> str:
        return f"<Robots {len(self._known)} known, {len(self._asking)} being asked>"

    async def allows(self, target: Target) -> bool:
        """Return whether a target may be fetched; where that is not known yet, its host is asked first."""
        known = self._known.get(target.origin)
        if known is None or known[0] < self._loop.time():
            asking = self._asking.get(target.origin)
            if asking is None:
                asking = self._asking[target.origin] = self._loop.create_task(self._ask(target))
                asking.add_done_callback(lambda _: self._asking.pop(target.origin, None))
            # Whoever waits may give up; the others wait on.
            rules = await asyncio.shield(asking)
        else:
            rules = known[1]
        return rules.allows(target.request_target)

    async def _ask(self, target: Target) -> Rules:
        task = asyncio.current_task()
        assert task is not None
        order = Order(target.at("/robots.txt"), "GET", {}, None, 10.0, _SIZE, 5, robots=False)
        outcome = await self._fetch(order, task)
        age = _AGE
        if isinstance(outcome, Failure) or outcome.status >= 500:
            # What cannot be read forbids everything for the time being (section 2.3.1.4).
            rules, age = NONE, _UNREACHED_AGE
        elif outcome.status >= 400:
            rules = ALL
        else:
            text = outcome.body.decode("utf-8", "replace")
            rules = await asyncio.to_thread(parse_robots, text, _AGENT)
        self._known[target.origin] = (self._loop.time() + age, rules)
        self._known.move_to_end(target.origin)
        if len(self._known) > _ORIGINS:
            self._known.popitem(last=False)
        return rules

    async def close(self) -> None:
        """End what is being asked."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
