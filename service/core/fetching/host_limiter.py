"""How hosts are treated: how many requests each has at once, and which of them is left alone for a while.

Theory of operation. A host has a count and nothing else until an answer asks for less (429, 503), a request
does not reach it, or an attempt is made again. From then on it has a state (``backoff.py``), until it is at its
full limit again and its retry budget is refilled. Where clients share hosts, each client also has a state of its
own there: trouble holds back the client that meets it alone, until a second one meets it too (``witnesses.py``).
Whose states are forgotten where there are too many, ``host_states.py`` decides.
"""

from collections.abc import Callable, Collection, Container
from heapq import heappop, heappush
from math import inf

from service.core.fetching.backoff import BUDGET, COMMON_BUDGET, Backoff
from service.core.fetching.host_states import HostKey, HostStates
from service.core.fetching.outcome import HostVerdict
from service.core.fetching.witnesses import Witnesses, longest_pause
from service.core.owner import SERVICE, Owner
from service.core.pool import PoolStatistics

__all__ = ["HostLimiter"]

_RESERVED = 5
"""The most places at a host that one owner leaves to others: that many newcomers find one at once."""


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
        self._troubled = HostStates()
        self._states = self._troubled.by_key
        self._shut: list[tuple[str, float, Owner]] = []
        self.pauses: list[tuple[float, str]] = []
        """When each pause ends that :meth:`pop_opened` has not returned, and of which host; a heap."""
        self._witnesses = Witnesses()

    def __repr__(self) -> str:
        return f"<HostLimiter {len(self._active)} active, {len(self._states)} in trouble>"

    @property
    def throttled(self) -> int:
        """How many hosts have less than their full limit, or are left alone."""
        return len({origin for (origin, _), state in self._states.items() if state.limit < self.limit})

    def has_place(self, origin: str, now: float, owner: Owner | None = None) -> bool:
        """Return whether one more request may begin now, of this owner where one is given."""
        active = self._active.get(origin, 0)
        state = self._states.get((origin, None)) if self._states else None
        limit = self.limit if state is None else state.limit
        if active >= limit or (state is not None and now < state.not_before):
            return False
        if not self._shared or owner is None:
            return True
        share = limit - min(limit // 4, _RESERVED)
        own = self._states.get((origin, owner)) if self._states else None
        if own is not None:
            if now < own.not_before:
                return False
            share = min(share, own.limit)
        owners = self._active_of.get(origin)
        return owners is None or owners.get(owner, 0) < share

    def used_up(self, origin: str, owner: Owner) -> bool:
        """Return whether an owner has its full share of a host's places, whether or not the host is in trouble."""
        active = self._active_of.get(origin, {}).get(owner, 0)
        return self._shared and active >= self.limit - min(self.limit // 4, _RESERVED)

    def hands_on(self, origin: str, owner: Owner) -> bool:
        """Return whether the next request of an owner may have the place of one that has ended."""
        if origin in self.waited_for:
            return False
        return not self._states or (self._is_free((origin, None)) and self._is_free((origin, owner)))

    def _is_free(self, key: HostKey) -> bool:
        """Return whether a host has all of its places, and had them all the time."""
        state = self._states.get(key)
        return state is None or (state.limit >= self.limit and not state.not_before)

    def count_refusal(self, origin: str, now: float) -> None:
        """Count an owner that :meth:`has_place` refused a place, if there is one that it leaves to others."""
        self.refused += self.has_place(origin, now)

    def opens_at(self, origin: str) -> float:
        """Return when a host that is left alone is asked again; 0 for one that is not."""
        return self._opens((origin, None))

    def opens_for(self, origin: str, owner: Owner) -> float:
        """Return when a host is asked again for this owner; 0 where it need not wait."""
        return max(self._opens((origin, None)), self._opens((origin, owner)))

    def _opens(self, key: HostKey) -> float:
        state = self._states.get(key)
        return state.not_before if state is not None else 0.0

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

    def pop_opened(self, now: float) -> Collection[str]:
        """Return the hosts that are waited for where a place came free, or a pause ended, since the last call."""
        while self.pauses and self.pauses[0][0] <= now:
            self._opened[heappop(self.pauses)[1]] = None
        if not self._opened:
            return ()
        opened, self._opened = self._opened, {}
        return opened

    def pop_shut(self) -> Collection[tuple[str, float, Owner]]:
        """Return the hosts that are left alone for one owner only since the last call, and until when."""
        if not self._shut:
            return ()
        shut, self._shut = self._shut, []
        return shut

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
        if not self._shared:
            owner = None
        if verdict == "fine":
            self._fine(origin, begun, now, owner)
            return
        longest = inf
        if owner is not None:
            active = self._active_of.get(origin, {}).get(owner, 0)
            self._bad((origin, owner), verdict, begun, now, retry_after, url, owner, active, longest)
            longest = longest_pause(self._witnesses.refused(origin, owner, now))
        if longest:
            active = self._active.get(origin, 0)
            self._bad((origin, None), verdict, begun, now, retry_after, url, owner or SERVICE, active, longest)

    def _fine(self, origin: str, begun: float, now: float, owner: Owner | None) -> None:
        if owner is not None:
            self._witnesses.answered(origin, owner, now)
        if self._states:
            for key in {(origin, None), (origin, owner)}:
                if (state := self._states.get(key)) is not None and state.fine(begun):
                    self._troubled.forget(key)

    def _bad(
        self, key: HostKey, verdict: HostVerdict, begun: float, now: float, retry_after: float | None,
        url: str | None, by: Owner, active: int, longest: float,
    ) -> None:  # fmt: skip
        state = self._state(key, by)
        before = state.not_before
        state.bad(verdict, begun, now, retry_after, url, active=active, chance=self._chance())
        state.not_before = min(state.not_before, max(before, now + longest))
        if state.not_before > before:
            origin, owner = key
            heappush(self.pauses, (state.not_before, origin))
            if owner is not None and origin in self.waited_for:
                self._shut.append((origin, state.not_before, owner))
                self._opened[origin] = None

    def spend_retry(self, origin: str, owner: Owner | None = None) -> bool:
        """Take a retry out of the budgets of an owner, and of all, at a host; return whether one was left."""
        if not self._shared or owner is None:
            return self._state((origin, None), SERVICE).spend_retry()
        return self._state((origin, owner), owner).spend_retry(self._state((origin, None), owner))

    def wake_at(self) -> float:
        """Return when the next pause ends that :meth:`pop_opened` has not returned; infinity without one."""
        return self.pauses[0][0] if self.pauses else inf

    def _state(self, key: HostKey, by: Owner) -> Backoff:
        """Return the state of a host in which an owner makes something happen."""
        budget = COMMON_BUDGET if self._shared and key[1] is None else BUDGET
        return self._troubled.get(key, by, Backoff(self.limit, self.limit, budget, budget))
