"""What a quirk is: what an upstream does, what is asked of it, and what is right."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = [
    "NEXT",
    "Ask",
    "End",
    "Quirk",
    "Request",
    "Right",
    "Script",
    "Step",
    "Watching",
    "answer",
    "body_of",
    "broken",
    "either",
    "explained",
    "fails",
    "plain",
    "result",
    "visits",
]


class End(Enum):
    """How a connection ends, or half of it."""

    FIN = "closed"
    RST = "reset"
    HALF = "half-closed"


class Next(Enum):
    """Wait for the next request on the same connection, and go on with the script instead of answering it."""

    NEXT = "next"


NEXT = Next.NEXT
Step = bytes | float | End | Next
"""Bytes to send, seconds to wait, an end, or the wait for another request."""


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    host: str
    """The address that was dialled, or the name in ``Host`` where that is 127.0.0.1."""
    target: str
    method: str
    head: bytes
    visit: int
    """How often this target was asked for before, at this host."""
    served: int
    """How many requests this connection had before."""

    @property
    def body(self) -> bytes:
        """The body that belongs to this request and to no other."""
        return body_of(self.host, self.target).encode("latin-1", "replace")

    def header(self, name: str) -> bytes | None:
        """Return the value of a header as it was sent."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.lower().encode():
                return value.strip()
        return None


Script = Callable[[Request], Sequence[Step]]


def body_of(host: str, target: str) -> str:
    """Return the text that tells one answer from every other one."""
    return f"[{host} {target}]"


