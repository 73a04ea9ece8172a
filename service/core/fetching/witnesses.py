"""Owners whom a host answers as usual, and owners whom it does not.

One client may ask for pages that always fail, or that take longer than it waits. That says nothing of the host,
until a second client gets no good answer either, and nobody else gets one. Clients may also be in league, or be
one client with many addresses: the addresses of one network are one witness, a witness that is answered outweighs
any number that is not, and what few have met holds back others for a moment only: see :func:`longest_pause`.
"""

from collections import OrderedDict
from math import inf
from typing import Final

from service.core.owner import Owner

__all__ = ["Witnesses", "longest_pause"]

_RECENT: Final = 60.0
"""Seconds for which an answer, or a refusal, counts."""
_FRESH: Final = 1.0
"""Seconds for which an answer need not be recorded again: most say nothing new."""
_MOST: Final = 10_000
_KEPT: Final = 16
"""Witnesses of each kind that are kept of a host."""


class _Host:
    __slots__ = ("answered", "refused")

    def __init__(self) -> None:
        self.answered: dict[str, float] = {}
        self.refused: dict[str, float] = {}
        """When each witness was, the one that was first of all."""


class Witnesses:
    """Whom each host has answered, and whom not; beyond ``_MOST``, the host least recently asked is forgotten."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Witnesses of {len(self._hosts)} hosts>"

    def answered(self, origin: str, owner: Owner, now: float) -> None:
        """Record a good answer."""
        host = self._hosts.get(origin)
        if host is not None and now - host.answered.get(owner.witness, -inf) < _FRESH:
            return
        host = self._host(origin)
        if host.refused:
            host.refused.pop(owner.witness, None)
        _note(host.answered, owner.witness, now)

    def refused(self, origin: str, owner: Owner, now: float) -> int:
        """Record that an owner got no good answer; return how many witnesses blame the host, 0 where it is well."""
        host = self._host(origin)
        host.answered.pop(owner.witness, None)
        _note(host.refused, owner.witness, now)
        _drop_old(host.answered, now)
        return len(host.refused) if len(host.refused) > 1 and not host.answered else 0

    def _host(self, origin: str) -> _Host:
        host = self._hosts.get(origin)
        if host is not None:
            self._hosts.move_to_end(origin)
            return host
        host = self._hosts[origin] = _Host()
        if len(self._hosts) > _MOST:
            self._hosts.popitem(last=False)
        return host


def longest_pause(witnesses: int) -> float:
    """Return for how many seconds a host may be left alone for everybody, by how many have met the same.

    Each of them waits for as long as it was asked to. Others ask after 2 s where it was two, and become witnesses
    themselves; as many as are kept suffice for any pause.
    """
    return witnesses * witnesses / 2


def _note(times: dict[str, float], witness: str, now: float) -> None:
    times.pop(witness, None)
    times[witness] = now
    _drop_old(times, now)
    if len(times) > _KEPT:
        del times[next(iter(times))]


def _drop_old(times: dict[str, float], now: float) -> None:
    while times and now - times[first := next(iter(times))] >= _RECENT:
        del times[first]
