"""What a session asks of the rest of the service, and of the connection that it belongs to."""

from collections import Counter
from typing import Protocol

from service.core.access.grants import Grant, HostPatterns
from service.core.fetching.batch import BatchRequest
from service.core.owner import Owner
from service.core.topics.reader import OnLag, Reader
from service.core.topics.topic import Since, Topic

__all__ = ["Backend", "Client", "Refusals", "StartedBatch", "Watching"]


Refusals = Counter[tuple[str, str]]
"""How many were refused, by where (``handshake``, ``http``, ``request``) and the error's reason."""


class StartedBatch(Protocol):
    """What the session needs of a batch."""

    id: str
    topic: Topic

    @property
    def total(self) -> int:
        """How many URLs it has."""
        ...


class Watching(Protocol):
    """One client's interest in a watched URL."""

    topic: Topic
    since: Since
    """Where its reader starts: at the last known state."""

    def release(self) -> None:
        """End it; calling it again is harmless."""
        ...


class Backend(Protocol):
    """What a session asks of the rest of the service; each raises a SluiceError to refuse."""

    draining: bool
    refusals: Refusals

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> StartedBatch:
        """Begin a batch for a client, within what it is granted."""
        ...

    def watch(self, url: str, every: float, select: str | None, hosts: HostPatterns, owner: Owner) -> Watching:
        """Have a URL polled for a client, its owner, that may know of these hosts."""
        ...

    def cancel(self, batch_id: str) -> int:
        """End a batch and return how many URLs had not finished."""
        ...

    def authenticate(self, token: str) -> Grant:
        """Check new credentials; return what they grant."""
        ...


class Client(Protocol):
    """The connection of one session."""

    owner: Owner
    """Who owns what is held for it, by the credentials that it has shown last."""

    def belong_to(self, grant: Grant) -> None:
        """Take other credentials: what is held from now on is their owner's. Raises LimitReached."""
        ...

    def new_reader(self, topic: Topic, on_lag: OnLag) -> Reader:
        """Return a reader that writes to this connection."""
        ...

    def on_bug(self, error: BaseException) -> None:
        """Take note of an exception that no request should cause."""
        ...