def answer(body: bytes = b"", *lines: str | bytes, status: bytes = b"200 OK", length: bool = True) -> bytes:
    """Return an answer of HTTP/1.1 with these header lines and, by default, the right length."""
    given = [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
    if length:
        given.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([b"HTTP/1.1 " + status, *given, b"", b""]) + body


def plain(*lines: str | bytes, status: bytes = b"200 OK") -> Script:
    """Answer with the request's own body under these header lines."""
    return lambda request: [answer(request.body, *lines, status=status)]


def visits(*scripts: Script) -> Script:
    """Answer the first request for a target by the first script, and so on; the last one goes on."""
    return lambda request: scripts[min(request.visit, len(scripts) - 1)](request)


@dataclass(frozen=True)
class Right:
    """One right outcome of a request; what is None is not looked at."""

    event: str = "result"
    status: int | None = 200
    at: str | None = None
    """The target whose own body has to come, where that is not the target that was asked for."""
    body: str | None = None
    """The exact body, where it is not an own one; ``has`` is a part of it."""
    has: str | None = None
    anybody: bool = False
    error: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    """Of these words the detail has to have one."""
    cache: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    final: str | None = None
    """What the final URL has to end with."""
    attempts: int | None = None
    truncated: bool = False

    def wrong(self, event: Mapping[str, Any], host: str, target: str) -> str | None:
        """Return what of an event is not right, or None."""
        if event["event"] != self.event:
            return f"is {event['event']}: {event.get('error')} {event.get('detail')} {event.get('status', '')}"
        return self._wrong_failure(event) if self.event == "failed" else self._wrong_result(event, host, target)

    def _wrong_failure(self, event: Mapping[str, Any]) -> str | None:
        if event["error"] not in self.error:
            return f"fails as {event['error']}: {event['detail']}"
        if self.says and not any(word in event["detail"].lower() for word in self.says):
            return f"says {event['detail']!r}, and nothing of {' / '.join(self.says)}"
        return None

    def _wrong_result(self, event: Mapping[str, Any], host: str, target: str) -> str | None:
        text = text_of(event)
        expected = self.expected(host, target)
        checks = {
            f"status {event['status']}": self.status in (None, event["status"]),
            f"body {text[:80]!r} for {expected!r}": expected in (None, text),
            f"body {text[:80]!r} without {self.has!r}": self.has is None or self.has in text,
            f"cache {event['cache']}": not self.cache or event["cache"] in self.cache,
            f"truncated {event['truncated']}": event["truncated"] == self.truncated,
            f"{event['attempts']} attempts": self.attempts in (None, event["attempts"]),
            f"final_url {event['final_url']}": self.final is None or event["final_url"].endswith(self.final),
            f"headers {event['headers']}": all(
                event["headers"].get(name) == value for name, value in self.headers.items()
            ),
        }
        return "; ".join(wrong for wrong, holds in checks.items() if not holds) or None

    def holds(self, status: int | None, text: str, host: str, target: str) -> bool:
        """Return whether this is what another client got; None is a failure of any kind."""
        if status is None or self.event == "failed":
            return status is None and self.event == "failed"
        expected = self.expected(host, target)
        return self.status in (None, status) and expected in (None, text) and (self.has or "") in text

    def expected(self, host: str, target: str) -> str | None:
        """Return the body that has to come, where it has to be a certain one."""
        if self.anybody or self.has is not None:
            return None
        if self.body is not None:
            return self.body
        return body_of(host, self.at or target)


def text_of(event: Mapping[str, Any]) -> str:
    """Return the body of an event as text, however it was encoded."""
    body = event["body"] or ""
    return base64.b64decode(body).decode("latin-1") if event["encoding"] == "base64" else body


Rights = tuple[Right, ...]


def result(status: int | None = 200, **more: Any) -> Rights:
    """Return that it is a result."""
    return (Right(status=status, **more),)


def fails(*errors: str, says: Iterable[str] = ()) -> Rights:
    """Return that it fails, as one of these kinds, saying one of these words."""
    return (Right(event="failed", error=errors, says=tuple(says)),)


def broken(*says: str) -> Rights:
    """Return that it breaks off, or is malformed."""
    return fails("protocol", "connect", says=says)


def explained(*says: str) -> Rights:
    """Return that it fails for a reason that is reported: "the answer is not HTTP" alone helps nobody."""
    return fails("protocol", "too_large", says=says)


def either(*several: Rights) -> Rights:
    """Return that each of these is right."""
    return tuple(right for rights in several for right in rights)


@dataclass(frozen=True)
class Ask:
    """One request for something of a quirk."""

    target: str | None = None
    """What follows the origin; None is the quirk's own path."""
    right: Rights = (Right(),)
    options: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    headers: Mapping[str, str] | None = None
    times: int = 1
    """At once, each with another query."""
    own: str | None = None
    """The target that the server sees, where that is not ``target``."""


@dataclass(frozen=True)
class Watching:
    """A watch of the quirk's own path, and all that has to be sent within the time that three polls take.

    Each is an event and, for states, its body; the first of the sequences that fits.
    """

    reported: tuple[tuple[tuple[str, str | None], ...], ...]
    select: str | None = None


@dataclass(frozen=True)
class Quirk:
    """What an upstream may do, and what is right then."""

    name: str
    kind: str
    script: Script
    others: str
    """What the standards, browsers and curl do."""
    asks: tuple[Ask, ...] = (Ask(),)
    paths: Mapping[str, Script] = field(default_factory=dict)
    """Answers at other paths; what is nowhere is answered with its own body."""
    watching: Watching | None = None
    host: str | None = None
    """A name that leads to 127.0.0.1, in place of an address of its own."""
    sent_as: str | None = None
    """That name as it stands in ``Host``."""
    tls: bool = False
    robots: bool = False
    """Only where robots.txt is heeded."""
    at_once: bool = False
    """Whether all of ``asks`` are asked at once; otherwise one after the other."""
    elsewhere: bool = False
    """Whether a client without our address policy would leave this machine."""
    by_command: bool = True
    """Whether ``sluice fetch`` and the WebSocket can be asked the same."""

    @property
    def path(self) -> str:
        """Where the script answers."""
        return f"/q/{self.name}"

    def target(self, ask: Ask) -> str:
        """Return what is asked for."""
        return self.path if ask.target is None else ask.target

    @property
    def simple(self) -> bool:
        """Whether one request with the usual options is all of it, so that any client can be asked."""
        if len(self.asks) != 1:
            return False
        one = self.asks[0]
        return (
            self.by_command
            and not (self.robots or self.tls or self.host)
            and (one.times, dict(one.options), one.method, one.headers) == (1, {}, None, None)
        )
