"""How hosts are treated: how many requests each has at once, and which of them is left alone for a while.

Theory of operation. A host has a count and nothing else until an answer asks for less (429, 503), a request
does not reach it, or an attempt is made again. From then on it has a state, until it is at its full limit again
and its retry budget is refilled. One *event* is one step: what began before the last step took effect says
nothing new. Steps down halve the limit, successes raise it by one for each round (additive increase,
multiplicative decrease: Chiu and Jain, 1989), pauses double while no answer comes between them. Where a host
cannot be reached at all the breaker *trips*: nothing but one probe after each pause.
"""

from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from service.core.fetching.outcome import HostVerdict
from service.core.fetching.owner_pauses import OwnerPauses
from service.core.owner import SERVICE, Owner
from service.core.pool import PoolStatistics

__all__ = ["HostLimiter"]


_TRIP_AFTER = 20
"""Failures in a row, without an answer between them."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_LONGEST_RETRY_AFTER = 120.0
"""Seconds of a Retry-After that are honoured: one page of a host must not close all of it for an hour."""
_FIRST_RETRY_AFTER = 1.0
_INSISTENCE = 4.0
"""The first Retry-After may be one page's: it holds back the host for a second, and each one of another URL
without a good answer between them for four times as long."""
_BUDGET = 50.0
_REFILL = 0.2
"""Retries that such a host gets at once, and for each success: 20 %, as in Finagle and Envoy."""
_TOO_BUSY = 2.0
_DECAY = 0.1
"""Answers of 503 without a Retry-After may be one page's: they count as a request for less from every tenth on."""
_MOST = 10_000
_RESERVED = 5
"""The most places at a host that one owner leaves to others: that many newcomers find one at once."""


@dataclass(slots=True, eq=False)
class _HostState:
    limit: int
    budget: float = _BUDGET
    not_before: float = 0.0
    stepped: float = float("-inf")
    """When the last step was made; attempts that began before it belong to the same event."""
    pauses: int = 0
    retry_afters: int = 0
    """How many different URLs in turn have answered with a Retry-After."""
    last_url: str | None = None
    """The last of them."""
    failures: int = 0
    busy_score: float = 0.0
    round: int = 0
    tripped: bool = False


