"""One client's protocol state: requests in, answers out. It knows no socket.

Theory of operation. The shell hands every text message to :meth:`Session.receive` and sends the answer
before it does anything else, so that an answer precedes every message that its request causes: those
come by visits, and the hub makes visits in a later turn of the loop. When the connection has ended, for
any reason, the shell calls :meth:`Session.close`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from service.core.access.grants import NOTHING, Grant
from service.core.errors import (
    AlreadySubscribed,
    Draining,
    InternalError,
    InvalidRequest,
    LimitReached,
    MethodNotFound,
    ParseError,
    SluiceError,
    TooLarge,
    Unauthorized,
)
from service.core.exact import check_exact, id_in, parse_requests
from service.core.fetching.batch import BatchRequest
from service.core.ports import Backend, Client, Watching
from service.core.sessions.closing import FLOODING, NOT_TEXT, UNAUTHORIZED, CloseReason
from service.core.sessions.messages import (
    Authenticate,
    Cancel,
    Empty,
    Presence,
    Publish,
    Request,
    Subscribe,
    Unsubscribe,
    Unwatch,
    WatchRequest,
    convert,
    error_answer,
    id_of,
    is_utf8,
    parse_since,
    read_request,
    result_answer,
)
from service.core.sessions.rate_limits import ClientRateLimiter, SessionLimits
from service.core.topics.hub import Hub
from service.core.topics.names import check_name, check_writable
from service.core.topics.reader import OnLag, Reader, default_on_lag
from service.core.topics.topic import Since, Start, Topic

__all__ = ["METHODS", "Reply", "Session", "SessionLimits"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the shell does next: send ``text`` unless it is empty, then close if there is a ``closing``."""

    text: bytes = b""
    closing: CloseReason | None = None


