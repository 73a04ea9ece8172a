"""Watches: A5 and A7 (polls that go on), A9, A16, A17 (selections as a reader sees them), A18 (JSON exactly)."""

import gzip

from tests.quirks.model import End, Quirk, Request, Script, Step, Watching, answer, visits

__all__ = ["QUIRKS"]

Reported = tuple[tuple[str, str | None], ...]


def _says(body: bytes | str, *lines: str | bytes, status: bytes = b"200 OK") -> Script:
    data = body.encode() if isinstance(body, str) else body
    return lambda request: [answer(data, *lines, status=status)]


def _does(*steps: Step) -> Script:
    return lambda request: list(steps)


def _q(name: str, kind: str, others: str, script: Script, *reported: Reported, select: str | None = None) -> Quirk:
    return Quirk(name, kind, script, others, (), watching=Watching(reported, select))


_ONE_TWO: Reported = (("state", "one"), ("changed", "two"))
_POLLS_GO_ON = "A validator that cannot be sent back is left out."


def _validator(name: str, line: str | bytes) -> Quirk:
    return _q(name, "A7", _POLLS_GO_ON, visits(_says("one", line), _says("two", line)), _ONE_TWO)


def _confirming(name: str, line: bytes, others: str) -> Quirk:
    """Answer 304 to the very validator that was given, something new to any other."""
    value = line.partition(b": ")[2]

    def script(request: Request) -> list[Step]:
        sent = request.header("if-none-match") or request.header("if-modified-since")
        if request.visit and sent == value:
            return [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
        return [answer(b"one" if request.visit == 0 else b"another", line)]

    return _q(name, "A7", others, script, (("state", "one"),))


_VALIDATORS = [
    _validator("watch-etag-with-a-euro", '"€"'.join(("ETag: ", "")).encode()),
    _validator("watch-etag-of-5000", 'ETag: "' + "v" * 5000 + '"'),
    _validator("watch-etag-latin-1", b'ETag: "caf\xe9"'),
    _validator("watch-etag-without-quotes", "ETag: abc"),
    _validator("watch-etag-empty", "ETag:"),
    _validator("watch-etag-with-a-control-byte", b'ETag: "a\x01b"'),
    _validator("watch-etag-with-spaces", 'ETag: "a b"'),
    _validator("watch-etag-with-commas", 'ETag: "a", "b"'),
    _validator("watch-last-modified-in-german", "Last-Modified: Sa, 1. März 2026".encode("latin-1")),
    _validator("watch-last-modified-of-5000", "Last-Modified: " + "v" * 5000),
    _validator("watch-last-modified-nonsense", "Last-Modified: yesterday"),
    _validator("watch-last-modified-empty", "Last-Modified:"),
    _validator("watch-etag-that-stays", 'ETag: "1"'),
    _confirming("watch-weak-etag", b'ETag: W/"1"', "Sent back as it came (RFC 9110, 13.1.2)."),
    _confirming("watch-plain-etag", b'ETag: "1"', "Sent back as it came."),
    _confirming("watch-etag-with-odd-signs", b'ETag: "a,b;c=\\d/*"', "Sent back as it came."),
    _confirming("watch-last-modified", b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Sent back as it came."),
    _q("watch-first-304", "A7", "Nothing was asked that it confirms: asked again.",
       visits(_does(b"HTTP/1.1 304 Not Modified\r\n\r\n"), _says("two")),
       (("state", "two"),), (("error", None), ("recovered", None), ("state", "two")), (("state", ""), ("changed", "two"))),
    _q("watch-304-with-a-body", "A7", "A 304 has no body.",
       visits(_says("one", 'ETag: "1"'), _does(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\ntwo"), _says("three")),
       (("state", "one"), ("changed", "three"))),
    _q("watch-412", "A7", "An answer like others.", visits(_says("one", 'ETag: "1"'), _says("no", status=b"412 No")), (("state", "one"), ("changed", "no"))),
    _q("watch-8-bit-header", "A1", "A field value is opaque bytes.", visits(_says("one", b"X: \xe9"), _says("two", b"X: \xe9")), _ONE_TWO),
    _q("watch-404", "A7", "A state like others.", visits(_says("one"), _says("gone", status=b"404 Gone")), (("state", "one"), ("changed", "gone"))),
]  # fmt: skip

_MOVES = [
    Quirk("watch-redirect", "A3", lambda r: [answer(b"", b"Location: /caf\xe9", status=b"302 Found")], "Followed at each poll.", (),
          paths={"/caf%E9": visits(_says("one"), _says("two"))}, watching=Watching((_ONE_TWO,))),
    Quirk("watch-redirect-loop", "redirects", lambda r: [answer(b"", b"Location: /q/watch-redirect-loop", status=b"302 Found")], "An error, sent once.", (),
          watching=Watching(((("error", None),),))),
    _q("watch-gzip", "A11", "Unpacked, and then selected from.", visits(_says(gzip.compress(b"<p>one</p>"), "Content-Encoding: x-gzip", "Content-Type: text/html"),
       _says(gzip.compress(b"<p>two</p>"), "Content-Encoding: gzip", "Content-Type: text/html")), _ONE_TWO, select="p"),
    _q("watch-chunks-without-the-last", "A4", "Never a change.", visits(_says("one"), _does(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n", End.FIN), _says("one")),
       (("state", "one"), ("error", None), ("recovered", None))),
    _q("watch-503", "A7", "Tried again, or an error that is sent once.", visits(_says("one"), _says("no", status=b"503 No"), _says("one")),
       (("state", "one"), ("error", None), ("recovered", None)), (("state", "one"),)),
    _q("watch-empty-location", "A3", "Any change is sent once.", lambda r: [answer(b"", b"Location: ", status=b"302 Found")],
       (("state", ""),), (("error", None),)),
]  # fmt: skip

_ERROR: Reported = (("error", None), ("recovered", None))
_PACKED = gzip.compress(b"one " * 300)
_HALVES = [
    _q("watch-gzip-cut", "A5", "Never a change.",
       visits(_says("one"), _says(_PACKED[: len(_PACKED) // 2], "Content-Encoding: gzip"), _says("two")),
       (("state", "one"), *_ERROR, ("changed", "two"))),
    _q("watch-gzip-cut-and-back", "A5", "Never a change.",
       visits(_says("one"), _says(_PACKED[: len(_PACKED) // 2], "Content-Encoding: gzip"), _says("one")),
       (("state", "one"), *_ERROR)),
    _q("watch-reset-in-the-body", "A4", "Never a change.",
       visits(_says("one"), _does(b"HTTP/1.1 200 OK\r\n\r\nhal", End.RST), _says("one")),
       (("state", "one"), *_ERROR), (("state", "one"),)),
    _q("watch-end-in-the-body", "A4", "Never a change.",
       visits(_says("one"), _does(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal", End.FIN), _says("two")),
       (("state", "one"), *_ERROR, ("changed", "two")), _ONE_TWO),
    _q("watch-late-answer", "A2", "Bytes that nobody asked for end a kept connection.",
       lambda request: [answer(b"one"), answer(b"WRONG")], (("state", "one"),)),
]  # fmt: skip


def _selected(
    name: str,
    kind: str,
    content: str,
    data: bytes | str,
    select: str,
    text: str | None,
    others: str,
    *more: Reported,
) -> Quirk:
    reported: Reported = (("state", text),) if text is not None else (("error", None),)
    return _q(name, kind, others, _says(data, f"Content-Type: {content}"), reported, *more, select=select)


def _changing(
    name: str,
    kind: str,
    content: str,
    first: bytes | str,
    second: bytes | str,
    select: str,
    others: str,
    *reported: Reported,
) -> Quirk:
    return _q(
        name,
        kind,
        others,
        visits(_says(first, f"Content-Type: {content}"), _says(second, f"Content-Type: {content}")),
        *reported,
        select=select,
    )


_HTML, _XML, _JSON = "text/html", "application/rss+xml", "application/json"
_RSS = "<?xml version='1.0'?><rss version='2.0'><channel><item><title><![CDATA[A & <b>]]></title><link>http://a.example/1</link></item></channel></rss>"
_SEEN = "As a reader sees it."
_SELECTIONS = [
    _selected("select-utf-8-by-http", "A9", "text/html; charset=utf-8", "<p>Größe</p>", "p", "Größe", "HTTP's charset reaches the parser."),
    _selected("select-windows-1251-by-http", "A9", "text/html; charset=windows-1251", "<p>да</p>".encode("cp1251"), "p", "да", "HTTP's charset reaches the parser."),
    _selected("select-shift-jis", "A10", "text/html; charset=shift_jis", b"<p>\x87\x40\x93\xfa</p>", "p", "①日", "The WHATWG's encodings."),
    _selected("select-meta", "A9", _HTML, "<meta charset=windows-1251><p>да</p>".encode("cp1251"), "p", "да", "meta, where HTTP says nothing."),
    _selected("select-bom", "A9", "text/html; charset=iso-8859-1", b"\xef\xbb\xbf<p>Gr\xc3\xb6\xc3\x9fe</p>", "p", "Größe", "A BOM wins."),
    _selected("select-utf-8-undeclared", "A9", _HTML, "<p>Größe</p>", "p", "Größe", "UTF-8 where nothing is said, if it is that."),
    _selected("select-utf-16", "A9", "text/html; charset=utf-16le", "<p>Größe</p>".encode("utf-16-le"), "p", "Größe", "HTTP's charset reaches the parser."),
    _selected("select-rss-link", "A16", _XML, _RSS, "item > link", "http://a.example/1", "XML is parsed as XML."),
    _selected("select-rss-cdata", "A16", _XML, _RSS, "item > title", "A & <b>", "CDATA is text."),
    _selected("select-text-xml", "A16", "text/xml", _RSS, "item > link", "http://a.example/1", "XML is parsed as XML."),
    _selected("select-atom", "A16", "application/atom+xml", "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>T</title><link href='x'/></entry></feed>", "entry > title", "T", "Names count without their namespace."),
    _selected("select-xml-encoding", "A16", "application/xml", "<?xml version='1.0' encoding='windows-1251'?><a><b>да</b></a>".encode("cp1251"), "a > b", "да", "XML 1.0, 4.3.3."),
    _selected("select-xml-with-case", "A16", "application/xml", "<a><pubDate>x</pubDate></a>", "pubDate", "x", "XML has a case."),
    _selected("select-xml-bomb", "A16", "application/xml", "<!DOCTYPE a [<!ENTITY b 'bb'>" + "".join(f"<!ENTITY b{n} '{f'&b{n - 1 if n else str()};' * 10}'>" for n in range(9)) + "]><a>&b8;</a>", "a", None, "Entities are not expanded without a bound.", (("state", ""),), (("state", "&b8;"),)),
    _selected("select-xml-entity-of-a-file", "A16", "application/xml", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/hostname'>]><a>x&b;</a>", "a", None, "Nothing is loaded.", (("state", "x"),), (("state", "x&b;"),)),
    _selected("select-xml-that-is-broken", "A16", "application/xml", "<a><b>x</b>", "b", None, "Not XML: an error, or what is there.", (("state", "x"),)),
    _selected("select-xhtml", "A16", "application/xhtml+xml", "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>x</p></body></html>", "p", "x", "XML is parsed as XML."),
    _changing("select-cells", "A17", _HTML, "<table><tr><td>1</td><td>23</td></tr></table>", "<table><tr><td>12</td><td>3</td></tr></table>", "tr", _SEEN, (("state", None), ("changed", None))),
    _changing("select-blocks", "A17", _HTML, "<div><p>1</p><p>23</p></div>", "<div><p>12</p><p>3</p></div>", "div", _SEEN, (("state", None), ("changed", None))),
    _changing("select-lines", "A17", _HTML, "<p>1<br>23</p>", "<p>12<br>3</p>", "p", _SEEN, (("state", None), ("changed", None))),
    _changing("select-lists", "A17", _HTML, "<ul><li>1<li>23</ul>", "<ul><li>12<li>3</ul>", "ul", _SEEN, (("state", None), ("changed", None))),
    _changing("select-script-nonce", "A17", _HTML, "<div>x<script nonce=1>a=1</script></div>", "<div>x<script nonce=2>a=2</script></div>", "div", _SEEN, (("state", "x"),)),
    _changing("select-style", "A17", _HTML, "<div>x<style>a{}</style></div>", "<div>x<style>b{}</style></div>", "div", _SEEN, (("state", "x"),)),
    _changing("select-template", "A17", _HTML, "<div>x<template>1</template></div>", "<div>x<template>2</template></div>", "div", _SEEN, (("state", "x"),)),
    _changing("select-comment", "A17", _HTML, "<p>x<!--1--></p>", "<p>x<!--2--></p>", "p", _SEEN, (("state", "x"),)),
    _changing("select-white-space", "A17", _HTML, "<p>a  b</p>", "<p>a\n b</p>", "p", "Runs of white space are one space.", (("state", None),)),
    _changing("select-inline-markup", "A17", _HTML, "<p>un<b>like</b></p>", "<p>un<i>like</i></p>", "p", "Inline markup separates nothing.", (("state", "unlike"),)),
    _selected("select-nothing", "A17", _HTML, "<p>x</p>", "h7", None, "An error, sent once."),
    _selected("select-entities", "A17", _HTML, "<p>a&amp;b&lt;&nbsp;&eacute;</p>", "p", None, "References are resolved.", (("state", "a&b<\xa0é"),), (("state", "a&b< é"),)),
    _changing("pointer-integer-of-23-digits", "A18", _JSON, '{"a":12345678901234567890124}', '{"a":12345678901234567890125}', "/a", "Values are compared exactly.",
              (("state", "12345678901234567890124"), ("changed", "12345678901234567890125"))),
    _changing("pointer-integer-beyond-53-bits", "A18", _JSON, '{"a":9007199254740993}', '{"a":9007199254740992}', "/a", "Values are compared exactly.",
              (("state", "9007199254740993"), ("changed", "9007199254740992"))),
    _changing("pointer-fraction-of-20-digits", "A18", _JSON, '{"a":0.12345678901234567890}', '{"a":0.12345678901234567891}', "/a", "Values are passed on exactly.",
              (("state", "0.12345678901234567890"), ("changed", "0.12345678901234567891"))),
    _selected("pointer-exponent", "A18", _JSON, '{"a":1E400}', "/a", "1E400", "Values are passed on exactly.", (("state", "1e400"),), (("error", None),)),
    _selected("pointer-with-a-bom", "A18", _JSON, b'\xef\xbb\xbf{"a":"x"}', "/a", '"x"', "A BOM is passed over (RFC 8259, 8.1)."),
    _selected("pointer-in-utf-16", "A18", _JSON, b"\xff\xfe" + '{"a":"x"}'.encode("utf-16-le"), "/a", '"x"', "A BOM wins.", (("error", None),)),
    _selected("pointer-to-null", "A18", _JSON, '{"a":null}', "/a", "null", "A value like others."),
    _selected("pointer-with-escapes", "A18", _JSON, '{"a/b":{"c~d":1}}', "/a~1b/c~0d", "1", "RFC 6901, 3."),
    _selected("pointer-to-an-empty-key", "A18", _JSON, '{"":1}', "/", "1", "RFC 6901, 5."),
    _selected("pointer-into-a-list", "A18", _JSON, "[[1,2],[3,4]]", "/1/0", "3", "RFC 6901, 4."),
    _selected("pointer-to-a-missing-key", "A18", _JSON, '{"a":1}', "/b", None, "An error, sent once."),
    _selected("pointer-in-a-deep-document", "A18", _JSON, "[" * 20_000 + "]" * 20_000, "/0", None, "A bound, reported."),
    _selected("pointer-over-duplicate-keys", "A18", _JSON, '{"a":1,"a":2}', "/a", "2", "The last, as browsers read it.", (("state", "1"),), (("error", None),)),
    _selected("pointer-in-what-is-not-json", "A18", _JSON, "<p>sorry</p>", "/a", None, "An error, sent once."),
    _selected("pointer-in-half-a-document", "A18", _JSON, '{"a":1,', "/a", None, "An error, sent once."),
    _selected("pointer-in-two-mib", "A18", _JSON, '{"a":1,"b":"' + "x" * (2 << 20) + '"}', "/a", None, "Beyond 1 MiB: a size limit is called that.", (("state", "1"),)),
]  # fmt: skip

QUIRKS = [*_VALIDATORS, *_MOVES, *_HALVES, *_SELECTIONS]
