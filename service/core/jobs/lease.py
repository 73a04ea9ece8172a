"""Attempts that workers elsewhere make: offered, claimed once, and leased for as long as their worker is heard of.

    who asks                       what is known             answer
    claim                          the offer's token         the lease, and the job has begun
    claim, again (same worker)     the lease's token         the lease: the first answer was lost
    claim (another worker)         the lease's token         refused: it runs elsewhere
    claim                          an older offer's token    refused: it was offered again, or withdrawn
    report                         the lease's token         the events that are new are taken in
    report                         any other token           refused: the lease was lost, or the attempt has ended

A token belongs to one offer. Only its digest is kept.
"""

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec

from service.core.errors import InvalidParams

__all__ = ["LEASE", "Lease", "Leases", "NotYours", "Offer", "digest_of"]

LEASE: Final = 10
"""Looks (seconds) without a word of its worker after which an attempt is lost."""
_RETURN: Final = 5
"""More of them after a start of the service, for workers to find it again."""


class NotYours(InvalidParams):
    """The attempt is not this worker's to make, or not any more (409 over HTTP)."""

    status = 409


class Lease(msgspec.Struct, frozen=True):
    """What is kept of an attempt that was claimed."""

    token: str
    """The digest of its token."""
    claim: str
    """By which its worker is known again that asks twice."""
    events: int = 0
    """How many of its worker's events were taken in."""

    def check(self, digest: str) -> None:
        """Raise NotYours for a token of another attempt."""
        if not compare_digest(self.token, digest):
            raise NotYours("the attempt is no longer yours: it was lost, and the job started again")


class Offer(msgspec.Struct, frozen=True):
    """An attempt that may be claimed."""

    token: str
    """The digest of its token."""
    attempt: int

    def check(self, digest: str, attempt: int) -> None:
        """Raise NotYours for a token of another offer."""
        if not compare_digest(self.token, digest) or attempt != self.attempt:
            raise NotYours("the attempt was offered again since")


def digest_of(token: str) -> str:
    """Return the digest of a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Leases:
    """The rows of jobs that are leased; time is counted in checks, one a second.

    So a pause of the service itself, when no worker could be heard, costs none of them its lease.
    """

    def __init__(self) -> None:
        self._checks = 0
        self._until: OrderedDict[int, int] = OrderedDict()
        """By row, the one that ends first at the front."""
        self._restored: OrderedDict[int, int] = OrderedDict()
        """The same of those that have not been renewed since the start."""

    def __repr__(self) -> str:
        return f"<Leases of {len(self)} jobs>"

    def __len__(self) -> int:
        return len(self._until) + len(self._restored)

    def __contains__(self, row: int) -> bool:
        return row in self._until or row in self._restored

    def restore(self, row: int) -> None:
        """Take over a lease at a start of the service."""
        self._restored[row] = self._checks + LEASE + _RETURN

    def renew(self, row: int) -> None:
        """Begin or extend a lease: its worker was heard."""
        self.end(row)
        self._until[row] = self._checks + LEASE

    def end(self, row: int) -> None:
        """Forget a lease, if there is one."""
        self._until.pop(row, None)
        self._restored.pop(row, None)

    def expire(self) -> Iterator[int]:
        """Count one check, and yield the rows whose lease has run out."""
        self._checks += 1
        for leases in (self._until, self._restored):
            while leases and next(iter(leases.values())) <= self._checks:
                yield leases.popitem(last=False)[0]
