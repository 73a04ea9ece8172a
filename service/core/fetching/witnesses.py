"""Owners whom a host answers as usual, and owners whom it does not.

One client may ask for pages that always fail, or that take longer than it waits. That says nothing of the host,
until a second client gets no good answer either, and nobody else gets one.
"""

from collections import OrderedDict
from math import inf
from typing import Final

from service.core.owner import Owner

__all__ = ["Witnesses"]

_RECENT: Final = 60.0
"""Seconds for which an answer, or a refusal, counts."""
_MOST: Final = 10_000


class _Last:
    """The last two owners to whom something happened, and when."""

    __slots__ = ("at", "before", "before_at", "owner")

    def __init__(self) -> None:
        self.owner, self.at = Owner(""), -inf
        self.before, self.before_at = self.owner, -inf

    def note(self, owner: Owner, now: float) -> None:
        """Record that it happened to an owner."""
        if self.owner != owner:
            self.before, self.before_at = self.owner, self.at
            self.owner = owner
        self.at = now

    def forget(self, owner: Owner) -> None:
        """Record that the opposite has happened to an owner."""
        if self.owner == owner:
            self.at = -inf
        elif self.before == owner:
            self.before_at = -inf

    def other(self, owner: Owner, now: float) -> bool:
        """Return whether it happened to another owner a short time ago."""
        return (self.owner != owner and now - self.at < _RECENT) or (
            self.before != owner and now - self.before_at < _RECENT
        )


class _Host:
    __slots__ = ("answered", "refused")

    def __init__(self) -> None:
        self.answered, self.refused = _Last(), _Last()


class Witnesses:
    """Whom each host has answered, and whom not; of more than ``_MOST`` hosts the first that came is forgotten."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Witnesses of {len(self._hosts)} hosts>"

    def answered(self, origin: str, owner: Owner, now: float) -> None:
        """Record a good answer."""
        host = self._host(origin)
        host.answered.note(owner, now)
        host.refused.forget(owner)

    def refused(self, origin: str, owner: Owner, now: float) -> bool:
        """Record that an owner got no good answer; return whether the host is the cause."""
        host = self._host(origin)
        host.refused.note(owner, now)
        host.answered.forget(owner)
        return host.refused.other(owner, now) and not host.answered.other(owner, now)

    def _host(self, origin: str) -> _Host:
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = _Host()
            if len(self._hosts) > _MOST:
                self._hosts.popitem(last=False)
        return host
