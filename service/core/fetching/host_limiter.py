"""How hosts are treated: how many requests each has at once, and which of them is left alone for a while.

Theory of operation. A host without trouble has a count and nothing else. Trouble begins with an answer that
asks for less (429, 503), a failure to reach it, or an attempt that is made again; it ends when the host is at
its full limit again and its retry budget is refilled. One *event* is one step: what began before the last
step took effect says nothing new. Steps down halve the limit, successes raise it by one for each round
(additive increase, multiplicative decrease: Chiu and Jain, 1989), pauses double while no answer comes
between them. A host that cannot be reached at all is *shut*: nothing but one probe after each pause.
"""

from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Literal

from service.core.fetching.owner_pauses import OwnerPauses
from service.core.owner import SERVICE, Owner
from service.core.pool import PoolStatistics

__all__ = ["HostLimiter", "Verdict"]

Verdict = Literal["fine", "busy", "slow", "down"]
"""What an attempt says of its host: it answers; it may be overloaded; it asks for less; it cannot be reached."""

_SHUT_AFTER = 20
"""Failures in a row, without an answer between them."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_LONGEST_WISH = 120.0
"""Seconds of a Retry-After that are honoured: one page of a host must not close all of it for an hour."""
_FIRST_WISH = 1.0
_INSISTENCE = 4.0
"""The first Retry-After may be one page's: it holds back the host for a second, and each one of another URL
without a good answer between them for four times as long."""
_BUDGET = 50.0
_REFILL = 0.2
"""Retries that a host in trouble gets at once, and for each success: 20 %, as in Finagle and Envoy."""
_HEAT = 2.0
_COOLING = 0.1
"""Answers of 503 without a Retry-After may be one page's: they count as a wish for less from every tenth on."""
_MOST = 10_000
_RESERVED = 5
"""Places at a host that one owner leaves to others at the most: so many newcomers find one at once."""