class HostLimiter:
    """All hosts by origin; pure: ``now`` is an argument, ``chance`` gives random numbers from 0 to 1.

    Where hosts are ``shared``, one owner leaves a quarter of a host's places to others, or :data:`_RESERVED`.
    """

    def __init__(self, limit: int, *, chance: Callable[[], float], shared: bool = False) -> None:
        self.limit = limit
        self.refused = 0
        """How often an owner had to leave a place to others."""
        self._chance = chance
        self._shared = shared
        self.waited_for: Container[str] = frozenset()
        """Hosts that :meth:`pop_opened` tells of: where somebody waits for a place."""
        self._active: dict[str, int] = {}
        self._active_of: dict[str, dict[Owner, int]] = {}
        self._opened: dict[str, None] = {}
        self._states: dict[str, _HostState] = {}
        self.pauses: list[tuple[float, str]] = []
        """When each pause ends that :meth:`pop_opened` has not returned, and of which host; a heap."""
        self._owners = OwnerPauses()

    def __repr__(self) -> str:
        return f"<HostLimiter {len(self._active)} active, {len(self._states)} in trouble>"

    @property
    def throttled(self) -> int:
        """How many hosts have less than their full limit, or are left alone."""
        return sum(state.limit < self.limit for state in self._states.values())

    def has_place(self, origin: str, now: float, owner: Owner | None = None) -> bool:
        """Return whether one more request may begin now, of this owner where one is given."""
        active = self._active.get(origin, 0)
        state = self._states.get(origin)
        limit = self.limit if state is None else state.limit
        if active >= limit or (state is not None and now < state.not_before):
            return False
        if not self._shared or owner is None:
            return True
        if self._owners.until(origin, owner, now):
            return False
        owners = self._active_of.get(origin)
        return owners is None or owners.get(owner, 0) < limit - min(limit // 4, _RESERVED)

    def hands_on(self, origin: str, owner: Owner, now: float) -> bool:
        """Return whether the next request of an owner may have the place of one that has ended."""
        if origin in self._states or origin in self.waited_for:
            return False
        return not (self._shared and self._owners.until(origin, owner, now))

    def count_refusal(self, origin: str, now: float) -> None:
        """Count an owner that :meth:`has_place` refused a place, if there is one that it leaves to others."""
        self.refused += self.has_place(origin, now)

    def opens_at(self, origin: str) -> float:
        """Return when a host that is left alone is asked again; 0 for one that is not."""
        state = self._states.get(origin)
        return state.not_before if state is not None else 0.0

    def opens_for(self, origin: str, owner: Owner, now: float) -> float:
        """Return when a host is asked again for this owner; 0 where it need not wait."""
        return max(self.opens_at(origin), self._owners.until(origin, owner, now))

    def begin(self, origin: str, owner: Owner = SERVICE) -> None:
        """Take a place."""
        self._active[origin] = self._active.get(origin, 0) + 1
        if self._shared:
            owners = self._active_of.get(origin)
            if owners is None:
                owners = self._active_of[origin] = {}
            owners[owner] = owners.get(owner, 0) + 1

    def end(self, origin: str, owner: Owner = SERVICE) -> None:
        """Free a place."""
        if origin in self.waited_for:
            self._opened[origin] = None
        left = self._active[origin] - 1
        if left:
            self._active[origin] = left
        else:
            del self._active[origin]
        if self._shared:
            owners = self._active_of[origin]
            owners[owner] -= 1
            if not left:
                del self._active_of[origin]
            elif not owners[owner]:
                del owners[owner]

    def statistics(self) -> PoolStatistics:
        """Return a snapshot of the busiest host: its places, and their owners."""
        origin = max(self._active, key=self._active.__getitem__, default="")
        owners = self._active_of.get(origin, {})
        largest = max(owners.values(), default=0)
        return PoolStatistics(self.limit, self._active.get(origin, 0), len(owners), largest, self.refused)

    def reopen(self, origin: str) -> None:
        """Have :meth:`pop_opened` name a host again."""
        self._opened[origin] = None

    def pop_opened(self, now: float) -> Collection[str]:
        """Return the hosts that are waited for where a place came free, or a pause ended, since the last call."""
        while self.pauses and self.pauses[0][0] <= now:
            self._opened[heappop(self.pauses)[1]] = None
        if not self._opened:
            return ()
        opened, self._opened = self._opened, {}
        return opened

    def record(
        self,
        origin: str,
        verdict: HostVerdict,
        begun: float,
        now: float,
        retry_after: float | None = None,
        url: str | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Record what an attempt at ``url`` that began at ``begun`` says; ``retry_after`` is its Retry-After."""
        if verdict == "fine":
            if self._shared and owner is not None:
                self._owners.answered(origin, owner, now)
            if (state := self._states.get(origin)) is not None:
                self._fine(origin, state, begun)
        elif self._shared and owner is not None and self._charge_owner(origin, now, retry_after, owner):
            return
        elif verdict == "down":
            self._down(origin, self._state(origin), begun, now)
        elif verdict == "slow" or retry_after is not None or self._count_busy(origin):
            self._slow(origin, self._state(origin), begun, now, retry_after, url)

    def _charge_owner(self, origin: str, now: float, retry_after: float | None, owner: Owner) -> bool:
        """Hold back an owner that alone is asked for less, while others are answered; return whether it is."""
        if not self._owners.refused(origin, owner, now):
            return False
        if retry_after is not None:
            until = now + min(retry_after, _LONGEST_RETRY_AFTER)
            self._owners.pause(origin, owner, until, now)
            heappush(self.pauses, (until, origin))
        return True

    def spend_retry(self, origin: str) -> bool:
        """Take a retry out of the host's budget; return whether there was one left."""
        state = self._state(origin)
        if state.budget < 1:
            return False
        state.budget -= 1
        return True

    def wake_at(self) -> float:
        """Return when the next pause ends that :meth:`pop_opened` has not returned; infinity without one."""
        return self.pauses[0][0] if self.pauses else inf

    def _state(self, origin: str) -> _HostState:
        state = self._states.get(origin)
        if state is None:
            if len(self._states) >= _MOST:
                del self._states[next(iter(self._states))]
            state = self._states[origin] = _HostState(self.limit)
        return state

    def _count_busy(self, origin: str) -> bool:
        """Count an answer of 503; return whether there were so many that it counts as a request for less."""
        state = self._state(origin)
        state.failures = 0
        state.busy_score = min(_TOO_BUSY, state.busy_score + 1)
        return state.busy_score >= _TOO_BUSY

    def _fine(self, origin: str, state: _HostState, begun: float) -> None:
        state.failures = 0
        state.busy_score = max(0.0, state.busy_score - _DECAY)
        state.budget = min(_BUDGET, state.budget + _REFILL)
        if begun <= state.stepped:
            return
        state.tripped = False
        state.pauses = state.retry_afters = 0
        state.round += 1
        if state.round >= state.limit and state.limit < self.limit:
            state.limit += 1
            state.round = 0
        if state.limit >= self.limit and state.budget >= _BUDGET and not state.busy_score:
            del self._states[origin]

    def _slow(
        self, origin: str, state: _HostState, begun: float, now: float, retry_after: float | None, url: str | None
    ) -> None:
        state.failures = 0
        state.tripped = False
        if retry_after is not None:
            if url is not None and url == state.last_url:
                # It says nothing of the host that it has not said before; its retries wait as long as it wants.
                return
            longest = min(_LONGEST_RETRY_AFTER, _FIRST_RETRY_AFTER * _INSISTENCE**state.retry_afters)
            self._pause(origin, state, now + min(retry_after, longest))
        if begun <= state.stepped:
            return
        # One page that asks for less says nothing of how many the host can have at once.
        used = self.limit if retry_after is not None and not state.retry_afters else self._active.get(origin, 0) + 1
        state.limit = max(1, min(state.limit, used) // 2)
        if retry_after is not None:
            state.retry_afters, state.last_url = state.retry_afters + 1, url
        self._step(origin, state, now, pause=retry_after is None)

    def _down(self, origin: str, state: _HostState, begun: float, now: float) -> None:
        state.failures += 1
        if begun <= state.stepped or not (state.tripped or state.failures >= _TRIP_AFTER):
            return
        state.tripped = True
        state.limit = 1
        self._step(origin, state, now, pause=True)

    def _step(self, origin: str, state: _HostState, now: float, *, pause: bool) -> None:
        state.stepped = now
        state.round = 0
        if pause:
            ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**state.pauses)
            state.pauses += 1
            # Half of it is certain: a pause of nearly nothing is none.
            self._pause(origin, state, now + ceiling * (0.5 + self._chance() / 2))

    def _pause(self, origin: str, state: _HostState, until: float) -> None:
        if until > state.not_before:
            state.not_before = until
            heappush(self.pauses, (until, origin))
