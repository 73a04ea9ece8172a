"""What one client reads: its readers by topic, and its interest in watched URLs."""

from service.core.access.grants import Grant
from service.core.errors import AlreadySubscribed, Draining, LimitReached
from service.core.ports import WatchInterest
from service.core.topics.hub import Hub
from service.core.topics.topic import Reader, Since, Start

__all__ = ["Subscriptions"]


class Subscriptions:
    """The subscriptions of one connection, at most one for each topic."""

    __slots__ = ("_hub", "_watching", "closed", "readers")

    def __init__(self, hub: Hub) -> None:
        self.readers: dict[str, Reader] = {}
        """By the topic's name."""
        self._watching: dict[str, WatchInterest] | None = None
        self._hub = hub
        self.closed = False

    def __repr__(self) -> str:
        return f"<Subscriptions {len(self.readers)} topics>"

    def check(self, name: str | None, most: int) -> None:
        """Raise an error unless there may be one more, of a topic with this name if that is known."""
        if self.closed:
            raise Draining("the connection is closing")
        if name in self.readers:
            raise AlreadySubscribed(f"topic: this connection is already subscribed to {name!r}")
        if len(self.readers) >= most:
            raise LimitReached(f"limit topics a client: {most}")

    def join(self, reader: Reader, since: Since) -> Start:
        """Add a reader and let it join its topic."""
        self.readers[reader.topic.name] = reader
        return self._hub.attach(reader, since)

    def watch(self, watching: WatchInterest) -> None:
        """Add the interest in a URL, whose topic is joined next; raise AlreadySubscribed if it is there."""
        name = watching.topic.name
        if name in self.readers:
            watching.release()
            raise AlreadySubscribed(f"topic: this connection is already subscribed to {name!r}")
        self._watching = self._watching or {}
        self._watching[name] = watching

    def leave(self, name: str) -> None:
        """End one, if it is there."""
        reader = self.readers.pop(name, None)
        if reader is not None:
            reader.detach()
        if self._watching and (watching := self._watching.pop(name, None)):
            watching.release()

    def leave_forbidden(self, grant: Grant, before: Grant) -> list[str]:
        """End what other credentials do not allow any more; return the names of those topics."""
        watched = self._watching or {}
        names = [name for name in self.readers if not grant.may_keep(name, before, watched=name in watched)]
        for name in names:
            self.leave(name)
        return names

    def forget(self, name: str) -> None:
        """Drop the subscription of a reader that has had all of an ended topic."""
        self.readers.pop(name, None)

    def close(self) -> None:
        """Leave every topic; no other can be joined after that."""
        self.closed = True
        for reader in tuple(self.readers.values()):
            reader.detach()
        self.readers.clear()
        for watching in (self._watching or {}).values():
            watching.release()
        self._watching = None