class Session:
    """The state of one connection: its subscriptions, and how fast it goes."""

    __slots__ = ("_bad", "_client", "_hub", "_limits", "_pace", "_rejected", "_services", "_watching", "grant",
                 "readers")  # fmt: skip

    def __init__(self, hub: Hub, services: Backend, limits: SessionLimits, client: Client, grant: Grant) -> None:
        self.grant = grant
        self.readers: dict[str, Reader] = {}
        self._rejected = False
        self._hub = hub
        self._services = services
        self._limits = limits
        self._client = client
        self._bad = False
        self._pace = ClientRateLimiter(limits.granted(grant.limits))
        self._watching: dict[str, Watching] | None = None

    def __repr__(self) -> str:
        return f"<Session {len(self.readers)} topics>"

    def receive(self, text: bytes, now: float) -> Reply:
        """Carry out one text message: a request, or an array of them."""
        self._pace.message(len(text), now)
        try:
            value, exact = parse_requests(text)
        except ParseError as error:
            return self._not_json(text, error)
        except TooLarge as error:
            self._pace.count(now)
            return self._answer(_dump(error_answer(id_in(text), error)))
        self._bad = False
        if not isinstance(value, list):
            return self._answer(_dump(self._one(value, now, exact=exact)))
        if not value or len(value) > self._limits.requests_in_array:
            self._pace.count(now)
            why = f"an array has 1 to {self._limits.requests_in_array} requests"
            return self._answer(_dump(error_answer(None, InvalidRequest(why))))
        answers = [answer for item in value if (answer := self._one(item, now, exact=exact)) is not None]
        return self._answer(_dump(answers or None))

    def control(self, size: int, now: float) -> bool:
        """Take note of a ping or pong of ``size`` bytes; return whether it is answered."""
        return self._pace.control(size, now)

    @property
    def flooding(self) -> bool:
        """Whether the client goes on too fast after it was asked to wait."""
        return self._pace.flooding

    def close(self) -> None:
        """Leave every topic; the connection has ended."""
        for reader in tuple(self.readers.values()):
            reader.detach()
        self.readers.clear()
        for watching in (self._watching or {}).values():
            watching.release()
        self._watching = None

    def end(self) -> None:
        """Leave every topic, and the client too: nothing is received any more.

        The two refer to each other: 7 KiB would else wait for the collector of cycles, which seldom looks at them.
        """
        self.close()
        del self._client

    def forget(self, name: str) -> None:
        """Drop the subscription of a reader that has had all of an ended topic."""
        self.readers.pop(name, None)

    def _not_json(self, text: bytes, error: ParseError) -> Reply:
        closing = NOT_TEXT if self._bad or not is_utf8(text) else None
        self._bad = True
        return Reply(_dump(error_answer(None, error)), closing)

    def _answer(self, text: bytes) -> Reply:
        return Reply(text, FLOODING if self._pace.flooding else UNAUTHORIZED if self._rejected else None)

    def _one(self, value: Any, now: float, *, exact: bool) -> dict[str, Any] | None:
        """Carry out one request, checked first unless it is ``exact``; return its answer, if it wants one."""
        request = None
        try:
            try:
                request = read_request(value)
            finally:
                self._pace.request(now)  # even if it is not a request
            if not exact:
                check_exact(value)
            result = self._dispatch(request, now)
        except SluiceError as error:
            self._services.refusals["request", error.reason] += 1
            answer = error_answer(request.id if request else id_of(value), error)
        except Exception as error:
            self._client.on_bug(error)
            answer = error_answer(request.id if request else None, InternalError("a bug of ours; it was logged"))
        else:
            answer = result_answer(request.id, result)
        return answer if request is None or request.answered else None

    def _dispatch(self, request: Request, now: float) -> dict[str, Any]:
        method = _METHODS.get(request.method)
        if method is None:
            raise MethodNotFound(f"method {request.method[:64]!r} does not exist")
        if self.grant is NOTHING and request.method != "authenticate":
            raise Unauthorized("authenticate: no credentials were shown yet")
        kind, handle = method
        return handle(self, convert(request.params, kind), now)

    def _subscribe(self, params: Subscribe, now: float) -> dict[str, Any]:
        check_name(params.topic)
        self.grant.check_read(params.topic)
        since = parse_since(params.since)
        self._may_add(params.topic)
        topic = self._hub.readable(params.topic, self._client.owner)
        return _started(topic, self._join(topic, since, params.on_lag))

    def _may_add(self, name: str | None) -> None:
        if self._services.draining:
            raise Draining("the service is shutting down")
        if name in self.readers:
            raise AlreadySubscribed(f"topic: this connection has {name!r} already")
        if len(self.readers) >= self._pace.limits.topics:
            raise LimitReached(f"limit topics a client: {self._pace.limits.topics}")

    def _join(self, topic: Topic, since: Since, on_lag: OnLag | None) -> Start:
        reader = self._client.new_reader(topic, on_lag or default_on_lag(topic.name))
        self.readers[topic.name] = reader
        return self._hub.attach(reader, since)

    def _unsubscribe(self, params: Unsubscribe | Unwatch, now: float) -> dict[str, Any]:
        self._leave(params.topic)
        return {}

    def _leave(self, name: str) -> None:
        reader = self.readers.pop(name, None)
        if reader is not None:
            reader.detach()
        if self._watching and (watching := self._watching.pop(name, None)):
            watching.release()

    def _watch(self, params: WatchRequest, now: float) -> dict[str, Any]:
        self.grant.watch.check_any()
        self._may_add(None)
        since = parse_since(params.since) if params.since is not None else None
        watching = self._services.watch(
            params.url, params.every, params.select, self.grant.watch, self._client.owner
        )
        topic = watching.topic
        if topic.name in self.readers:
            watching.release()
            raise AlreadySubscribed(f"topic: this connection has {topic.name!r} already")
        self._watching = self._watching or {}
        self._watching[topic.name] = watching
        return _started(topic, self._join(topic, since or watching.since, params.on_lag))

    def _publish(self, params: Publish, now: float) -> dict[str, Any]:
        check_writable(params.topic)
        self.grant.publish.check(params.topic)
        try:
            data = orjson.dumps(params.data)
        except orjson.JSONEncodeError as error:
            # Deeper than the encoder follows: it was read, but it cannot be written.
            raise TooLarge(f"data: {error}") from None
        position = self._hub.publish(params.topic, data, now, key=params.key, owner=self._client.owner)
        return {"epoch": position.epoch, "offset": position.offset}

    def _presence(self, params: Presence, now: float) -> dict[str, Any]:
        check_name(params.topic)
        self.grant.check_read(params.topic)
        topic = self._hub.topics.get(params.topic)
        return {"readers": len(topic.readers) if topic else 0}

    def _fetch(self, params: BatchRequest, now: float) -> dict[str, Any]:
        self.grant.fetch.check_any()
        self._may_add(None)
        batch = self._services.fetch(params, self._client.owner, self.grant)
        self._join(batch.topic, "oldest", None)
        return {"batch": batch.id, "topic": batch.topic.name, "epoch": batch.topic.epoch, "total": batch.total}

    def _cancel(self, params: Cancel, now: float) -> dict[str, Any]:
        return {"cancelled": self._services.cancel(params.batch)}

    def _authenticate(self, params: Authenticate, now: float) -> dict[str, Any]:
        before = self.grant
        try:
            grant = self._services.authenticate(params.token)
        except Unauthorized:
            # Each guess takes a handshake, and those are counted.
            self._rejected = self.grant is NOTHING
            raise
        self._client.belong_to(grant)
        self.grant = grant
        self._pace.limits = self._limits.granted(self.grant.limits)
        watched = self._watching or {}
        left = [name for name in self.readers if not self.grant.may_keep(name, before, watched=name in watched)]
        for name in left:
            self._leave(name)
        return {"expires": self.grant.expires, **({"unsubscribed": left} if left else {})}

    def _ping(self, params: Empty, now: float) -> dict[str, Any]:
        return {}


_METHODS: dict[str, tuple[type[Any], Callable[[Session, Any, float], dict[str, Any]]]] = {
    "subscribe": (Subscribe, Session._subscribe),
    "unsubscribe": (Unsubscribe, Session._unsubscribe),
    "publish": (Publish, Session._publish),
    "presence": (Presence, Session._presence),
    "fetch": (BatchRequest, Session._fetch),
    "watch": (WatchRequest, Session._watch),
    "unwatch": (Unwatch, Session._unsubscribe),
    "cancel": (Cancel, Session._cancel),
    "authenticate": (Authenticate, Session._authenticate),
    "ping": (Empty, Session._ping),
}
METHODS: dict[str, type[Any]] = {name: kind for name, (kind, _) in _METHODS.items()}
"""Every method, and the type of its parameters."""


def _started(topic: Topic, start: Start) -> dict[str, Any]:
    return {
        "topic": topic.name,
        "epoch": start.position.epoch,
        "offset": start.position.offset,
        "recovered": start.recovered,
    }


def _dump(answer: Any) -> bytes:
    return b"" if answer is None else orjson.dumps(answer)
