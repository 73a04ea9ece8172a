"""Watches: one poll for everyone who watches a URL, and an event for what changes.

Theory of operation. The first who watches starts the poll, the last one stops it, after a moment in which somebody
may come back; where topics outlive the process, the topic waits longer (``idle_watches.py``). Each URL is asked at
the shortest interval that any of its watchers wants, with the validators of its last answer; what is selected of it
has a topic of its own. The polls go through the plan, the flights and the hosts' limits like everything else, so
that Retry-After and fairness win over intervals.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

import orjson

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.errors import Forbidden, InvalidParams
from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Refusal, check_url
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending, when_known
from service.core.pieces import Pieces
from service.core.pool import Pool
from service.core.ports import KeptWatch, Steps, WatchStore
from service.core.topics.hub import Hub
from service.core.topics.topic import Position, Since, Topic
from service.sources.idle_watches import IdleWatches
from service.sources.polls import Polls
from service.sources.watch import View, ViewKey, Watch, WatchKey
from service.upstream.content.selection import check_select
from service.upstream.content.selection_process import Selector
from service.upstream.runner import Runner
from service.work.step import PlannedStep
from service.work.step_runner import StepRunner, planned_by

__all__ = ["WatchLimits", "Watches", "WatchesStatistics"]

_SMALL: Final = 1024
"""Bytes of an event that is appended whether or not there is room: errors are."""


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """Bounds: URLs at once, and seconds."""

    urls: int = 20_000
    linger: float = 2.0
    timeout: float = 10.0
    penalty: float = 60.0
    """Seconds until a URL is asked again whose selection took too long."""
    idle: int = 20_000
    """Topics that wait for somebody who watches again, where they are kept on disk."""
    idle_age: float = 86_400.0
    """Seconds for which they wait."""


@dataclass(frozen=True, slots=True)
class WatchesStatistics:
    """A snapshot: URLs that are watched, and totals since the start."""

    urls: int
    idle: int
    """Topics that wait for somebody who watches again."""
    polls: int
    changes: int


class _Watching:
    """One watcher's interest."""

    __slots__ = ("_release", "since", "topic")

    def __init__(self, topic: Topic, since: Since, release: Callable[[], None]) -> None:
        self.topic = topic
        self.since = since
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """End it; calling it again is harmless."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Watches:
    """All URLs that are watched."""

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        limits: WatchLimits,
        *,
        policy: Policy,
        selector: Selector,
        chance: Callable[[], float],
        store: WatchStore | None = None,
        steps: StepRunner | None = None,
    ) -> None:
        """Take over the topics that the hub has already; ``store`` keeps what belongs to them, if anything does."""
        self._hub = hub
        self._store = store
        self._idle = IdleWatches(hub, store, most=limits.idle, age=limits.idle_age)
        self._limits = limits
        self._policy = policy
        self._loop = asyncio.get_running_loop()
        self._steps = steps
        self._polls = Polls(runner, selector, steps, timeout=limits.timeout, penalty=limits.penalty, chance=chance)
        self._watches: dict[WatchKey, Watch] = {}
        self.owners = Pool("watches", limits.urls)
        """Who began how many of them."""

    def __repr__(self) -> str:
        return f"<Watches {len(self._watches)} URLs>"

    def statistics(self) -> WatchesStatistics:
        """Return an immutable snapshot."""
        return WatchesStatistics(len(self._watches), len(self._idle), self._polls.made, self._polls.changes)

    def watched(self) -> Iterable[Watch]:
        """Return every URL that is watched."""
        return self._watches.values()

    def watch(
        self, url: str, every: float, select: str | None, hosts: HostPatterns = EVERY_HOST, owner: Owner = SERVICE,
        steps: Steps = None,
    ) -> _Watching:  # fmt: skip
        """Have a URL polled for one more watcher, who may know of ``hosts`` alone.

        Raises InvalidParams and Forbidden (the URL, the selection, the steps) and LimitReached.
        """
        target = check_url(url, self._policy)
        if isinstance(target, Refusal):
            kind = Forbidden if target.kind == "blocked" else InvalidParams
            raise kind(f"url: {target.detail}")
        if not hosts.allows(target.host):
            raise Forbidden(hosts.refusal(target.host))
        if select is not None and (wrong := check_select(select)):
            raise InvalidParams(f"select: {wrong}")
        planned = planned_by(self._steps, steps)
        key = (target.url, hosts, owner.apart)
        watch = self._watches.get(key)
        if watch is None:
            self.owners.check(owner)
            watch = self._watches[key] = Watch(target.url, self._loop.time(), hosts, owner)
            self.owners.charge(watch.owner, 1)
        try:
            # A text: what orjson returns would take 4 KiB for as long as it is kept.
            wanted = orjson.dumps(steps, option=orjson.OPT_SORT_KEYS).decode()
            view = self._view(watch, (select, wanted), planned, owner)
        except BaseException:
            self._unwanted(watch)
            raise
        watch.intervals[every] += 1
        if watch.polled is not None:
            watch.due = min(watch.due, watch.polled + every)
        if watch.end is not None:
            watch.end.cancel()
            watch.end = None
        self._polls.schedule(watch)
        return _Watching(view.topic, self._since(watch, view), partial(self._release, watch, every))

    def _view(self, watch: Watch, key: ViewKey, steps: tuple[PlannedStep, ...], owner: Owner) -> View:
        view = watch.views.get(key)
        if view is not None and view.topic.name in self._hub.topics:
            return view
        apart = [watch.owner.apart] if watch.owner.apart else []
        if steps:
            apart += ["steps", key[1]]
        name = "watch:" + _digest(watch.url, key[0], watch.hosts.mark, *apart)[:32]
        topic = self._hub.own(name, owner=owner)
        self._idle.release(topic)
        topic.on_idle = partial(self._unwanted, watch)
        view = watch.views[key] = View(watch.url, key[0], steps, topic, watch, self)
        view.restore()
        if not self._adopt_conditions(watch, view):
            self._ask_anew(watch)
        return view

    def remember(self, view: View, state: str) -> None:
        """Keep what the next poll is sent with, before a message has the state that it belongs to."""
        if self._store is not None:
            self._store.put(view.topic.name, KeptWatch(state, view.watch.conditions))

    def _adopt_conditions(self, watch: Watch, view: View) -> bool:
        """Restore the conditional headers of a watch with its first view; return whether they fit this view."""
        kept = None if self._store is None else self._store.get(view.topic.name)
        if kept is None or view.failing is not None or kept.state != view.digest:
            return False
        if watch.polled is None and len(watch.views) == 1:
            watch.conditions, watch.anew = dict(kept.conditions), False
        return watch.conditions == kept.conditions

    def _ask_anew(self, watch: Watch) -> None:
        watch.anew = True
        watch.due = min(watch.due, self._loop.time())

    def _since(self, watch: Watch, view: View) -> Since:
        """Return where a watcher starts: at the last state; where memory was short, it is fetched again."""
        if view.reported >= view.topic.first:
            return Position(view.topic.epoch, view.reported - 1)
        if view.reported and view.digest:
            view.digest = ""
            self._ask_anew(watch)
        return "oldest"

    def _release(self, watch: Watch, every: float) -> None:
        watch.intervals[every] -= 1
        if not watch.intervals[every]:
            del watch.intervals[every]
        self._unwanted(watch)

    def _unwanted(self, watch: Watch) -> None:
        if not watch.wanted and watch.end is None:
            watch.end = self._loop.call_later(self._limits.linger, self._stop, watch)

    def _stop(self, watch: Watch) -> None:
        watch.end = None
        if watch.wanted or self._watches.get(watch.key) is not watch:
            return
        del self._watches[watch.key]
        self.owners.release(watch.owner, 1)
        for view in watch.stop():
            view.topic.on_idle = None
            self._idle.put(view.topic)

    def publish(self, view: View, event: bytes | Pieces) -> Position | Pending[Position] | None:
        """Append an event to the topic of a view, if there is room for it."""
        topic = view.topic
        # A topic that nobody reads and that has nothing yet may have been swept away while its poll ran.
        if self._hub.topics.get(topic.name) is not topic:
            return None
        if len(event) > _SMALL:
            self._hub.rings.make_room(topic, topic.owner, len(event))
            self._hub.pending_appends.check(topic.owner, len(event))
        position = self._hub.append(topic, event, self._hub.clock())
        when_known(position, partial(self._stored, view.watch))
        return position

    def _stored(self, watch: Watch, outcome: Position | Exception) -> None:
        if isinstance(outcome, Exception):
            self._ask_anew(watch)

    async def close(self) -> None:
        """End every poll and task."""
        self._idle.close()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()
        await self._polls.close()


def _digest(*parts: str | None) -> str:
    """Return a digest that differs wherever the parts do: each goes in with its length before it."""
    digest = sha256()
    for part in parts:
        data = (part or "").encode("utf-8", "surrogatepass")
        digest.update(b"-" if part is None else b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
