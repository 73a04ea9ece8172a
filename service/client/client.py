"""The client: what a program asks for."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, Unpack

from .backoff import Backoff
from .credentials import Credentials, Token, expires_of
from .encoding import copied, encode, expected
from .errors import Refused
from .events import WatchEvent, read_event
from .job import Job, JobRequest
from .link import Link
from .stream import Method, Stream, Value
from .subscription import Batch, Subscription
from .transport import Transport
from .values import OnLag, Position, Since, State, parse_since

__all__ = ["Client"]

_KEY_LIFE: Final = 110.0
"""Seconds after its first sending for which a publish is repeated: the service knows its key for 120."""
_KEEP: Final = 86_400.0
"""Seconds for which a job is kept after its end, where it does not say otherwise: so long its key is known."""
_MARGIN: Final = 10.0
"""Seconds that a repeated request has to arrive in before its key may be forgotten."""
_FRAMING: Final = 256
"""Bytes of a request beside its parameters, and some."""


class Client:
    """A client of one service; use it with ``async with``.

    ``url`` is the service's address (``https://host/path``; a query is kept, for proxies that look at it),
    ``token`` its credentials, or a function that returns them. A connection that ends is made again, after what
    docs/protocol.md says of its close code; streams go on where they were, and calls that had no answer are made
    again. Nothing here waits for a connection with a time limit of its own: ``asyncio.timeout`` around a call or a
    step of an iteration is how to give up. Where coming back does not help, all that waits raises Disconnected.

    ``message_size`` is what the service takes in one message, in bytes (``--message-size``). ``on_state`` is called
    with a State whenever that of the connection changes.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        backoff: Backoff | None = None,
        message_size: int = 64 << 10,
        on_state: Callable[[State], object] | None = None,
    ) -> None:
        self._credentials = Credentials(token)
        self._link = Link(Transport(url), self._credentials, backoff or Backoff(), on_state)
        self._message_size = message_size

    def __repr__(self) -> str:
        return f"<Client {self._link!r}>"

    async def __aenter__(self) -> "Client":
        self._link.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every stream and call with ClientClosed, and the connection; calling it again is harmless."""
        await self._link.close()

    def subscribe(self, topic: str, *, since: Since = "newest", on_lag: OnLag | None = None) -> Subscription[Value]:
        """Read a topic: an iterable of Message, Gap and Restart that ends only when it is left.

        Raises, while iterating, Refused (``forbidden``, ``limit``, …). ``on_lag`` says what the service does by a
        consumer that is so slow that messages are dropped before it takes them; with ``disconnect`` the connection
        is cut, made again, and the stream goes on with a Gap.
        """
        params = {"topic": topic, **({} if on_lag is None else {"on_lag": on_lag})}
        return Subscription(self._link, self._stream("subscribe", params, since), lambda value: value)

    def watch(
        self,
        url: str,
        *,
        every: float,
        select: str | None = None,
        steps: list[dict[str, Any]] | None = None,
        on_lag: OnLag | None = None,
        since: Since | None = None,
    ) -> Subscription[WatchEvent]:
        """Watch a URL: an iterable of its events, the last known state first.

        ``every`` is in seconds, ``select`` a JSON Pointer or a CSS selector, ``steps`` a list as in docs/steps.md.
        Gap and Restart come as in any stream.
        """
        given = {"url": url, "every": every, "select": select, "steps": steps, "on_lag": on_lag}
        params = {name: value for name, value in given.items() if value is not None}
        return Subscription(self._link, self._stream("watch", params, since), read_event)

    def fetch(self, urls: Iterable[str | Mapping[str, Any]], **options: Any) -> Batch:
        """Fetch URLs (or requests ``{"url", "method"?, "headers"?, "body"?}``) as one batch.

        An iterable of its events as they come: Result or Failed for each, then Done. The options are
        docs/protocol.md's. A batch that is left early is cancelled. One that does not fit a message goes by POST,
        and then runs to its end when this program is gone. Raises, while iterating, Refused: ``not_found`` where
        the service began anew in the middle of the batch.
        """
        if isinstance(urls, str):
            raise TypeError("urls: a list is expected, not a text")
        items = [dict(item) if isinstance(item, Mapping) else item for item in urls]
        params: dict[str, Any] = {"urls": items}
        if not all(isinstance(item, str) for item in items):
            params = {"requests": [{"url": item} if isinstance(item, str) else item for item in items]}
        if options:
            params["options"] = options
        stream = _stream("fetch", params, None)
        body = b"" if stream.over else encode(stream.params)
        if self._fits(body):
            return Batch(self._link, stream, read_event)
        return Batch(self._link, Stream("fetch", {}, "oldest"), read_event, body)

    async def publish(self, topic: str, data: Any, *, key: str | None = None, once: bool = True) -> Position:
        """Append a JSON value to a topic and return its position.

        Where the answer is lost it is published again with the same ``key`` (one is made up where none is given),
        so that it happens once. The service remembers a bounded number of keys; ``once=False`` does without one,
        and raises Unanswered where the answer is lost. Raises Refused (``forbidden``, ``invalid_params`` for what
        is not JSON, …).
        """
        params = {"topic": _text("topic", topic), "data": data}
        if once:
            params["key"] = key or secrets.token_urlsafe(12)
        answer = await self._call("publish", params, _KEY_LIFE if once else 0.0)
        return Position(expected(answer, "epoch", str), expected(answer, "offset", int))

    async def job(self, **request: Unpack[JobRequest]) -> Job:
        """Have work done, now or later: ``call``, ``publish``, ``fetch`` or ``run``, as docs/jobs.md has them.

        Returns when the service keeps it. What had no answer is asked again with the same ``key`` (one is made up
        where none is given), so that it is one job; where that key may be forgotten by then, since ``keep`` is
        short, Unanswered is raised instead. Raises Refused.
        """
        params: dict[str, Any] = {name: value for name, value in request.items() if value is not None}
        params.setdefault("key", secrets.token_urlsafe(12))
        keep = params.get("keep")
        known = keep if isinstance(keep, int | float) else _KEEP
        answer = await self._call("job", params, max(0.0, known - _MARGIN))
        state: Any = expected(answer, "state", str)
        return Job(self._link, expected(answer, "job", str), state=state, due=expected(answer, "due", str))

    def follow_job(self, job: str) -> Job:
        """Return a job by its id, to iterate over its events, wait for its result, or cancel it."""
        return Job(self._link, _text("job", job))

    async def presence(self, topic: str) -> int:
        """Return how many readers a topic has."""
        return expected(await self._call("presence", {"topic": _text("topic", topic)}), "readers", int)

    async def cancel(self, batch: str) -> int:
        """End a batch by its id and return how many URLs had not finished; each of them gets its Failed."""
        return await self._link.cancel(_text("batch", batch))

    async def authenticate(self, token: str) -> float | None:
        """Replace the credentials, now and for later connections; return when they expire, or None for never.

        Streams that they do not cover raise Refused (``forbidden``). Where they are refused, the ones before stay.
        """
        body = {"token": _text("token", token)}
        self._credentials.propose(token)
        try:
            answer = await self._call("authenticate", body)
        except Refused:
            self._credentials.withdraw(token)
            raise
        expires = expires_of(answer)
        self._credentials.confirm(token, expires)
        self._link.authenticated(answer)
        return expires

    async def _call(self, method: str, params: dict[str, Any], again_for: float = inf) -> dict[str, Any]:
        body = encode(params)
        if not self._fits(body):
            raise self._too_large(method)
        return await self._link.call(method, body, again_for)

    def _stream(self, method: Method, params: dict[str, Any], since: Since | None) -> Stream:
        stream = _stream(method, params, since)
        if not self._fits(encode(stream.params)):
            stream.end(self._too_large(method))
        return stream

    def _fits(self, body: bytes) -> bool:
        return len(body) + _FRAMING <= self._message_size

    def _too_large(self, method: str) -> Refused:
        return Refused("too_large", f"{method}: a message has at most {self._message_size} bytes")


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise Refused("invalid_params", f"{name}: a text is expected, not {type(value).__name__}")
    return value


def _stream(method: Method, params: dict[str, Any], since: Since | None) -> Stream:
    """Return a stream; what cannot be asked for is what it ends with."""
    try:
        for name in ("topic", "url"):
            _text(name, params.get(name, ""))
        return Stream(method, copied(params), parse_since(since))
    except ValueError as error:
        refusal = Refused("invalid_params", f"since: {error}")
    except Refused as error:
        refusal = error
    return Stream(method, {}, None, refusal)
