"""Bodies: A4 (halves), A5 and A11 (content codings), lengths and chunks."""

import gzip
import zlib
from collections.abc import Callable
from itertools import accumulate, repeat

import brotli
from backports import zstd

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
    plain,
    result,
)

__all__ = ["QUIRKS", "packed"]

OWN: Rights = (Right(),)
_OK = b"HTTP/1.1 200 OK\r\n"
_INCOMPLETE = "An incomplete body is a failure (RFC 9112, 8)."
_NONE = {"retries": 0}


def _q(name: str, kind: str, script: Script, others: str, right: Rights = OWN, **more: object) -> Quirk:
    asks = more.pop("asks", (Ask(right=right, method=more.pop("method", None)),))  # type: ignore[arg-type]
    return Quirk(name, kind, script, others, asks, **more)  # type: ignore[arg-type]


def raw(make: Callable[[Request], list[Step]]) -> Script:
    return make


_HALVES = [
    _q("reset-without-a-length", "A4", lambda r: [_OK + b"\r\n" + r.body, End.RST], _INCOMPLETE, broken()),
    _q("reset-without-a-length-http-1.0", "A4", lambda r: [b"HTTP/1.0 200 OK\r\n\r\n" + r.body, End.RST], _INCOMPLETE, broken()),
    _q("reset-without-a-length-close", "A4", lambda r: [_OK + b"Connection: close\r\n\r\n" + r.body, End.RST], _INCOMPLETE, broken()),
    _q("reset-before-the-body", "A4", lambda r: [_OK + b"\r\n", End.RST], _INCOMPLETE, broken()),
    _q("end-without-a-length", "A4", lambda r: [_OK + b"\r\n" + r.body, End.FIN], "The end is the end of the body (RFC 9112, 6.3)."),
    _q("half-close-without-a-length", "A4", lambda r: [_OK + b"\r\n" + r.body, End.HALF], "The end is the end of the body."),
    _q("half-close-after-a-length", "A4", lambda r: [answer(r.body), End.HALF], "Whole."),
    _q("empty-without-a-length", "A4", lambda r: [_OK + b"\r\n", End.FIN], "An empty body.", result(body="")),
    _q("end-in-the-body", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", End.FIN], _INCOMPLETE, broken()),
    _q("reset-in-the-body", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", End.RST], _INCOMPLETE, broken()),
    _q("half-close-in-the-body", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", End.HALF], _INCOMPLETE, broken()),
    _q("one-byte-short", "A4", lambda r: [_OK + b"Content-Length: %d\r\n\r\n" % (len(r.body) + 1) + r.body, End.FIN], _INCOMPLETE, broken()),
    _q("one-byte-short-404", "A4", lambda r: [b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % (len(r.body) + 1) + r.body, End.FIN], _INCOMPLETE, broken()),
    _q("length-of-the-unpacked", "A4", lambda r: [_OK + b"Content-Encoding: gzip\r\nContent-Length: 5000\r\n\r\n" + gzip.compress(r.body), End.FIN],
       "Incomplete; Scrapy #2586.", either(OWN, broken())),
    _q("no-body-at-all", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\n", End.FIN], _INCOMPLETE, broken()),
    _q("stalls-in-the-body", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", NEXT], "Waited for, with an end.", fails("timeout")),
    _q("stalls-without-a-length", "A4", lambda r: [_OK + b"\r\nhalf", NEXT], "Waited for, with an end.", fails("timeout")),
    _q("reset-at-once", "A4", lambda r: [End.RST], "No answer.", fails("connect", "protocol")),
    _q("end-at-once", "A4", lambda r: [End.FIN], "No answer.", fails("connect", "protocol")),
    _q("end-in-the-status", "A4", lambda r: [b"HTTP/1.1 2", End.FIN], "No answer.", broken()),
    _q("reset-in-the-status", "A4", lambda r: [b"HTTP/1.1 2", End.RST], "No answer.", broken()),
    _q("end-in-the-head", "A4", lambda r: [_OK + b"Content-Le", End.FIN], "An incomplete head (RFC 9112, 8).", broken()),
    _q("end-before-the-heads-end", "A4", lambda r: [_OK + b"Content-Length: 2\r\n", End.FIN], "An incomplete head (RFC 9112, 8).", broken()),
    _q("reset-in-the-head", "A4", lambda r: [_OK + b"Content-Le", End.RST], "An incomplete head.", broken()),
    _q("reset-after-the-body", "A4", lambda r: [answer(r.body), End.RST], "Whole by its length."),
    _q("end-after-the-body", "A4", lambda r: [answer(r.body), End.FIN], "Whole by its length."),
    _q("reset-after-the-chunks", "A4", lambda r: [_chunked(r.body), End.RST], "Whole by its last chunk."),
    _q("byte-by-byte", "A4", lambda r: [bytes([byte]) for byte in answer(r.body)], "However it is cut into pieces."),
    _q("head-and-body-apart", "A4", lambda r: [_OK + b"Content-Length: %d\r\n\r\n" % len(r.body), 0.05, r.body], "However it is cut into pieces."),
    _q("tls-end-without-notice", "A4", lambda r: [_OK + b"\r\n" + r.body, End.FIN], "Incomplete without its closure alert (RFC 9112, 9.8).", either(broken(), fails("tls")), tls=True),
    _q("tls-end-without-notice-after-a-length", "A4", lambda r: [answer(r.body), End.FIN], "Whole by its length.", tls=True),
    _q("tls-end-without-notice-in-the-body", "A4", lambda r: [_OK + b"Content-Length: 100\r\n\r\nhalf", End.FIN], _INCOMPLETE, either(broken(), fails("tls")), tls=True),
    _q("tls-end-without-notice-in-chunks", "A4", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", End.FIN], _INCOMPLETE, either(broken(), fails("tls")), tls=True),
    _q("tls-reset-without-a-length", "A4", lambda r: [_OK + b"\r\n" + r.body, End.RST], _INCOMPLETE, either(broken(), fails("tls")), tls=True),
]  # fmt: skip


def _chunked(body: bytes, *, head: bytes = b"", size: bytes = b"%x", end: bytes = b"0\r\n\r\n") -> bytes:
    return (
        _OK + b"Transfer-Encoding: chunked\r\n" + head + b"\r\n" + size % len(body) + b"\r\n" + body + b"\r\n" + end
    )


_CUT = "An incomplete chunked body is a failure (RFC 9112, 8)."
_CHUNK_END = explained("chunk", "length", "body")
_CHUNKS = [
    _q("chunks-without-the-last", "chunks", lambda r: [_chunked(r.body, end=b""), End.FIN], _CUT, broken()),
    _q("chunks-cut-in-a-size", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1", End.FIN], _CUT, broken()),
    _q("chunks-cut-after-a-size", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n", End.FIN], _CUT, broken()),
    _q("chunks-cut-in-data", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhello", End.FIN], _CUT, broken()),
    _q("chunks-reset-in-data", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhello", End.RST], _CUT, broken()),
    _q("chunks-cut-before-any", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n", End.FIN], _CUT, broken()),
    _q("chunks-cut-in-the-last", "chunks", lambda r: [_chunked(r.body, end=b"0"), End.FIN], _CUT, broken()),
    _q("chunks-without-the-last-crlf", "chunks", lambda r: [_chunked(r.body, end=b"0\r\n"), End.FIN], "Not complete, strictly (RFC 9112, 8).", either(OWN, broken())),
    _q("chunks-cut-in-a-trailer", "chunks", lambda r: [_chunked(r.body, end=b"0\r\nX-T: "), End.FIN], "Not complete, strictly (RFC 9112, 8).", either(OWN, broken())),
    _q("chunks-stall-before-the-last", "chunks", lambda r: [_chunked(r.body, end=b""), NEXT], "Waited for, with an end.", fails("timeout")),
    _q("chunks-byte-by-byte", "chunks", lambda r: [step for byte in _chunked(r.body) for step in (bytes([byte]), 0.001)], "However it is cut."),
    _q("chunks-size-and-data-apart", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(r.body), 0.1, r.body, 0.1, b"\r\n0\r\n\r\n"], "However it is cut."),
    _q("chunks-head-and-first-size-together", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n", 0.1, r.body[:5], b"\r\n%x\r\n" % (len(r.body) - 5), 0.1, r.body[5:], b"\r\n", 0.1, b"0\r\n", 0.1, b"\r\n"], "However it is cut."),
    _q("chunks-gzip-byte-by-byte", "chunks", lambda r: [step for byte in _chunked(gzip.compress(r.body), head=b"Content-Encoding: gzip\r\n") for step in (bytes([byte]), 0.001)], "However it is cut."),
    _q("chunks-with-extensions", "chunks", lambda r: [_chunked(r.body, size=b'%x;a=b;c="d e"')], "Passed over (RFC 9112, 7.1.1)."),
    _q("chunks-with-a-space", "chunks", lambda r: [_chunked(r.body, size=b"%x ")], "curl and browsers take it.", either(OWN, _CHUNK_END)),
    _q("chunks-in-upper-case", "chunks", lambda r: [_chunked(r.body, size=b"%X")], "Hexadecimal has no case."),
    _q("chunks-with-zeros", "chunks", lambda r: [_chunked(r.body, size=b"0000%x")], "Leading zeros are allowed."),
    _q("chunks-with-many-zeros", "chunks", lambda r: [_chunked(r.body, size=b"0" * 40 + b"%x")], "curl refuses 17 digits and more.", either(OWN, _CHUNK_END)),
    _q("chunks-with-0x", "chunks", lambda r: [_chunked(r.body, size=b"0x%x"), End.FIN], "Refused; curl reads the 0 alone.", either(_CHUNK_END, result(body=""))),
    _q("chunks-with-a-sign", "chunks", lambda r: [_chunked(r.body, size=b"+%x"), End.FIN], "Refused.", _CHUNK_END),
    _q("chunks-with-minus", "chunks", lambda r: [_chunked(r.body, size=b"-%x"), End.FIN], "Refused.", _CHUNK_END),
    _q("chunks-of-2-to-the-64", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", End.FIN], "Refused.", either(_CHUNK_END, broken())),
    _q("chunks-of-exabytes", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nhello", End.FIN], "Incomplete.", broken()),
    _q("chunks-without-a-size", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", End.FIN], "Refused.", _CHUNK_END),
    _q("chunks-longer-than-their-size", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", End.FIN], "Refused.", _CHUNK_END),
    _q("chunks-with-lf", "chunks", lambda r: [_chunked(r.body).replace(b"\r\n%b\r\n" % r.body, b"\n%b\n" % r.body).replace(b"0\r\n\r\n", b"0\n\n"), End.FIN],
       "Chromium takes it; a smuggling risk.", either(OWN, _CHUNK_END)),
    _q("chunks-with-a-trailer", "chunks", lambda r: [_chunked(r.body, end=b"0\r\nX-T: 1\r\nContent-Length: 3\r\n\r\n")], "Trailers frame nothing (RFC 9110, 6.5)."),
    _q("chunks-of-one-byte", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in r.body) + b"0\r\n\r\n"], "However it is cut."),
    _q("empty-chunks", "chunks", lambda r: [_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "An empty body.", result(body="")),
    _q("chunked-in-upper-case", "chunks", lambda r: [_chunked(r.body).replace(b": chunked", b": Chunked")], "Codings have no case."),
    _q("chunked-twice", "chunks", lambda r: [_chunked(r.body, head=b"Transfer-Encoding: chunked\r\n"), End.FIN], "Refused, or taken once.", either(OWN, explained("chunk", "transfer"))),
    _q("chunked-with-identity", "chunks", lambda r: [_chunked(r.body).replace(b": chunked", b": identity, chunked")], "Obsolete (RFC 9112, 7).", either(OWN, explained("transfer"))),
    _q("transfer-identity", "chunks", lambda r: [answer(r.body, "Transfer-Encoding: identity"), End.FIN], "curl and Chromium take it as none.", either(OWN, explained("transfer", "length"))),
    _q("transfer-gzip-chunked", "chunks", lambda r: [_chunked(gzip.compress(r.body)).replace(b": chunked", b": gzip, chunked")], "Nobody asked for it (RFC 9110, 10.1.4).", either(OWN, explained("transfer", "gzip"))),
    _q("transfer-gzip", "chunks", lambda r: [_OK + b"Transfer-Encoding: gzip\r\n\r\n" + gzip.compress(r.body), End.FIN], "Nobody asked for it.", either(OWN, explained("transfer", "gzip"))),
    _q("transfer-chunked-gzip", "chunks", lambda r: [_chunked(gzip.compress(r.body)).replace(b": chunked", b": chunked, gzip"), End.FIN], "chunked has to be last (RFC 9112, 6.1).", explained("transfer", "chunked", "gzip")),
    _q("transfer-unknown", "chunks", lambda r: [_OK + b"Transfer-Encoding: nonsense\r\n\r\n" + r.body, End.FIN], "Unknown framing.", either(OWN, explained("transfer"))),
    _q("transfer-xchunked", "chunks", lambda r: [_chunked(r.body).replace(b": chunked", b": xchunked"), End.FIN], "Unknown framing.", explained("transfer")),
    _q("chunked-and-a-length", "chunks", lambda r: [_chunked(r.body, head=b"Content-Length: 5\r\n"), End.FIN], "Smuggling (RFC 9112, 6.3): chunked wins, or refused.", either(OWN, explained("length", "chunk", "transfer", "both"))),
    _q("length-and-chunked", "chunks", lambda r: [_OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(r.body), r.body), End.FIN],
       "Smuggling (RFC 9112, 6.3): chunked wins, or refused.", either(OWN, explained("length", "chunk", "transfer", "both"))),
]  # fmt: skip


def _length(*values: str, more: bytes = b"") -> Script:
    def script(request: Request) -> list[Step]:
        size = len(request.body)
        lines = [
            b"Content-Length: " + value.format(n=size, h=f"{size:x}", m=size + 1).encode() + b"\r\n"
            for value in values
        ]
        return [_OK + b"".join(lines) + b"\r\n" + request.body + more, End.FIN]

    return script


_LENGTH = explained("length")
_LENGTHS = [
    _q("length-twice-the-same", "lengths", _length("{n}", "{n}"), "One value (RFC 9110, 8.6); curl and browsers take it.", either(OWN, _LENGTH)),
    _q("length-as-a-list-of-the-same", "lengths", _length("{n}, {n}"), "One value (RFC 9110, 8.6); browsers take it.", either(OWN, _LENGTH)),
    _q("two-lengths", "lengths", _length("{n}", "{m}"), "Refused (RFC 9112, 6.3); Chromium too.", _LENGTH),
    _q("two-lengths-in-a-list", "lengths", _length("{n}, {m}"), "Refused (RFC 9112, 6.3).", _LENGTH),
    _q("length-with-plus", "lengths", _length("+{n}"), "Not a length (RFC 9110, 8.6).", _LENGTH),
    _q("length-with-minus", "lengths", _length("-{n}"), "Not a length; Chromium reads to the end.", _LENGTH),
    _q("length-in-hex", "lengths", _length("0x{h}"), "Not a length.", _LENGTH),
    _q("length-with-a-fraction", "lengths", _length("{n}.0"), "Not a length.", _LENGTH),
    _q("length-with-text", "lengths", _length("{n} bytes"), "Not a length; curl #18921.", _LENGTH),
    _q("length-with-a-grouping", "lengths", _length("1_0"), "Not a length; Python's int takes it.", _LENGTH),
    _q("length-in-other-digits", "lengths", _length("٣"), "Not a length; Python's int takes it.", _LENGTH),
    _q("empty-length", "lengths", _length(""), "Chromium reads to the end.", either(OWN, _LENGTH)),
    _q("length-with-zeros", "lengths", _length("000{n}"), "A length."),
    _q("length-with-spaces", "lengths", _length("  {n}  "), "A length."),
    _q("length-of-2-to-the-64", "lengths", _length("18446744073709551616"), "Refused.", either(_LENGTH, broken())),
    _q("length-of-forty-digits", "lengths", _length("9" * 40), "Refused.", either(_LENGTH, broken())),
    _q("more-than-the-length", "A20", _length("{n}", more=b"and more"), "The body is what the length says; curl and browsers pass over the rest."),
    _q("more-than-the-length-and-stay", "A20", lambda r: [answer(r.body) + b"and more"], "The body is what the length says, and the connection is not used again."),
    _q("a-line-more-than-the-length", "A20", lambda r: [answer(r.body) + b"\r\n"], "Passed over (hyper #753)."),
    _q("204-with-a-body", "A20", lambda r: [b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"], "A 204 has no body (RFC 9112, 6.3).", result(204, body="")),
    _q("204-with-chunks", "A20", lambda r: [b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], "A 204 has no body.", result(204, body="")),
    _q("304-with-a-body", "A20", lambda r: [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"], "A 304 has no body.", result(304, body="")),
    _q("head-with-a-body", "A20", lambda r: [answer(b"hello")], "The answer to HEAD has no body.", result(body=""), method="HEAD"),
    _q("head-with-packed-nothing", "A20", lambda r: [answer(gzip.compress(b""), "Content-Encoding: gzip")], "http-parser #148.", result(body=""), method="HEAD"),
    _q("205-with-a-body", "A20", lambda r: [answer(b"hello", status=b"205 Reset Content")], "Read by its length.", either(result(205, body="hello"), result(205, body=""))),
]  # fmt: skip


def deflated(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def _text(request: Request) -> bytes:
    """A body whose packed form has more than a few bytes."""
    return request.body + b"".join(accumulate(repeat(b"line of text\n", 12)))


def packed(coding: str, change: Callable[[bytes], bytes] = bytes, *, frame: str = "length") -> Script:
    """Answer with a long body, packed and then changed."""

    def script(request: Request) -> list[Step]:
        data = change(PACKERS[coding](_text(request)))
        line = f"Content-Encoding: {coding}"
        if frame == "length":
            return [answer(data, line)]
        if frame == "chunks":
            return [_chunked(data, head=line.encode() + b"\r\n")]
        return [answer(data, line, length=False), End.FIN]

    return script


def _coding(header: str, *pack: Callable[[bytes], bytes]) -> Script:
    """Answer with the own body, packed one after the other."""

    def script(request: Request) -> list[Step]:
        data = request.body
        for one in pack:
            data = one(data)
        return [answer(data, *(f"Content-Encoding:{value}" for value in header.split("\n")))]

    return script


_GZ, _ZL, _BR, _ZS = (PACKERS[name] for name in ("gzip", "deflate", "br", "zstd"))
_DAMAGED = "Not what was sent: a failure, never a part of it."
_CUTS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda data: data[: len(data) // 2],
    "one-byte-short": lambda data: data[:-1],
    "first-byte-only": lambda data: data[:1],
}
_CODED = [
    *(_q(f"{coding}-{cut}-{frame}", "A5", packed(coding, change, frame=frame), _DAMAGED, broken(coding))
      for coding in PACKERS for cut, change in _CUTS.items() for frame in (("length", "chunks", "end") if cut == "half" else ("length",))),
    _q("gzip-without-its-trailer", "A5", packed("gzip", lambda data: data[:-8]), _DAMAGED, broken("gzip")),
    _q("gzip-with-a-wrong-checksum", "A5", packed("gzip", lambda data: data[:-8] + b"\0\0\0\0" + data[-4:]), _DAMAGED, broken("gzip")),
    _q("gzip-with-a-wrong-size", "A5", packed("gzip", lambda data: data[:-4] + b"\xff\xff\xff\xff"), _DAMAGED, broken("gzip")),
    _q("gzip-with-a-flipped-byte", "A5", packed("gzip", lambda data: data[:20] + bytes([data[20] ^ 255]) + data[21:]), _DAMAGED, broken("gzip")),
    _q("deflate-without-its-trailer", "A5", packed("deflate", lambda data: data[:-4]), _DAMAGED, either(broken("deflate"), result(has="line of text"))),
    _q("deflate-raw-cut", "A5", lambda r: [answer(deflated(_text(r), -15)[:40], "Content-Encoding: deflate")], _DAMAGED, broken("deflate")),
    _q("second-member-cut", "A5", lambda r: [answer((_GZ(_text(r)) + _GZ(_text(r)))[:-12], "Content-Encoding: gzip")], _DAMAGED, broken("gzip")),
    _q("second-frame-cut", "A5", lambda r: [answer((_ZS(_text(r)) + _ZS(_text(r)))[:-6], "Content-Encoding: zstd")], _DAMAGED, broken("zstd")),
    _q("inner-gzip-cut", "A5", lambda r: [answer(_BR(_GZ(_text(r))[:40]), "Content-Encoding: gzip, br")], _DAMAGED, broken("gzip", "br")),
    _q("gzip-cut-and-cached", "A5", lambda r: (packed("gzip", _CUTS["half"])(r) if r.visit == 0 else [answer(r.body, "Cache-Control: max-age=60")]),
       "Never kept.", by_command=False, asks=(Ask(right=broken("gzip")), Ask(right=result(cache=("miss",))))),
    *(_q(f"{coding}-that-is-plain", "A5", plain(f"Content-Encoding: {coding}"), _DAMAGED, either(broken(coding)))
      for coding in PACKERS),
    *(_q(f"{coding}-over-{inner}", "A5", lambda r, coding=coding, inner=inner: [answer(PACKERS[inner](_text(r)), f"Content-Encoding: {coding}")],  # type: ignore[misc]
         "The coding is not what it says.", either(broken(coding), result(has="line of text")))
      for coding, inner in (("gzip", "deflate"), ("gzip", "br"), ("deflate", "gzip"), ("br", "gzip"), ("zstd", "gzip"))),
    *(_q(f"{coding}-empty", "A11", lambda r, coding=coding: [answer(b"", f"Content-Encoding: {coding}")], "Empty: nothing to unpack (node-fetch #1442).", result(body=""))  # type: ignore[misc]
      for coding in PACKERS),
    _q("gzip-empty-chunks", "A11", lambda r: [_OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "Empty: nothing to unpack.", result(body="")),
    _q("gzip-empty-to-the-end", "A11", lambda r: [_OK + b"Content-Encoding: gzip\r\n\r\n", End.FIN], "Empty: nothing to unpack.", result(body="")),
    _q("gzip-of-nothing", "A11", lambda r: [answer(_GZ(b""), "Content-Encoding: gzip")], "An empty body.", result(body="")),
    _q("gzip", "A11", _coding(" gzip", _GZ), "RFC 9110, 8.4.1.3."),
    _q("deflate", "A11", _coding(" deflate", _ZL), "zlib's format (RFC 9110, 8.4.1.2; httpx #756)."),
    _q("deflate-raw", "A11", _coding(" deflate", lambda data: deflated(data, -15)), "Wrong, and common: curl and browsers take it."),
    _q("br", "A11", _coding(" br", _BR), "RFC 7932."),
    _q("zstd", "A11", _coding(" zstd", _ZS), "RFC 8878."),
    _q("zstd-frames", "A11", lambda r: [answer(_ZS(r.body[:5]) + _ZS(r.body[5:]), "Content-Encoding: zstd")], "All frames (aiohttp #12234)."),
    _q("zstd-skippable-frame", "A11", lambda r: [answer(b"\x50\x2a\x4d\x18\x03\0\0\0abc" + _ZS(r.body), "Content-Encoding: zstd")], "Skipped (RFC 8878, 3.1.2)."),
    _q("gzip-members", "A11", lambda r: [answer(_GZ(r.body[:5]) + _GZ(r.body[5:]), "Content-Encoding: gzip")], "All members (RFC 1952, 2.2)."),
    _q("gzip-members-in-pieces", "A11", lambda r: [_OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_GZ(r.body[:5]) + _GZ(r.body[5:])), _GZ(r.body[:5]), 0.05, _GZ(r.body[5:])], "All members."),
    _q("gzip-with-a-name", "A11", lambda r: [answer(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name.txt\0" + _GZ(r.body)[10:], "Content-Encoding: gzip")], "RFC 1952, 2.3."),
    _q("x-gzip", "A11", _coding(" x-gzip", _GZ), "The same as gzip (RFC 9110, 8.4.1.3)."),
    _q("gzip-in-upper-case", "A11", _coding(" GZIP", _GZ), "Codings have no case (RFC 9110, 8.4.1)."),
    _q("x-gzip-in-mixed-case", "A11", _coding(" X-GZip", _GZ), "Codings have no case."),
    _q("gzip-without-a-space", "A11", _coding("gzip", _GZ), "A space is not needed."),
    _q("gzip-gzip", "A11", _coding(" gzip, gzip", _GZ, _GZ), "In the order in which they were applied (RFC 9110, 8.4)."),
    _q("gzip-br", "A11", _coding(" gzip, br", _GZ, _BR), "In the order in which they were applied."),
    _q("br-gzip", "A11", _coding(" br, gzip", _BR, _GZ), "In the order in which they were applied."),
    _q("deflate-zstd", "A11", _coding(" deflate,zstd", _ZL, _ZS), "In the order in which they were applied."),
    _q("gzip-and-br-in-two-lines", "A11", _coding(" gzip\n br", _GZ, _BR), "Lines of a list are one list (RFC 9110, 5.3)."),
    _q("gzip-identity", "A11", _coding(" gzip, identity", _GZ), "identity is none."),
    _q("identity-gzip", "A11", _coding(" identity, gzip", _GZ), "identity is none."),
    _q("gzip-and-empty-members", "A11", _coding(" , gzip, ", _GZ), "Empty members of a list are passed over (RFC 9110, 5.6.1)."),
    _q("identity", "A11", _coding(" identity"), "identity is none."),
    _q("empty-coding", "A11", _coding(""), "None."),
    _q("coding-none", "A11", _coding(" none"), "Unknown: the body as it is, or refused by name.", either(OWN, explained("none", "coding", "encoding"))),
    _q("coding-utf-8", "A11", _coding(" utf-8"), "A charset in the wrong place: browsers pass it on.", either(OWN, explained("utf-8", "coding", "encoding"))),
    _q("coding-aws-chunked", "A11", _coding(" aws-chunked"), "S3 leaves it: browsers pass it on.", either(OWN, explained("aws-chunked", "coding", "encoding"))),
    _q("coding-unknown", "A11", _coding(" nonsense"), "Unknown: the body as it is, or refused by name.", either(OWN, explained("nonsense", "coding", "encoding"))),
    _q("coding-compress", "A11", _coding(" compress"), "Nobody has it any more.", either(OWN, explained("compress", "coding", "encoding"))),
    _q("unknown-over-gzip", "A11", _coding(" gzip, nonsense", _GZ), "What is below it cannot be read.", either(result(anybody=True), explained("nonsense", "coding", "encoding"))),
    _q("twelve-codings", "A11", _coding(" " + ", ".join(["gzip"] * 12), *[_GZ] * 12), "A bound.", explained("coding", "encoding")),
    _q("gzip-and-zeros", "A11", lambda r: [answer(_GZ(r.body) + bytes(100), "Content-Encoding: gzip")], "Padding: gzip's own tools pass over it."),
    _q("gzip-and-garbage", "A11", lambda r: [answer(_GZ(r.body) + b"garbage", "Content-Encoding: gzip")], "Browsers pass over it; curl: 23.", either(OWN, broken("gzip"))),
    _q("gzip-and-a-line", "A11", lambda r: [answer(_GZ(r.body) + b"\r\n", "Content-Encoding: gzip")], "Browsers pass over it.", either(OWN, broken("gzip"))),
    _q("gzip-404", "A11", lambda r: [answer(_GZ(r.body), "Content-Encoding: gzip", status=b"404 Not Found")], "With any status.", result(404)),
    _q("gzip-tar", "A11", lambda r: [answer(_GZ(r.body), "Content-Encoding: gzip", "Content-Type: application/gzip")], "Unpacked once, as browsers do."),
    _q("gzip-type-without-a-coding", "A11", lambda r: [answer(_GZ(r.body), "Content-Type: application/gzip")], "The body as it is.", result(anybody=True)),
    _q("gzip-chunked-in-pieces", "A11", lambda r: [_OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", *(b"1\r\n%c\r\n" % byte for byte in _GZ(r.body)), b"0\r\n\r\n"], "However it is cut."),
    _q("gzip-redirect-that-is-plain", "A11", lambda r: [answer(b"no gzip", "Content-Encoding: gzip", "Location: /there", status=b"302 Found")], "Its body is not needed.", result(at="/there")),
]  # fmt: skip

QUIRKS = [*_HALVES, *_CHUNKS, *_LENGTHS, *_CODED]
