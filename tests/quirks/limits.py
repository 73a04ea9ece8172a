"""Options and joined requests: bodies that are cut by ours, bodies that nobody wants, answers for several at once."""

import gzip
from collections.abc import Callable

from tests.quirks.model import (
    NEXT,
    Ask,
    End,
    Quirk,
    Request,
    Right,
    Rights,
    Script,
    Step,
    answer,
    broken,
    fails,
    plain,
    result,
)

__all__ = ["QUIRKS"]

_OK = b"HTTP/1.1 200 OK\r\n"
_CUT = "What is cut by the caller's own bound is whole as far as it goes; the connection is not used again."
_UNREAD = "Who wants no body does not learn that it is bad, and the connection is not used again."
_JOINED = "Callers that joined a request get its answer."


def _long(request: Request) -> bytes:
    return request.body + b"x" * 5000


def _chunked(data: bytes, *lines: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"Transfer-Encoding: chunked", *lines))
    return _OK + head + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def _cut(name: str, script: Script, *, most: int = 20, rights: Rights = ()) -> Quirk:
    right = rights or (Right(has="[127.", truncated=True),)
    return Quirk(f"cut-{name}", "limits", script, _CUT, (Ask(right=right, options={"max_bytes": most}),))


def _unread(name: str, script: Script) -> Quirk:
    return Quirk(
        f"unread-{name}", "limits", script, _UNREAD, (Ask(right=result(body=""), options={"body": "none"}),)
    )


def _joined(name: str, *late: Callable[[Request], Step], right: Rights) -> Quirk:
    def script(request: Request) -> list[Step]:
        return [0.2, *(make(request) for make in late)]

    asks = tuple(Ask(right=right) for _ in range(3))
    return Quirk(f"joined-{name}", "limits", script, _JOINED, asks, at_once=True, by_command=False)


QUIRKS = [
    _cut("by-length", lambda r: [answer(_long(r))]),
    _cut("of-chunks", lambda r: [_chunked(_long(r))]),
    _cut("until-the-end", lambda r: [_OK + b"\r\n" + _long(r), End.FIN]),
    _cut("of-gzip", lambda r: [answer(gzip.compress(_long(r)), "Content-Encoding: gzip")]),
    _cut("of-gzip-in-chunks", lambda r: [_chunked(gzip.compress(_long(r)), b"Content-Encoding: gzip")]),
    _cut("of-what-stalls-later", lambda r: [_OK + b"Content-Length: 9000\r\n\r\n" + _long(r), NEXT]),
    _cut("of-what-is-reset-later", lambda r: [_OK + b"Content-Length: 9000\r\n\r\n" + _long(r), End.RST]),
    _cut("with-an-answer-behind-it", lambda r: [answer(_long(r)) + answer(b"WRONG")]),
    _cut("at-its-very-end", lambda r: [answer(r.body[:20].ljust(20, b"x"))], rights=(Right(has="[127."),)),
    _cut("one-byte-before-its-end", lambda r: [answer(r.body[:21].ljust(21, b"x"))]),
    _unread("gzip-that-is-plain", plain("Content-Encoding: gzip")),
    _unread("half-a-body", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", End.FIN]),
    _unread("body-that-stalls", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", NEXT]),
    _unread("answer-behind-it", lambda r: [answer(r.body) + answer(b"WRONG")]),
    _unread("broken-chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", End.FIN]),
    _joined("half", lambda r: _OK + b"Content-Length: 100\r\n\r\nhalf", lambda r: End.FIN, right=broken()),
    _joined("gzip-cut", lambda r: answer(gzip.compress(_long(r))[:30], "Content-Encoding: gzip"), right=broken("gzip")),
    _joined("8-bit", lambda r: answer(r.body, b"X-Name: r\xe9n"), right=result()),
    _joined("reset", lambda r: End.RST, right=fails("connect", "protocol")),
    _joined("late-answer", lambda r: answer(r.body), lambda r: 0.1, lambda r: answer(b"WRONG"), right=result()),
    _joined("redirect", lambda r: answer(b"", b"Location: /caf\xe9", status=b"302 Found"), right=result(at="/caf%E9")),
    Quirk("tls-late-answer", "A2", lambda r: [answer(r.body), 0.1, answer(b"WRONG")], "The same under TLS.", tls=True),
    Quirk("tls-late-answer-at-once", "A2", lambda r: [answer(r.body), answer(b"WRONG")], "The same under TLS.", tls=True),
    Quirk("tls-end-after-a-while", "A2", lambda r: [answer(r.body), 0.1, End.FIN], "The same under TLS.", tls=True),
    Quirk(
        "kept-ones-that-end-under-head", "A21", lambda r: [End.FIN] if r.served else [0.1, answer(b"")],
        "One more try on a fresh connection, at once (RFC 9112, 9.3.1).",
        tuple(Ask(right=result(body="", attempts=1), method="HEAD", times=times) for times in (10, 10)), by_command=False,
    ),
    Quirk(
        "kept-ones-that-end-under-tls", "A21", lambda r: [End.FIN] if r.served else [0.1, answer(r.body)],
        "One more try on a fresh connection, at once (RFC 9112, 9.3.1).",
        tuple(Ask(right=result(attempts=1), times=times) for times in (10, 10)), by_command=False, tls=True,
    ),
]  # fmt: skip
