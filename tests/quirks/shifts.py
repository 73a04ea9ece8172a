"""Connections: A2 and D1 (bytes that nobody asked for), A21 (kept ones that end), D11 (names of one origin).

After each of them other URLs of the same origin have to have their own bodies: that is looked at for every quirk.
"""

import gzip

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
    either,
    explained,
    fails,
    result,
)

__all__ = ["QUIRKS"]

OWN: Rights = (Right(),)
_UNASKED = "Bytes that nobody asked for end a kept connection (RFC 9112, 9.2 and 9.3)."
_WRONG = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG"


def _late(*late: Step, first: Script = lambda r: [answer(r.body)]) -> Script:
    return lambda request: [*first(request), *late]


def _q(
    name: str,
    script: Script,
    others: str = _UNASKED,
    right: Rights = OWN,
    method: str | None = None,
    kind: str = "A2",
) -> Quirk:
    return Quirk(name, kind, script, others, (Ask(right=right, method=method),))


def _chunks(request: Request) -> list[Step]:
    return [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(request.body), request.body)
    ]


_SHIFTS = [
    _q("late-answer", _late(0.1, _WRONG)),
    _q("late-answer-at-once", _late(_WRONG)),
    _q("late-answer-in-the-same-piece", lambda r: [answer(r.body) + _WRONG]),
    _q("late-answer-after-10-ms", _late(0.01, _WRONG)),
    _q("late-answer-after-half-a-second", _late(0.5, _WRONG)),
    _q("late-answer-and-end", _late(0.1, _WRONG, End.FIN)),
    _q("three-late-answers", _late(0.1, _WRONG * 3)),
    _q("late-answer-in-pieces", _late(0.05, _WRONG[:9], 0.05, _WRONG[9:30], 0.05, _WRONG[30:])),
    _q("late-answer-that-is-cacheable", _late(0.1, answer(b"WRONG", "Cache-Control: max-age=600"))),
    _q("late-half-a-status", _late(0.1, b"HTTP/1.1 20")),
    _q("late-head-without-a-body", _late(0.1, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")),
    _q("late-half-a-head", _late(0.1, b"HTTP/1.1 200 OK\r\nX: ")),
    _q("late-garbage", _late(0.1, b"\0\1\2 garbage")),
    _q("late-line", _late(0.1, b"\r\n"), "Passed over, or the end of the connection (hyper #753)."),
    _q("late-lines", _late(0.1, b"\r\n" * 100)),
    _q("late-100", _late(0.1, b"HTTP/1.1 100 Continue\r\n\r\n")),
    _q("late-103", _late(0.1, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")),
    _q("late-204", _late(0.1, b"HTTP/1.1 204 No Content\r\n\r\n")),
    _q("late-304", _late(0.1, b"HTTP/1.1 304 Not Modified\r\n\r\n")),
    _q("late-408", _late(0.1, answer(b"late", status=b"408 Request Timeout")), "Servers that give up an idle connection say so; it answers nothing."),
    _q("late-408-and-end", _late(0.1, answer(b"late", "Connection: close", status=b"408 Request Timeout"), End.FIN), "As above."),
    _q("late-500", _late(0.1, answer(b"late", status=b"500 Oops"))),
    _q("late-redirect", _late(0.1, answer(b"", "Location: /elsewhere", status=b"302 Found"))),
    _q("late-chunk", _late(0.1, b"5\r\nWRONG\r\n0\r\n\r\n", first=_chunks)),
    _q("late-answer-after-chunks", _late(0.1, _WRONG, first=_chunks)),
    _q("late-answer-after-a-trailer", _late(0.1, _WRONG, first=lambda r: [b"".join(s for s in _chunks(r) if isinstance(s, bytes))[:-2] + b"X-T: 1\r\n\r\n"])),
    _q("late-answer-after-gzip", _late(0.1, _WRONG, first=lambda r: [answer(gzip.compress(r.body), "Content-Encoding: gzip")])),
    _q("late-body-of-a-204", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 0.1, b"WRONG"], right=result(204, body="")),
    _q("late-answer-after-a-204", lambda r: [b"HTTP/1.1 204 No Content\r\n\r\n", 0.1, _WRONG], right=result(204, body="")),
    _q("answer-as-the-body-of-a-204", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(_WRONG) + _WRONG], right=result(204, body="")),
    _q("answer-as-the-chunks-of-a-204", lambda r: [b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + _WRONG], right=result(204, body="")),
    _q("late-body-of-a-304", lambda r: [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0.1, b"WRONG"], right=result(304, body="")),
    _q("answer-as-the-body-of-a-304", lambda r: [b"HTTP/1.1 304 Not Modified\r\n\r\n" + _WRONG], right=result(304, body="")),
    _q("answer-as-the-body-of-a-205", lambda r: [b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n" + _WRONG], right=result(205, body="")),
    _q("late-body-of-a-head", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0.1, b"WRONG"], right=result(body=""), method="HEAD"),
    _q("answer-as-the-body-of-a-head", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_WRONG) + _WRONG], right=result(body=""), method="HEAD"),
    _q("redirect-with-a-late-body", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 5\r\n\r\n", 0.1, b"WRONG"], "Its body is read to its end, or the connection ends.", result(at="/there")),
    _q("redirect-with-an-answer-as-its-body", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: %d\r\n\r\n" % len(_WRONG) + _WRONG], "Its body answers nothing.", result(at="/there")),
    _q("redirect-with-an-answer-behind-it", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n" + _WRONG], right=result(at="/there")),
    _q("redirect-with-an-endless-body", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n" + b"x" * 9000, NEXT], "Its body is not needed.", result(at="/there")),
    _q("redirect-with-a-cut-body", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 50\r\n\r\nx", End.FIN], "Its body is not needed.", result(at="/there")),
    _q("redirect-with-broken-chunks", lambda r: [b"HTTP/1.1 302 Found\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", End.FIN], "Its body is not needed.",
       either(result(at="/there"), explained("chunk"))),
    _q("error-with-an-answer-behind-it", lambda r: [answer(r.body, status=b"404 Not Found") + _WRONG], right=result(404)),
    _q("close-and-an-answer-behind-it", lambda r: [answer(r.body, "Connection: close") + _WRONG], "Nothing counts after close (RFC 9112, 9.6)."),
    _q("http-1.0-and-an-answer-behind-it", lambda r: [answer(r.body).replace(b"HTTP/1.1", b"HTTP/1.0") + _WRONG], "HTTP/1.0 is not kept unless it says so."),
    _q("http-1.0-kept-and-an-answer-behind-it", lambda r: [answer(r.body, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), 0.1, _WRONG]),
    _q("interim-in-a-long-row-behind-it", _late(0.05, b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
    _q("length-too-short", lambda r: [answer(r.body) + b"X" * 3000], "The rest is nobody's (curl passes over it and ends the connection)."),
    _q("length-too-short-in-pieces", lambda r: [answer(r.body), 0.05, b"X" * 30, 0.05, b"Y" * 30]),
    _q("end-after-a-while", _late(0.1, End.FIN), "A kept connection may end at any time (RFC 9112, 9.5)."),
    _q("reset-after-a-while", _late(0.1, End.RST), "A kept connection may end at any time."),
    _q("half-close-after-a-while", _late(0.1, End.HALF), "A kept connection may end at any time."),
]  # fmt: skip


def _on_reuse(*steps: Step, first: Script = lambda r: [0.1, answer(r.body)]) -> Script:
    """Answer the first request of a connection, and do that to the next."""
    return lambda request: [*steps] if request.served else first(request)


def _ending(
    name: str,
    *steps: Step,
    right: Rights | None = None,
    others: str = "One more try on a fresh connection, at once (RFC 9112, 9.3.1; curl does).",
) -> Quirk:
    """Twenty at once, so that there are twenty kept connections; then twenty more, and after a pause again."""
    right = result(attempts=1) if right is None else right
    return Quirk(
        name,
        "A21",
        _on_reuse(*steps),
        others,
        tuple(Ask(right=right, times=times) for times in (20, 20, 5)),
        by_command=False,
    )


_ENDINGS = [
    _ending("kept-ones-that-end", End.FIN),
    _ending("kept-ones-that-are-reset", End.RST),
    _ending("kept-ones-that-half-close", End.HALF),
    _ending("kept-ones-that-end-after-a-while", 0.05, End.FIN),
    _ending("kept-ones-that-answer-408", answer(b"late", "Connection: close", status=b"408 Request Timeout"), End.FIN,
            right=either(result(attempts=1), result(408, body="late")), others="The answer to that request, as far as anyone can see; Chromium tries again."),
    _ending("kept-ones-that-end-in-the-head", b"HTTP/1.1 200 OK\r\nX", End.FIN, right=either(result(attempts=1), broken(), fails("unavailable")), others="An answer had begun: no obligation to try again."),
]  # fmt: skip

_NAMES = [
    Quirk("localhost-and-its-dot", "D11", lambda r: [answer(r.body)], "A trailing dot names the same host; Host is sent as given or without it.",
          (Ask(right=result(anybody=True)), Ask(right=result(anybody=True))), host="localhost.", sent_as="localhost"),
    Quirk("localhost-after-its-dot", "D11", lambda r: [answer(r.body)], "Each name reaches its host, in any order of requests.",
          (Ask(right=result(anybody=True)), Ask(right=result(anybody=True))), host="localhost"),
]  # fmt: skip

QUIRKS = [*_SHIFTS, *_ENDINGS, *_NAMES]
