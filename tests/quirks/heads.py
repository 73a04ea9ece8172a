"""Heads of answers: A1 (bytes above 127), A19 (sizes), A20 (what is not quite HTTP), and every status."""

from tests.quirks.model import (
    NEXT,
    Ask,
    End,
    Quirk,
    Request,
    Right,
    Rights,
    Step,
    answer,
    broken,
    either,
    explained,
    fails,
    plain,
    result,
)

__all__ = ["QUIRKS"]

OWN: Rights = (Right(),)
_OPAQUE = "A field value is opaque bytes (RFC 9110, 5.5); curl and browsers pass them on."
_TOLERANT = "curl and browsers take it."
_VARIES = "Clients differ; what is refused has to be explained."


def head(first: bytes, *lines: bytes, end: bytes = b"\r\n") -> "object":
    """Answer with a first line and header lines as they are, and the request's own body."""

    def script(request: Request) -> list[Step]:
        body = request.body
        return [end.join([first, *lines, b"Content-Length: %d" % len(body), b"", b""]) + body]

    return script


def _q(name: str, kind: str, script: object, others: str, right: Rights = OWN, **more: object) -> Quirk:
    ask = Ask(right=right, method=more.pop("method", None))  # type: ignore[arg-type]
    return Quirk(name, kind, script, others, (ask,), **more)  # type: ignore[arg-type]