@dataclass(slots=True, eq=False)
class _Trouble:
    limit: int
    budget: float = _BUDGET
    not_before: float = 0.0
    stepped: float = float("-inf")
    """When the last step was made; attempts that began before it belong to the same event."""
    pauses: int = 0
    wishes: int = 0
    """How many different URLs in turn have answered with a Retry-After."""
    wished: str | None = None
    """The last of them."""
    failures: int = 0
    heat: float = 0.0
    round: int = 0
    shut: bool = False


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
        self._troubles: dict[str, _Trouble] = {}
        self.pauses: list[tuple[float, str]] = []
        """When each pause ends that :meth:`pop_opened` has not returned, and of which host; a heap."""
        self._owners = OwnerPauses()

    def __repr__(self) -> str:
        return f"<HostLimiter {len(self._active)} active, {len(self._troubles)} in trouble>"

    @property
    def troubled(self) -> int:
        """How many hosts have less than their full limit, or are left alone."""
        return sum(trouble.limit < self.limit for trouble in self._troubles.values())

    def has_place(self, origin: str, now: float, owner: Owner | None = None) -> bool:
        """Return whether one more request may begin now, of this owner where one is given."""
        active = self._active.get(origin, 0)
        trouble = self._troubles.get(origin)
        limit = self.limit if trouble is None else trouble.limit
        if active >= limit or (trouble is not None and now < trouble.not_before):
            return False
        if not self._shared or owner is None:
            return True
        if self._owners.until(origin, owner, now):
            return False
        owners = self._active_of.get(origin)
        return owners is None or owners.get(owner, 0) < limit - min(limit // 4, _RESERVED)

    def count_refusal(self, origin: str, now: float) -> None:
        """Count an owner that :meth:`has_place` refused a place, if there is one that it leaves to others."""
        self.refused += self.has_place(origin, now)

    def opens_at(self, origin: str) -> float:
        """Return when a host that is left alone is asked again; 0 for one that is not."""
        trouble = self._troubles.get(origin)
        return trouble.not_before if trouble is not None else 0.0

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
        verdict: Verdict,
        begun: float,
        now: float,
        wish: float | None = None,
        url: str | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Record what an attempt at ``url`` that began at ``begun`` says; ``wish`` is its Retry-After."""
        if verdict == "fine":
            if self._shared and owner is not None:
                self._owners.answered(origin, owner, now)
            if (trouble := self._troubles.get(origin)) is not None:
                self._fine(origin, trouble, begun)
        elif self._shared and owner is not None and self._charge_owner(origin, now, wish, owner):
            return
        elif verdict == "down":
            self._down(origin, self._trouble(origin), begun, now)
        elif verdict == "slow" or wish is not None or self._heat(origin):
            self._slow(origin, self._trouble(origin), begun, now, wish, url)

    def _charge_owner(self, origin: str, now: float, wish: float | None, owner: Owner) -> bool:
        """Hold back an owner whose trouble is its own, because the host answers others; return whether it is."""
        if not self._owners.refused(origin, owner, now):
            return False
        if wish is not None:
            until = now + min(wish, _LONGEST_WISH)
            self._owners.pause(origin, owner, until, now)
            heappush(self.pauses, (until, origin))
        return True

    def spend_retry(self, origin: str) -> bool:
        """Take a retry out of the host's budget; return whether there was one left."""
        trouble = self._trouble(origin)
        if trouble.budget < 1:
            return False
        trouble.budget -= 1
        return True

    def wake_at(self) -> float:
        """Return when the next pause ends that :meth:`pop_opened` has not returned; infinity without one."""
        return self.pauses[0][0] if self.pauses else inf

    def _trouble(self, origin: str) -> _Trouble:
        trouble = self._troubles.get(origin)
        if trouble is None:
            if len(self._troubles) >= _MOST:
                del self._troubles[next(iter(self._troubles))]
            trouble = self._troubles[origin] = _Trouble(self.limit)
        return trouble

    def _heat(self, origin: str) -> bool:
        """Count an answer of 503; return whether there were so many that it counts as a wish for less."""
        trouble = self._trouble(origin)
        trouble.failures = 0
        trouble.heat = min(_HEAT, trouble.heat + 1)
        return trouble.heat >= _HEAT

    def _fine(self, origin: str, trouble: _Trouble, begun: float) -> None:
        trouble.failures = 0
        trouble.heat = max(0.0, trouble.heat - _COOLING)
        trouble.budget = min(_BUDGET, trouble.budget + _REFILL)
        if begun <= trouble.stepped:
            return
        trouble.shut = False
        trouble.pauses = trouble.wishes = 0
        trouble.round += 1
        if trouble.round >= trouble.limit and trouble.limit < self.limit:
            trouble.limit += 1
            trouble.round = 0
        if trouble.limit >= self.limit and trouble.budget >= _BUDGET and not trouble.heat:
            del self._troubles[origin]

    def _slow(
        self, origin: str, trouble: _Trouble, begun: float, now: float, wish: float | None, url: str | None
    ) -> None:
        trouble.failures = 0
        trouble.shut = False
        if wish is not None:
            if url is not None and url == trouble.wished:
                # It says nothing of the host that it has not said before; its retries wait as long as it wants.
                return
            longest = min(_LONGEST_WISH, _FIRST_WISH * _INSISTENCE**trouble.wishes)
            self._pause(origin, trouble, now + min(wish, longest))
        if begun <= trouble.stepped:
            return
        # One page that asks for less says nothing of how many the host can have at once.
        used = self.limit if wish is not None and not trouble.wishes else self._active.get(origin, 0) + 1
        trouble.limit = max(1, min(trouble.limit, used) // 2)
        if wish is not None:
            trouble.wishes, trouble.wished = trouble.wishes + 1, url
        self._step(origin, trouble, now, pause=wish is None)

    def _down(self, origin: str, trouble: _Trouble, begun: float, now: float) -> None:
        trouble.failures += 1
        if begun <= trouble.stepped or not (trouble.shut or trouble.failures >= _SHUT_AFTER):
            return
        trouble.shut = True
        trouble.limit = 1
        self._step(origin, trouble, now, pause=True)

    def _step(self, origin: str, trouble: _Trouble, now: float, *, pause: bool) -> None:
        trouble.stepped = now
        trouble.round = 0
        if pause:
            ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**trouble.pauses)
            trouble.pauses += 1
            # Half of it is certain: a pause of nearly nothing is none.
            self._pause(origin, trouble, now + ceiling * (0.5 + self._chance() / 2))

    def _pause(self, origin: str, trouble: _Trouble, until: float) -> None:
        if until > trouble.not_before:
            trouble.not_before = until
            heappush(self.pauses, (until, origin))
