"""Owners that a host asks for less, while it answers others as usual: they alone leave it alone for a while.

What one client asks for may be a page that always fails. As long as the host answers others, that says nothing of
the host, and holds back nobody else. Where a second client gets the same answer, the host asks everybody for less.
"""

from collections import OrderedDict
from math import inf

from service.core.owner import Owner

__all__ = ["OwnerPauses"]

_RECENT = 60.0
"""Seconds for which an answer to another owner counts."""
_MOST = 10_000


class _Answered:
    """The last two owners that a host has answered, and when."""

    __slots__ = ("at", "before", "before_at", "owner")

    def __init__(self, owner: Owner, at: float) -> None:
        self.owner, self.at = owner, at
        self.before, self.before_at = owner, -inf


class OwnerPauses:
    """Who was answered by which host, and who leaves it alone until when; at most ``_MOST`` of each."""

    def __init__(self) -> None:
        self._answered: OrderedDict[str, _Answered] = OrderedDict()
        self._until: OrderedDict[tuple[str, Owner], float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<OwnerPauses {len(self._until)} at {len(self._answered)} hosts>"

    def answered(self, origin: str, owner: Owner, now: float) -> None:
        """Record a good answer."""
        known = self._answered.get(origin)
        if known is None:
            self._answered[origin] = _Answered(owner, now)
            if len(self._answered) > _MOST:
                self._answered.popitem(last=False)
        elif known.owner == owner:
            known.at = now
        else:
            known.before, known.before_at = known.owner, known.at
            known.owner, known.at = owner, now

    def refused(self, origin: str, owner: Owner, now: float) -> bool:
        """Record that an owner got no good answer; return whether the host answers others all the same."""
        known = self._answered.get(origin)
        if known is None:
            return False
        if known.owner == owner:
            known.at = -inf
            return known.before != owner and now - known.before_at < _RECENT
        if known.before == owner:
            known.before_at = -inf
        return now - known.at < _RECENT

    def pause(self, origin: str, owner: Owner, until: float, now: float) -> None:
        """Have an owner leave a host alone; pauses that are over are forgotten."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        self._until[origin, owner] = max(until, self._until.get((origin, owner), until))
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def until(self, origin: str, owner: Owner, now: float) -> float:
        """Return until when an owner leaves a host alone; 0 where it does not."""
        until = self._until.get((origin, owner), 0.0) if self._until else 0.0
        return until if until > now else 0.0