_HIGH = [
    _q("latin-1-in-a-value", "A1", plain("X-Name: r\xe9n"), _OPAQUE, result(headers={"x-name": "r\xe9n"})),
    _q("utf-8-in-a-value", "A1", plain("X-Name: ré".encode()), _OPAQUE),
    _q("every-byte-above-127", "A1", plain(b"X-Name: " + bytes(range(0x80, 0x100))), _OPAQUE),
    _q("half-a-utf-8-sequence", "A1", plain(b"X-Name: \xe2\x82"), _OPAQUE),
    _q("utf-8-of-a-surrogate", "A1", plain(b"X-Name: \xed\xa0\x80"), _OPAQUE),
    _q("line-separators-in-a-value", "A1", plain(b"X-Name: a\x85b", "X-B: \u2028".encode()), _OPAQUE),
    _q("8-bit-content-type", "A1", plain(b"Content-Type: text/plain; name=\xe9"), _OPAQUE),
    _q("8-bit-charset", "A1", plain(b"Content-Type: text/plain; charset=\xe9"), "An unknown charset is as none."),
    _q("8-bit-cookie", "A1", plain(b"Set-Cookie: a=\xe9; Path=/\xe9"), _OPAQUE),
    _q("8-bit-etag", "A1", plain('ETag: "€"'.encode(), "Cache-Control: max-age=60"), _OPAQUE),
    _q("8-bit-last-modified", "A1", plain(b"Last-Modified: Sa, 1. M\xe4rz 2026", b"Cache-Control: max-age=60"), _OPAQUE),
    _q("8-bit-date", "A1", plain(b"Date: \xff\xfe", b"Cache-Control: max-age=60"), _OPAQUE),
    _q("8-bit-cache-control", "A1", plain(b"Cache-Control: max-age=60, x=\xe9"), _OPAQUE),
    _q("8-bit-vary", "A1", plain(b"Vary: X-\xe9", b"Cache-Control: max-age=60"), _OPAQUE),
    _q("8-bit-disposition", "A1", plain('Content-Disposition: attachment; filename="größe.txt"'.encode()), _OPAQUE),
    _q("8-bit-location-of-a-200", "A1", plain(b"Location: /caf\xe9"), "Only a redirect leads anywhere."),
    _q("8-bit-location-of-a-201", "A1", plain(b"Location: /caf\xe9", status=b"201 Created"), "Only a redirect leads anywhere.", result(201)),
    _q("8-bit-retry-after", "A1", plain(b"Retry-After: \xff", status=b"404 Not Found"), _OPAQUE, result(404)),
    _q("8-bit-reason", "A1", head(b"HTTP/1.1 200 Gr\xfc\xdfe"), "A reason may have obs-text (RFC 9112, 4)."),
    _q("8-bit-name", "A1", plain(b"X-N\xe4me: v"), _VARIES, either(OWN, explained("name"))),
    _q("8-bit-trailer", "A1",
       lambda r: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-T: \xe9\r\n\r\n" % (len(r.body), r.body)], _OPAQUE),
    _q("8-bit-coding", "A1", plain(b"Content-Encoding: gz\xefp"), _VARIES, either(OWN, explained("coding", "encoding"))),
    _q("8-bit-connection", "A1", plain(b"Connection: keep-alive, \xe9"), _OPAQUE),
    _q("control-byte-in-a-value", "A1", plain(b"Set-Cookie: a=\x01b"), "curl passes it on (aiohttp #5269).",
       either(OWN, explained("value", "header"))),
    _q("delete-in-a-value", "A1", plain(b"X-Name: a\x7fb"), _VARIES, either(OWN, explained("value", "header"))),
    _q("tab-in-a-value", "A1", plain(b"X-Name: a\tb"), "A tab is allowed (RFC 9110, 5.5)."),
]  # fmt: skip


def _lines(count: int, size: int) -> list[bytes]:
    return [b"X-%d: " % number + b"v" * size for number in range(count)]


_BOUND = explained("bytes", "kib", "kb", "mib", "headers", "lines", "fields", "large", "long", "many")
_SIZES = [
    _q("9-kb-line", "A19", plain(*_lines(1, 9_000)), "curl: 100 KB a line; Chromium: 256 KB in all."),
    _q("9-kb-cookie", "A19", plain(b"Set-Cookie: a=" + b"v" * 9_000), "curl: 100 KB a line; Chromium: 256 KB in all."),
    _q("9-kb-policy", "A19", plain(b"Content-Security-Policy: " + b"v" * 9_000), "curl: 100 KB a line."),
    _q("40-kb-line", "A19", plain(*_lines(1, 40_000)), "curl: 100 KB a line; Chromium: 256 KB in all."),
    _q("90-kb-line", "A19", plain(*_lines(1, 90_000)), "curl: 100 KB a line; Chromium: 256 KB in all."),
    _q("110-kb-line", "A19", plain(*_lines(1, 110_000)), "curl: 100 KB a line.", either(OWN, _BOUND)),
    _q("one-mib-line", "A19", plain(*_lines(1, 1 << 20)), "curl and Chromium refuse.", _BOUND),
    _q("130-headers", "A19", plain(*_lines(130, 10)), "curl: 5,000; browsers by their size."),
    _q("900-headers", "A19", plain(*_lines(900, 10)), "curl: 5,000; browsers by their size."),
    _q("60000-headers", "A19", plain(*_lines(60_000, 1)), "curl refuses more than 5,000.", _BOUND),
    _q("200-kb-in-all", "A19", plain(*_lines(20, 10_000)), "curl: 300 KB in all; Chromium: 256 KB."),
    _q("400-kb-in-all", "A19", plain(*_lines(40, 10_000)), "curl: 300 KB in all; Chromium: 256 KB.", _BOUND),
    _q("400-kb-of-100", "A19", lambda r: [b"HTTP/1.1 100 Continue\r\n" + b"".join(line + b"\r\n" for line in _lines(40, 10_000)) + b"\r\n", answer(r.body)],
       "Bounds hold for interim answers too.", either(OWN, _BOUND)),
    _q("2-mib-trailer", "A19",
       lambda r: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(r.body), r.body), b"".join(line + b"\r\n" for line in _lines(200, 10_000)), b"\r\n"],
       "Trailers have a bound too (CVE-2026-22815).", either(_BOUND, broken("trailer"))),
    _q("9-kb-reason", "A19", head(b"HTTP/1.1 200 " + b"O" * 9_000), "curl takes it.", either(OWN, explained("line", "reason", "bytes", "kib"))),
    _q("17-kb-before-the-length", "A19", head(b"HTTP/1.1 200 OK", *_lines(17, 1_000)), "Framing sees all headers."),
]  # fmt: skip

