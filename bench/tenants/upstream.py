"""Upstreams of both clients: ``python -m bench.tenants.upstream PORT HOST...``; prints a line when it listens.

What is done to a request is the first part of its path. Answers say which URL they belong to, so that one that
reaches the wrong client is recognised.
"""

import asyncio
import gzip
import sys
from collections.abc import Callable
from functools import cache
from typing import cast

import uvloop

_SOON = 0.03
"""Seconds in which others can join a flight."""
_LARGE = 62 << 20


class _Connection(asyncio.Protocol):
    """Answers one request after another."""

    serial = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio's
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head, self._rest = self._rest[:end].decode("latin-1"), self._rest[end + 4 :]
            line, *fields = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            target = line.split(" ")[1]
            kind, _, rest = target[1:].partition("/")
            _ANSWERS[kind](self, rest, headers)

    def next_serial(self) -> int:
        _Connection.serial += 1
        return _Connection.serial

    def send(self, body: bytes, *fields: str, status: str = "200 OK", length: int | None = None) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields)
        self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def raw(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def later(self, seconds: float, step: Callable[..., object], *arguments: object) -> None:
        asyncio.get_running_loop().call_later(seconds, step, *arguments)


Headers = dict[str, str]


def _echo(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(f"echo {rest} for {headers.get('authorization', 'nobody')}".encode(), "Cache-Control: max-age=60")


def _shared(one: _Connection, rest: str, headers: Headers) -> None:
    """Show what came with the request, as many error pages and canonical links do."""
    shown = " ".join(value for name, value in headers.items() if "poison" in value or len(value) > 3000)
    if len(shown) > 3000:
        one.send(b"request header too large", "Cache-Control: max-age=2", status="431 Too Large")
    else:
        one.send(f"shared {rest} {shown}".strip().encode(), "Cache-Control: max-age=2")


def _private(one: _Connection, rest: str, headers: Headers) -> None:
    serial = f"serial-{one.next_serial()}"
    one.later(
        _SOON, one.send, serial.encode(), f"Set-Cookie: session={serial}", "Cache-Control: private, no-store"
    )  # fmt: skip


def _watched(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(f"<html><body><p id=x>{one.next_serial()}</p></body></html>".encode(), "Content-Type: text/html")


def _surplus(one: _Connection, rest: str, headers: Headers) -> None:
    """Answer, and once more when nobody has asked."""
    one.send(b"ok")
    wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=60\r\n\r\nWRONG"
    one.later({"s": 0.02, "n": 0.0, "l": 0.5}[rest[0]], one.raw, wrong)


def _longer(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(b"okHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG", length=2)


def _hang(one: _Connection, rest: str, headers: Headers) -> None:
    """Never answer."""


def _reset(one: _Connection, rest: str, headers: Headers) -> None:
    one.transport.abort()


def _limit(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(b"slower", "Retry-After: 120", status="429 Too Many Requests")


def _busy(one: _Connection, rest: str, headers: Headers) -> None:
    more = ("Retry-After: 120",) if rest[0] == "a" else ()
    one.send(b"busy", *more, status="503 Service Unavailable")


def _bytes(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(_body(int(rest.partition("/")[0])), "Content-Type: text/plain")


def _kept(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(_body(int(rest.partition("/")[0])), "Content-Type: text/plain", "Cache-Control: max-age=600")


def _paragraphs(one: _Connection, rest: str, headers: Headers) -> None:
    one.send(_page() + b"<p>%d</p>" % one.next_serial(), "Content-Type: text/html")


def _stall(one: _Connection, rest: str, headers: Headers) -> None:
    """Send a part of an answer, and nothing after it."""
    kind = rest.partition("/")[0]
    ok, chunked = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n"
    part = {
        "nothing": b"",
        "status": ok[:12],
        "head": ok + b"Content-Type: text/plain\r\nX-Half: y",
        "body": ok + b"Content-Length: %d\r\n\r\n" % _LARGE + _body(1 << 20),
        "size": ok + chunked + b"\r\n10000",
        "chunk": ok + chunked + b"\r\n100000\r\n" + _body(1 << 16),
        "gzip": ok + chunked + b"Content-Encoding: gzip\r\n\r\n8000\r\n" + _packed()[:0x8000] + b"\r\n",
        "drip": ok + b"Content-Length: 100\r\n\r\n",
    }[kind]
    one.raw(part)
    if kind == "drip":
        _drip(one)


def _drip(one: _Connection) -> None:
    if not one.transport.is_closing():
        one.raw(b"x")
        one.later(5.0, _drip, one)


@cache
def _body(size: int) -> bytes:
    return (b"sluice " * (size // 7 + 1))[:size]


@cache
def _packed() -> bytes:
    return gzip.compress(b"".join(b"%d " % (number * 7919 % 1_000_003) for number in range(100_000)))


@cache
def _page() -> bytes:
    return b"<html><body>" + b"<p>one paragraph</p>" * 45_000


_ANSWERS: dict[str, Callable[[_Connection, str, Headers], None]] = {
    "echo": _echo, "shared": _shared, "private": _private, "watched": _watched, "surplus": _surplus,
    "longer": _longer, "hang": _hang, "reset": _reset, "limit": _limit, "busy": _busy, "bytes": _bytes,
    "kept": _kept, "paragraphs": _paragraphs, "stall": _stall,
}  # fmt: skip


async def _main(port: int, hosts: list[str]) -> None:
    await asyncio.get_running_loop().create_server(_Connection, hosts, port, backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2:]))
