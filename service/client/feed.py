"""One subscription of a connection, and all streams that it fills.

Theory of operation. The service has one subscription of a topic for each connection, and streams come to it with
places of their own. A stream is *joining* until a subscription has been answered that serves its place, and
*live* from then on; one whose consumer does not take is *parked* until there is room. A stream that has begun can
be served from any place before its own, since it passes over what it had. So a subscription is asked for from the
earliest place of all; only a stream that has no place yet is asked for as it wants, and those that are before the
place that it is given join once more. Each subscription takes the place of the one before it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from .errors import Refused, Unanswered
from .stream import Stream
from .values import Position

__all__ = ["Cut", "Feed", "Reply", "Wire"]

TRIES = 10
"""Connections that may end before they answer a call, or the first request of a stream: that may be what ends them
and is not sent for ever."""


class Cut(Exception):
    """The connection ended before the answer came; the next connection asks again."""


Reply = dict[str, Any] | Refused | Cut


class Wire(Protocol):
    """The part of the connection that a feed uses."""

    closing: bool

    def ask(self, method: str, params: dict[str, Any], then: Callable[[Reply], None]) -> None:
        """Make a request; ``then`` is called with the reply."""

    def notify(self, method: str, **params: object) -> None:
        """Make a request whose answer nobody needs."""

    def route(self, topic: str, feed: "Feed") -> None:
        """Send the messages of a topic to a feed."""

    def drop(self, feed: "Feed") -> None:
        """Forget a feed that has no stream."""

    def later(self, delay: float, feed: "Feed") -> None:
        """Call :meth:`Feed.retry` after a while, unless the connection has ended."""

    def filled(self, stream: Stream) -> None:
        """Note that a consumer has to take before more is read."""

    def release(self, stream: Stream) -> None:
        """Wait no more for a consumer to take."""


class Feed:
    """The streams of one topic, or of one watched URL and selection, or one batch that is being begun."""

    def __init__(self, wire: Wire, stream: Stream) -> None:
        self.key = stream.key
        self.topic = stream.topic
        self.watching = stream.method == "watch"
        self.parked: dict[Stream, None] = {}
        self.live: dict[Stream, None] = {}
        self._joining: dict[Stream, None] = {}
        self._wire = wire
        self._epoch = ""
        self._subscribed = False
        self._asking = False
        self._resting = False

    def __repr__(self) -> str:
        return f"<Feed {self.topic or self.key} {len(self.live)} live, {len(self._joining)} joining>"

    def add(self, stream: Stream) -> None:
        """Take a stream in, which is filled after the next :meth:`go_on` if its consumer has room."""
        self.parked.pop(stream, None)
        (self.parked if stream.full else self._joining)[stream] = None

    def park(self, stream: Stream) -> None:
        """Have a stream filled no more until it is added again."""
        del self.live[stream]
        self.parked[stream] = None
        self._wire.release(stream)
        self._settle()

    def remove(self, stream: Stream) -> None:
        """Take a stream out whose consumer has left."""
        for group in (self.live, self._joining, self.parked):
            group.pop(stream, None)
        self._settle()
        if stream.fetching and stream.topic is not None:
            self._wire.notify("cancel", batch=stream.topic.removeprefix("batch:"))

    def message(self, offset: int, data: Any, size: int) -> None:
        """Pass on a message; a stream without room is parked, and learns of it later."""
        if type(offset) is not int:
            raise TypeError("offset: an integer is expected")
        for stream in tuple(self.live):
            if stream.full:
                self.park(stream)
            elif stream.message(offset, data, size):
                self._check(stream)

    def _check(self, stream: Stream) -> None:
        """See to a stream that a message has ended or filled."""
        if stream.over:
            del self.live[stream]
            # The service has ended that of a batch; that of a job may go on with another run.
            self._subscribed = self._subscribed and not (self.topic or "").startswith("batch:")
            self._settle()
        else:
            self._wire.filled(stream)

    def gap(self, first: int, last: int) -> None:
        """Pass on a gap."""
        if type(first) is not int or type(last) is not int:
            raise TypeError("from, to: integers are expected")
        for stream in self.live:
            stream.gap(first, last)

    def end(self, error: Refused) -> None:
        """End every stream: the service has ended the subscription."""
        self._subscribed = False
        for stream in (*self.live, *self._joining, *self.parked):
            stream.end(error)
        self.live, self._joining, self.parked = {}, {}, {}
        self._settle()

    def retry(self) -> None:
        """Ask again for what was refused for a while."""
        self._resting = False
        self.go_on()

    def _settle(self) -> None:
        """Keep no subscription that nobody reads."""
        if self.live or self._joining or self._asking:
            return
        self._unsubscribe()
        if not self.parked:
            self._wire.drop(self)

    def _unsubscribe(self) -> None:
        if self._subscribed and self.topic is not None:
            self._subscribed = False
            self._wire.notify("unwatch" if self.watching else "unsubscribe", topic=self.topic)

    def go_on(self) -> None:
        """Ask for the next subscription, if one is needed and may be asked for now."""
        if self._asking or self._resting or not self._joining:
            return
        if self._wire.closing and self.live:
            return  # a service that goes away refuses: those who are served stay
        self._asking = True
        fresh = next((stream for stream in self._joining if not stream.begun), None)
        self._unsubscribe()
        if fresh is not None:
            self._wire.ask(*self._request(fresh, None), lambda reply: self._answered(reply, fresh, None))
        else:
            stream, asked = self._earliest()
            self._wire.ask(*self._request(stream, asked), lambda reply: self._answered(reply, None, asked))

    def _earliest(self) -> tuple[Stream, Position]:
        """Return the stream whose place has to be asked for: one of another epoch is served by no place of this."""
        streams = [*self._joining, *self.live]
        epoch = self._epoch or streams[0].cursor.epoch
        chosen = min(streams, key=lambda stream: (stream.cursor.epoch == epoch, stream.cursor.offset))
        position = chosen.cursor.position
        assert position is not None
        return chosen, position

    def _request(self, stream: Stream, since: Position | None) -> tuple[str, dict[str, Any]]:
        """Return a stream's request with what all want: the eldest's ``on_lag``, the shortest ``every``."""
        method, params = stream.request(since)
        streams = [*self.live, *self._joining]
        if method == "watch":
            params = {**params, "every": min(other.params["every"] for other in streams)}
        on_lag = streams[0].params.get("on_lag")
        if on_lag is not None and method != "fetch":
            params = {**params, "on_lag": on_lag}
        return method, params

    def _answered(self, reply: Reply, fresh: Stream | None, asked: Position | None) -> None:
        self._asking = False
        if isinstance(reply, Cut):
            if fresh is not None:
                self._tried(fresh)
            return
        if isinstance(reply, Refused):
            self._refused(reply, fresh)
            return
        try:
            self.topic, self._epoch, offset = _place(reply)
        except (KeyError, TypeError):
            if fresh is not None:
                self._tried(fresh)
            raise
        self._subscribed = True
        self._wire.route(self.topic, self)
        if fresh is not None:
            self._begin(fresh, reply, offset)
        else:
            assert asked is not None
            self._resume(reply, offset, asked)
        self.go_on()
        self._settle()

    def _tried(self, stream: Stream) -> None:
        stream.tries += 1
        if stream.tries >= TRIES:
            why = f"{TRIES} connections ended before this was answered: it may be what ends them"
            stream.end(Unanswered(why))

    def _begin(self, fresh: Stream, reply: dict[str, Any], offset: int) -> None:
        """Give a stream the place that it asked for; those that are before it join once more."""
        if fresh not in self._joining:
            fresh.topic = self.topic
            self.remove(fresh)
        else:
            self._start(fresh, reply, None)
        for stream in tuple(self.live):
            if stream.cursor.epoch != self._epoch or stream.cursor.offset < offset:
                del self.live[stream]
                self._joining[stream] = None

    def _resume(self, reply: dict[str, Any], offset: int, asked: Position) -> None:
        """Go on with all streams from an answer for the place of one of them."""
        for stream in (*self.live, *self._joining):
            if stream.begun and self._served(stream, asked):
                self._start(stream, reply, asked)
                if stream.cursor.offset < offset:
                    stream.gap(stream.cursor.offset + 1, offset)

    def _start(self, stream: Stream, reply: dict[str, Any], asked: Position | None) -> None:
        """Have a stream served from an answer on, unless nothing follows that."""
        stream.start(reply, asked)
        self._joining.pop(stream, None)
        if stream.over:
            self.live.pop(stream, None)
        else:
            self.live[stream] = None

    def _served(self, stream: Stream, asked: Position) -> bool:
        """Return whether a stream goes on from the answer for a place; one that came later may be before it."""
        if asked.epoch != self._epoch:
            return True
        return stream.cursor.epoch == self._epoch and stream.cursor.offset >= asked.offset

    def _refused(self, error: Refused, fresh: Stream | None) -> None:
        """End what is refused for good; what is refused for now is asked for again later."""
        begun = fresh is None
        if error.reason == "draining":
            self._resting = True  # and the next connection begins anew
        elif error.temporary and (begun or error.reason != "limit"):
            self._resting = True
            self._wire.later(error.retry_after or 1.0, self)
        elif fresh is None:
            self.end(error)
        else:
            self._joining.pop(fresh, None)
            fresh.end(error)
            # The others lost their subscription to this try.
            self._joining.update(self.live)
            self.live = {}
            self.go_on()
            self._settle()


def _place(reply: dict[str, Any]) -> tuple[str, str, int]:
    """Read where a subscription begins."""
    topic, epoch, offset = reply["topic"], reply["epoch"], reply.get("offset", 0)
    if not (isinstance(topic, str) and isinstance(epoch, str) and epoch and type(offset) is int and offset >= 0):
        raise TypeError("a topic, an epoch and an offset are expected")
    return topic, epoch, offset