_ODD = [
    _q("nul-in-a-name", "A20", plain(b"X-\x00Name: v"), "curl fails; Chromium fails.", either(OWN, explained("nul", "name", "header"))),
    _q("nul-in-a-value", "A20", plain(b"X-Name: a\x00b"), "curl 8 and Chromium fail.", either(OWN, explained("nul", "value", "header"))),
    _q("space-in-a-name", "A20", plain(b"X Name: v"), "curl and Chromium take the answer (aiohttp #262).", either(OWN, explained("name", "space", "header"))),
    _q("space-before-the-colon", "A20", plain(b"X-Name : v"), "curl and browsers take it; RFC 9112, 5.1.", either(OWN, explained("name", "space", "header", "colon"))),
    _q("space-before-the-lengths-colon", "A20", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length : %d\r\n\r\n%b" % (len(r.body), r.body), End.FIN],
       "A smuggled length: taken as the length, or refused.", either(OWN, explained("name", "space", "header", "colon"))),
    _q("no-name", "A20", plain(b": v"), "curl and Chromium take the answer.", either(OWN, explained("name", "header"))),
    _q("line-without-a-colon", "A20", plain(b"nonsense"), "Not a field; Chromium passes over it.", either(OWN, explained("colon", "name", "header"))),
    _q("parentheses-in-a-name", "A20", plain(b"X(a): v"), "curl and browsers take it.", either(OWN, explained("name", "header"))),
    _q("no-space-after-the-colon", "A20", plain(b"X-Name:v"), _TOLERANT, result(headers={"x-name": "v"})),
    _q("spaces-around-a-value", "A20", plain(b"X-Name: \t v \t "), "They do not belong to it (RFC 9110, 5.5).", result(headers={"x-name": "v"})),
    _q("empty-value", "A20", plain(b"X-Name:"), _TOLERANT, result(headers={"x-name": ""})),
    _q("folded-line", "A20", plain(b"X-Name: a\r\n b"), "curl and browsers unfold it (RFC 9112, 5.2).", either(OWN, explained("fold", "continu", "name", "header", "space"))),
    _q("folded-first-line", "A20", head(b"HTTP/1.1 200 OK", b" X-Name: a"), "Not a field; Chromium passes over it.", either(OWN, explained("fold", "continu", "name", "header", "space"))),
    _q("folded-length", "A20", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length:\r\n %d\r\n\r\n%b" % (len(r.body), r.body), End.FIN],
       _VARIES, either(OWN, explained("fold", "continu", "length", "header", "space"))),
    _q("bare-cr-in-a-value", "A20", plain(b"X-Name: a\rb"), _VARIES, either(OWN, explained("cr", "carriage", "line", "value", "header"))),
    _q("bare-cr-as-line-end", "A20", head(b"HTTP/1.1 200 OK", b"X: 1", end=b"\r"), "curl waits for more; Chromium sees HTTP/0.9.", either(OWN, broken("cr", "carriage", "line", "head", "clos", "http/", "status"), fails("timeout"))),
    _q("lf-alone", "A20", head(b"HTTP/1.1 200 OK", b"X: 1", end=b"\n"), "curl and browsers take it (RFC 9112, 2.2; aiohttp #7494).",
       either(OWN, explained("lf", "line", "crlf"))),
    _q("lf-in-one-line", "A20", plain(b"X-Name: a\nX-Other: b"), "curl and browsers take it (RFC 9112, 2.2).", either(OWN, explained("lf", "line", "crlf", "value"))),
    _q("lf-before-the-body", "A20", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\n%b" % (len(r.body), r.body), End.FIN], "curl and browsers take it.",
       either(OWN, explained("lf", "line", "crlf"))),
    _q("crlf-before-the-status", "A20", lambda r: [b"\r\n" + answer(r.body)], "Passed over, to be robust (RFC 9112, 2.2; hyper #753).", either(OWN, explained("status", "line"))),
    _q("garbage-before-the-status", "A20", lambda r: [b"junk\r\n" + answer(r.body), End.FIN], "Not an answer of HTTP.", either(OWN, explained("status", "http/", "line"))),
    _q("http-1.0", "A20", head(b"HTTP/1.0 200 OK"), _TOLERANT),
    _q("http-1.0-until-the-end", "A20", lambda r: [b"HTTP/1.0 200 OK\r\n\r\n" + r.body, End.FIN], _TOLERANT),
    _q("http-1.0-chunked", "A20", lambda r: [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(r.body), r.body), End.FIN],
       "Faulty framing (RFC 9112, 6.1).", either(OWN, result(anybody=True), explained("chunked", "http/1.0", "transfer"))),
    _q("http-1.2", "A20", head(b"HTTP/1.2 200 OK"), "A minor version is not a reason to fail (RFC 9110, 2.5).", either(OWN, explained("version", "http/"))),
    _q("http-2.0", "A20", head(b"HTTP/2.0 200 OK"), "A major version that nobody asked for.", either(OWN, explained("version", "http/"))),
    _q("http-2", "A20", head(b"HTTP/2 200 OK"), "A major version that nobody asked for.", either(OWN, explained("version", "status", "http/"))),
    _q("http-9.9", "A20", head(b"HTTP/9.9 200 OK"), "Not an answer of HTTP/1.1.", either(OWN, explained("version", "http/"))),
    _q("lower-case-http", "A20", head(b"http/1.1 200 OK"), "Not a status line, strictly (RFC 9112, 4).", either(OWN, explained("status", "http/", "version"))),
    _q("icy", "A20", head(b"ICY 200 OK"), "Shoutcast (curl #191).", either(OWN, explained("status", "http/", "icy"))),
    _q("http-0.9", "A20", lambda r: [b"<html>" + r.body, End.FIN], "Nobody asks for HTTP/0.9 any more.", explained("status", "http")),
    _q("ssh", "A20", lambda r: [b"SSH-2.0-OpenSSH_9.2\r\n", End.FIN], "Not an answer of HTTP/1.1.", explained("status", "http")),
    _q("tls-alert", "A20", lambda r: [b"\x15\x03\x01\x00\x02\x02\x46", End.FIN], "A port that speaks TLS.", explained("status", "http/", "tls")),
    _q("no-reason", "A20", head(b"HTTP/1.1 200"), _TOLERANT),
    _q("empty-reason", "A20", head(b"HTTP/1.1 200 "), _TOLERANT),
    _q("two-spaces-before-the-code", "A20", head(b"HTTP/1.1  200 OK"), "Not a status line, strictly (RFC 9112, 4).", either(OWN, explained("status", "code", "line"))),
    _q("tab-before-the-code", "A20", head(b"HTTP/1.1\t200 OK"), _VARIES, either(OWN, explained("status", "code", "line", "http/"))),
    _q("duplicate-types", "A20", plain("Content-Type: text/plain", "Content-Type: text/html"), _TOLERANT),
    _q("connection-close-and-stay", "A20", plain("Connection: close"), "Nothing more is sent there (RFC 9112, 9.6)."),
    _q("connection-upper-case", "A20", plain("CONNECTION: CLOSE"), "Names and options have no case."),
    _q("proxy-connection-close", "A20", plain("Proxy-Connection: close"), "It means nothing to a client without a proxy."),
    _q("keep-alive-0", "A20", plain("Connection: keep-alive", "Keep-Alive: timeout=0, max=0"), "A hint; curl heeds the time-out."),
    _q("upgrade-offered", "A20", plain("Upgrade: h2,h2c", "Connection: Upgrade"), "Apache offers it; nothing is switched (RFC 9110, 7.8)."),
    _q("trailer-announced", "A20", plain("Trailer: X-T"), _TOLERANT),
]  # fmt: skip


