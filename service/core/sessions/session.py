"""One client's protocol state: requests in, answers out. It knows no socket.

Theory of operation. The shell hands every text message to :meth:`Session.receive` and sends the answer
before it does anything else, so that an answer precedes every message that its request causes: those
come by visits, and the hub makes visits in a later turn of the loop. When the connection has ended, for
any reason, the shell calls :meth:`Session.close`.

Where the store of topics has not answered yet there is nothing to send: the answer goes out as soon as the
store has answered (``Peer.answer``), before the visits that follow from that. So answers may overtake each
other, as JSON-RPC allows. An array has one answer for all of its requests, which waits for the last of them;
until then the client gets no messages (``Peer.hold``), as the first of them may have caused some. The same holds
for an array that takes long: the shell has the rest of it carried out later (``Reply.rest``). A store that
does not answer ends no connection: the request alone is answered with an error (``LateAnswers.expire``).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import orjson

from service.core.access.grants import NOTHING, Grant
from service.core.access.rate_limits import ClientRateLimiter, SessionLimits
from service.core.errors import (
    Draining,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    TooLarge,
    Unauthorized,
)
from service.core.fetching.batch import BatchRequest
from service.core.jobs.request import JobRequest
from service.core.parsing import check_exact, convert, id_in, parse_requests
from service.core.pending import Pending
from service.core.ports import Backend, Peer, StartedBatch
from service.core.sessions import messages
from service.core.sessions.closing import FLOODING, NOT_TEXT, UNAUTHORIZED, Reply
from service.core.sessions.late_answers import LateAnswers
from service.core.sessions.messages import (
    Answer,
    Request,
    dump,
    error_answer,
    id_of,
    is_utf8,
    parse_since,
    published,
    read_request,
    result_answer,
    subscribed,
)
from service.core.sessions.request_array import RequestArray
from service.core.sessions.subscriptions import Subscriptions
from service.core.topics.hub import Hub
from service.core.topics.names import check_name, check_writable
from service.core.topics.topic import OnLag, Position, Since, Start, Topic, default_on_lag

__all__ = ["METHODS", "Reply", "Session", "SessionLimits"]


_Result = dict[str, Any]
_Reply = TypeVar("_Reply")


class Session:
    """The state of one connection: its subscriptions, and how fast it goes."""

    __slots__ = ("_bad", "_client", "_hub", "_limits", "_rate", "_rejected", "_services",
                 "grant", "late", "readers", "subscriptions")  # fmt: skip

    def __init__(self, hub: Hub, services: Backend, limits: SessionLimits, client: Peer, grant: Grant) -> None:
        self.grant = grant
        self.subscriptions = Subscriptions(hub)
        self.readers = self.subscriptions.readers
        self.late = LateAnswers(client, services.refusals)
        """What is still to be answered."""
        self._rejected = False
        self._hub = hub
        self._services = services
        self._limits = limits
        self._client = client
        self._bad = False
        self._rate = ClientRateLimiter(limits.granted(grant.limits))

    def __repr__(self) -> str:
        return f"<Session {len(self.readers)} topics>"

    def receive(self, text: bytes, now: float) -> Reply:
        """Carry out one text message: a request, or an array of them."""
        self._rate.message(len(text), now)
        try:
            value, exact = parse_requests(text)
        except ParseError as error:
            return self._not_json(text, error)
        except TooLarge as error:
            self._rate.count(now)
            return self._answer(dump(error_answer(id_in(text), error)))
        self._bad = False
        if isinstance(value, list):
            return self._array(value, now, exact=exact)
        return self._answer(dump(self._one(value, now, self.late.send, exact=exact)))

    def _array(self, values: list[Any], now: float, *, exact: bool) -> Reply:
        if not values or len(values) > self._limits.requests_in_array:
            self._rate.count(now)
            why = f"an array has 1 to {self._limits.requests_in_array} requests"
            return self._answer(dump(error_answer(None, InvalidRequest(why))))
        carry_out = partial(self._one, late=self.late.make, exact=exact)
        return RequestArray(values, carry_out, self._answer, self.late, self._hub.clock).go_on(now)

    def control(self, size: int, now: float) -> bool:
        """Record a ping or pong of ``size`` bytes; return whether it is answered."""
        return self._rate.control(size, now)

    @property
    def flooding(self) -> bool:
        """Whether the client goes on too fast after it was asked to wait."""
        return self._rate.flooding

    def close(self) -> None:
        """Leave every topic; the connection has ended, or is about to."""
        self.subscriptions.close()

    def end(self) -> None:
        """Leave every topic, and the client too: nothing is received any more.

        The two refer to each other: 7 KiB would else wait for the collector of cycles, which seldom looks at them.
        """
        self.close()
        self.late.end()
        del self._client

    def _not_json(self, text: bytes, error: ParseError) -> Reply:
        closing = NOT_TEXT if self._bad or not is_utf8(text) else None
        self._bad = True
        return Reply(dump(error_answer(None, error)), closing)

    def _answer(self, text: bytes) -> Reply:
        return Reply(text, FLOODING if self._rate.flooding else UNAUTHORIZED if self._rejected else None)

    def _one(
        self, value: Any, now: float, late: Callable[[Request, Pending[Any], float], _Reply], *, exact: bool
    ) -> Answer | _Reply:
        """Carry out one request, checked first unless it is ``exact``; an answer that nobody wants is empty.

        Where the result is not known yet, ``late`` says what is returned.
        """
        request = None
        try:
            try:
                request = read_request(value)
            finally:
                self._rate.request(now)  # even if it is not a request
            if not exact:
                check_exact(value)
            result = self._dispatch(request, now)
        except Exception as error:
            return self.late.reply(id_of(value), request is None or request.answered, error)
        if isinstance(result, Pending):
            return late(request, result, now)
        return result_answer(request.id, result) if request.answered else {}

    def _dispatch(self, request: Request, now: float) -> _Result | Pending[Any]:
        method = _METHODS.get(request.method)
        if method is None:
            raise MethodNotFound(f"method {request.method[:64]!r} does not exist")
        if self.grant is NOTHING and request.method != "authenticate":
            raise Unauthorized("no credentials yet: call authenticate first")
        kind, handle = method
        return handle(self, convert(request.params, kind), now)

    def _subscribe(self, params: messages.Subscribe, now: float) -> _Result | Pending[_Result]:
        check_name(params.topic)
        self.grant.check_read(params.topic)
        since = parse_since(params.since)
        self._may_add(params.topic)
        topic = self._hub.readable(params.topic, self._client.owner)
        if isinstance(topic, Pending):
            return topic.then(lambda topic: self._start(topic, since, params.on_lag))
        return subscribed(topic, self._join(topic, since, params.on_lag))

    def _start(self, topic: Topic, since: Since, on_lag: OnLag | None) -> _Result:
        """Subscribe to a topic that was read from the store; much may have happened meanwhile."""
        self.grant.check_read(topic.name)
        self._may_add(topic.name)
        return subscribed(topic, self._join(topic, since, on_lag))

    def _may_add(self, name: str | None) -> None:
        if self._services.draining:
            raise Draining("the service is shutting down")
        self.subscriptions.check(name, self._rate.limits.topics)

    def _join(self, topic: Topic, since: Since, on_lag: OnLag | None) -> Start:
        reader = self._client.new_reader(topic, on_lag or default_on_lag(topic.name))
        return self.subscriptions.join(reader, since)

    def _unsubscribe(self, params: messages.Unsubscribe | messages.Unwatch, now: float) -> _Result:
        self.subscriptions.leave(params.topic)
        return {}

    def _watch(self, params: messages.WatchRequest, now: float) -> _Result:
        self.grant.watch.check_any()
        self._may_add(None)
        since = parse_since(params.since) if params.since is not None else None
        watching = self._services.watch(
            params.url, params.every, params.select, self.grant.watch, self._client.owner, params.steps
        )
        self.subscriptions.watch(watching)
        return subscribed(watching.topic, self._join(watching.topic, since or watching.since, params.on_lag))

    def _publish(self, params: messages.Publish, now: float) -> _Result | Pending[Position]:
        check_writable(params.topic)
        self.grant.publish.check(params.topic)
        try:
            data = orjson.dumps(params.data)
        except orjson.JSONEncodeError as error:
            # Deeper than the encoder follows: it was read, but it cannot be written.
            raise TooLarge(f"data: {error}") from None
        position = self._hub.publish(params.topic, data, now, key=params.key, owner=self._client.owner)
        return position if isinstance(position, Pending) else published(position)

    def _presence(self, params: messages.Presence, now: float) -> _Result:
        check_name(params.topic)
        self.grant.check_read(params.topic)
        topic = self._hub.topics.get(params.topic)
        return {"readers": len(topic.readers) if topic else 0}

    def _fetch(self, params: BatchRequest, now: float) -> _Result | Pending[_Result]:
        self.grant.fetch.check_any()
        self._may_add(None)
        batch = self._services.fetch(params, self._client.owner, self.grant)
        if batch.accepted is None:
            return self._started(batch)
        return batch.accepted.then(lambda _: self._started(batch))

    def _started(self, batch: StartedBatch) -> _Result:
        """Read a batch that has begun; who has gone meanwhile may come back for it."""
        if not self.subscriptions.closed:
            self._join(batch.topic, "oldest", None)
        return {"batch": batch.id, "topic": batch.topic.name, "epoch": batch.topic.epoch, "total": batch.total}

    def _cancel(self, params: messages.Cancel, now: float) -> _Result | Pending[_Result]:
        if (params.batch is None) == (params.job is None):
            raise InvalidParams("batch, job: give one of them")
        if params.job is not None:
            return self._services.cancel_job(params.job)
        left = self._services.cancel(params.batch or "")
        return left.then(messages.cancelled) if isinstance(left, Pending) else messages.cancelled(left)

    def _job(self, params: JobRequest, now: float) -> Pending[_Result]:
        return self._services.job(params, self._client.owner, self.grant)

    def _authenticate(self, params: messages.Authenticate, now: float) -> _Result:
        before = self.grant
        try:
            grant = self._services.authenticate(params.token)
        except Unauthorized:
            # Each guess takes a handshake, and those are counted.
            self._rejected = self.grant is NOTHING
            raise
        self._client.belong_to(grant)
        self.grant = grant
        self._rate.limits = self._limits.granted(self.grant.limits)
        left = self.subscriptions.leave_forbidden(self.grant, before)
        return {"expires": self.grant.expires, **({"unsubscribed": left} if left else {})}

    def _ping(self, params: messages.Empty, now: float) -> _Result:
        return {}


_METHODS: dict[str, tuple[type[Any], Callable[[Session, Any, float], _Result | Pending[Any]]]] = {
    "subscribe": (messages.Subscribe, Session._subscribe),
    "unsubscribe": (messages.Unsubscribe, Session._unsubscribe),
    "publish": (messages.Publish, Session._publish),
    "presence": (messages.Presence, Session._presence),
    "fetch": (BatchRequest, Session._fetch),
    "watch": (messages.WatchRequest, Session._watch),
    "unwatch": (messages.Unwatch, Session._unsubscribe),
    "job": (JobRequest, Session._job),
    "cancel": (messages.Cancel, Session._cancel),
    "authenticate": (messages.Authenticate, Session._authenticate),
    "ping": (messages.Empty, Session._ping),
}
METHODS: dict[str, type[Any]] = {name: kind for name, (kind, _) in _METHODS.items()}
"""Every method, and the type of its parameters."""