def _interim(*lines: bytes) -> object:
    return lambda request: [b"".join(line + b"\r\n\r\n" for line in lines) + answer(request.body)]


_INTERIM = "Interim answers come before the final one (RFC 9110, 15.2)."
_CODES = [
    _q("100-first", "1xx", _interim(b"HTTP/1.1 100 Continue"), _INTERIM),
    _q("102-first", "1xx", _interim(b"HTTP/1.1 102 Processing"), _INTERIM),
    _q("103-first", "1xx", _interim(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload"), _INTERIM),
    _q("103-twice", "1xx", _interim(b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 103 Early Hints"), _INTERIM),
    _q("100-102-103", "1xx", _interim(b"HTTP/1.1 100 A", b"HTTP/1.1 102 B", b"HTTP/1.1 103 C"), _INTERIM),
    _q("199-first", "1xx", _interim(b"HTTP/1.1 199 Odd"), "An unknown 1xx is as 100 (RFC 9110, 15).", either(OWN, explained("status", "1"))),
    _q("100-with-a-length", "1xx", _interim(b"HTTP/1.1 100 Continue\r\nContent-Length: 168"), "An interim answer has no body (nginx #1427).",
       either(OWN, explained("100", "length", "interim"))),
    _q("103-with-chunked", "1xx", _interim(b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked"), "An interim answer has no body (nginx #1427).",
       either(OWN, explained("103", "transfer", "interim", "chunked"))),
    _q("100-in-pieces", "1xx", lambda r: [b"HTTP/1.1 100 Con", 0.05, b"tinue\r\n\r", 0.05, b"\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(r.body), 0.05, r.body], _INTERIM),
    _q("100-alone", "1xx", lambda r: [b"HTTP/1.1 100 Continue\r\n\r\n", End.FIN], "No answer at all.", broken()),
    _q("100-and-silence", "1xx", lambda r: [b"HTTP/1.1 100 Continue\r\n\r\n", NEXT], "Waited for, with an end.", fails("timeout")),
    _q("101-unasked", "1xx", lambda r: [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00\x01garbage"],
       "Nobody asked for it (RFC 9110, 15.2.2).", either(result(101, anybody=True), explained("101", "protocol", "switch", "upgrade"))),
    *(_q(f"status-{code}", "codes", plain(status=b"%d What" % code), "An unknown code is as its class's x00 (RFC 9110, 15).", result(code))
      for code in (201, 202, 203, 206, 207, 208, 226, 299, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 416, 417,
                   418, 421, 422, 425, 426, 428, 431, 451, 499, 500, 501, 502, 504, 505, 507, 511, 520, 530, 599)),
    *(_q(f"status-{code}", "codes", plain(status=b"%d What" % code), "Retried where retries are left; then a result.", result(code))
      for code in (408, 429, 503)),
    *(_q(f"status-{code}", "codes", plain(status=b"%d What" % code), "Clients should take codes to 999 as 5xx (RFC 9110, 15).",
         either(result(code), explained("status", "code"))) for code in (600, 700, 999)),
    *(_q(f"status-{code.decode()}", "codes", head(b"HTTP/1.1 " + code + b" OK"), "Not a status code (RFC 9110, 15).",
         either(result(anybody=True, status=None), explained("status", "code", "line"))) for code in (b"20", b"99", b"1000", b"0200", b"-1", b"abc", b"2x0", b"000")),
    _q("204", "codes", lambda r: [b"HTTP/1.1 204 No Content\r\n\r\n"], "Without a body, even if its headers announce one.", result(204, body="")),
    _q("204-with-length-0", "codes", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"], _TOLERANT, result(204, body="")),
    _q("204-with-a-type", "codes", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n"], "request #2990.", result(204, body="")),
    _q("204-with-a-coding", "codes", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"], "node-fetch #115.", result(204, body="")),
    _q("205", "codes", lambda r: [b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"], _TOLERANT, result(205, body="")),
    _q("304-unasked", "codes", lambda r: [b"HTTP/1.1 304 Not Modified\r\n\r\n"], "Without a body; nothing is stored that it confirms.", result(304, body="")),
    _q("304-with-a-length", "codes", lambda r: [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"], "The length of what is not sent (RFC 9110, 15.4.5).", result(304, body="")),
    _q("300", "codes", plain(status=b"300 Multiple Choices"), "Nowhere to go.", result(300)),
    _q("305-with-a-location", "codes", plain("Location: /elsewhere", status=b"305 Use Proxy"), "Not followed (RFC 9110, 15.4.6).", result(305)),
    _q("306-with-a-location", "codes", plain("Location: /elsewhere", status=b"306 Unused"), "Not followed.", result(306)),
    _q("head-200", "codes", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], "Without a body, even if its headers announce one.", result(body=""), method="HEAD"),
    _q("head-chunked", "codes", lambda r: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"], "Without a body.", result(body=""), method="HEAD"),
    _q("head-404-gzip", "codes", lambda r: [b"HTTP/1.1 404 Not Found\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"], "node-fetch #128.", result(404, body=""), method="HEAD"),
    _q("head-br", "codes", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 20\r\n\r\n"], "httpx #235.", result(body=""), method="HEAD"),
    _q("head-without-a-length", "codes", lambda r: [b"HTTP/1.1 200 OK\r\n\r\n"], "Without a body.", result(body=""), method="HEAD"),
]  # fmt: skip

QUIRKS = [*_HIGH, *_SIZES, *_ODD, *_CODES]
