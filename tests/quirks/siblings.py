"""Siblings: other headers, codings, charsets and documents of the kinds A1 to A22 than those of the other modules."""

import gzip
import json
import zlib
from collections.abc import Mapping

import brotli

from tests.quirks.bodies import PACKERS, deflated
from tests.quirks.model import (
    Ask,
    End,
    Quirk,
    Right,
    Rights,
    Script,
    Watching,
    answer,
    broken,
    either,
    explained,
    fails,
    plain,
    result,
    visits,
)

__all__ = ["QUIRKS"]

OWN: Rights = (Right(),)
_OK = b"HTTP/1.1 200 OK\r\n"
_CUT = "Cut within its coding: a failure, never a text."
_FILL = b"line of text\n" * 30


def _q(
    name: str,
    kind: str,
    script: Script,
    others: str,
    right: Rights = OWN,
    options: Mapping[str, object] | None = None,
) -> Quirk:
    return Quirk(name, kind, script, others, (Ask(right=right, options=options or {}),))


def _coded(coding: str, data: bytes, *lines: str) -> Script:
    return lambda request: [answer(data, f"Content-Encoding: {coding}", *lines)]


def _says(data: bytes | str, content: str, *lines: str) -> Script:
    body = data.encode() if isinstance(data, str) else data
    return lambda request: [answer(body, f"Content-Type: {content}", *lines)]


def _stacked(*codings: str) -> bytes:
    data = _FILL
    for coding in codings:
        data = PACKERS[coding](data)
    return data


def _in_chunks(data: bytes, *lines: bytes, piece: int = 7) -> bytes:
    chunks = [data[at : at + piece] for at in range(0, len(data), piece)]
    head = b"".join(line + b"\r\n" for line in (b"Transfer-Encoding: chunked", *lines))
    return _OK + head + b"\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


def _wide_frame() -> bytes:
    """A frame of zstd that says its window has 128 MiB, and has one raw block."""
    window = (27 - 10) << 3
    block = (len(_FILL) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + bytes((0, window)) + block + _FILL


_UNTIL_END = "A right end of the connection is not a right end of the coding."
_CODINGS = [
    *(_q(f"{coding}-cut-in-right-chunks", "A5",
         lambda r, coding=coding: [_in_chunks(PACKERS[coding](_FILL)[:-3], b"Content-Encoding: " + coding.encode())], _CUT, broken(coding))  # type: ignore[misc]
      for coding in PACKERS),
    *(_q(f"{coding}-cut-until-the-end", "A5",
         lambda r, coding=coding: [_OK + b"Content-Encoding: " + coding.encode() + b"\r\n\r\n" + PACKERS[coding](_FILL)[:-1], End.FIN], _UNTIL_END, broken(coding))  # type: ignore[misc]
      for coding in PACKERS),
    *(_q(f"{coding}-of-one-byte", "A5", _coded(coding, PACKERS[coding](_FILL)[:1]), _CUT, broken(coding)) for coding in ("gzip", "zstd", "br")),
    _q("outer-br-cut", "A5", _coded("gzip, br", _stacked("gzip", "br")[:-2]), _CUT, broken("br")),
    _q("inner-zstd-cut", "A5", _coded("zstd, gzip", gzip.compress(PACKERS["zstd"](_FILL)[:-4])), _CUT, broken("zstd")),
    _q("br-and-garbage", "A11", _coded("br", brotli.compress(_FILL) + b"garbage"), "Browsers pass over it; or it fails and says so.", either(result(body=_FILL.decode()), broken("br"))),
    _q("br-and-zeros", "A11", _coded("br", brotli.compress(_FILL) + bytes(100)), "Browsers pass over it; or it fails and says so.", either(result(body=_FILL.decode()), broken("br"))),
    _q("zstd-and-garbage", "A11", _coded("zstd", PACKERS["zstd"](_FILL) + b"garbage"), "Not a frame; browsers fail.", either(result(body=_FILL.decode()), broken("zstd"))),
    _q("deflate-and-zeros", "A11", _coded("deflate", zlib.compress(_FILL) + bytes(9)), "curl and browsers pass over it.", result(body=_FILL.decode())),
    _q("deflate-raw-and-a-line", "A11", _coded("deflate", deflated(_FILL, -15) + b"\r\n"), "Browsers pass over it; or it fails and says so.", either(result(body=_FILL.decode()), broken("deflate"))),
    _q("gzip-member-and-half-a-head", "A11", _coded("gzip", gzip.compress(_FILL) + b"\x1f\x8b"), "Another member that is cut, or garbage.", either(result(body=_FILL.decode()), broken("gzip"))),
    _q("gzip-with-every-field", "A11", _coded("gzip", b"\x1f\x8b\x08\x1c" + bytes(6) + b"\x03\0abcname\0comment\0" + deflated(_FILL, -15) + zlib.crc32(_FILL).to_bytes(4, "little") + len(_FILL).to_bytes(4, "little")),
       "Extra field, name and comment (RFC 1952, 2.3.1).", result(body=_FILL.decode())),
    _q("gzip-with-a-tab-before-it", "A11", lambda r: [answer(gzip.compress(r.body), "Content-Encoding:\tgzip\t")], "White space is not part of a value."),
    _q("gzip-in-quotes", "A11", lambda r: [answer(r.body, 'Content-Encoding: "gzip"')], "Not a coding: as it is."),
    _q("gzip-and-an-empty-stored-member", "A11", lambda r: [answer(gzip.compress(r.body) + b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\0\0\xff\xff" + bytes(8), "Content-Encoding: gzip")], "curl #3796 and #22156: some servers end so."),
    _q("zstd-with-a-window-of-128-mib", "A11", _coded("zstd", _wide_frame()), "8 MiB at most (RFC 9659, 3); browsers refuse.", explained("zstd")),
    _q("zstd-in-many-frames", "A11", lambda r: [answer(b"".join(PACKERS["zstd"](bytes([byte])) for byte in r.body), "Content-Encoding: zstd")], "One text (RFC 8878, 3.1; aiohttp #12234, xh #470)."),
    _q("x-deflate", "A11", lambda r: [answer(r.body, "Content-Encoding: x-deflate")], "Not registered: as it is."),
    _q("gzip-206", "A11", lambda r: [answer(gzip.compress(r.body), "Content-Encoding: gzip", "Content-Range: bytes 0-9/10", status=b"206 Partial Content")], "A part that nobody asked for is shown as it came.", result(206)),
    _q("content-range-on-a-200", "A4", plain("Content-Range: bytes 0-4/100"), "It means nothing on a 200 (RFC 9110, 14.4)."),
    _q("content-range-on-a-416", "codes", plain("Content-Range: bytes */100", status=b"416 Range"), "Nothing was asked for in parts.", result(416)),
    _q("gzip-500", "A11", lambda r: [answer(gzip.compress(r.body), "Content-Encoding: gzip", status=b"500 Oops")], "As any other.", result(500)),
    _q("gzip-304", "A11", lambda r: [b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"], "A 304 has no body.", result(304, body="")),
    _q("chunks-of-gzip-members", "A11", lambda r: [_in_chunks(gzip.compress(r.body[:4]) + gzip.compress(b"") + gzip.compress(r.body[4:]), b"Content-Encoding: gzip", piece=1)], "One text of several members (RFC 1952, 2.2)."),
]  # fmt: skip


def _head(*lines: bytes) -> Script:
    return lambda request: [
        b"\r\n".join(
            [b"HTTP/1.1 200 OK", *(line.replace(b"SIZE", b"%d" % len(request.body)) for line in lines), b"", b""]
        )
        + request.body
    ]


def _chunks(size: bytes, end: bytes = b"0\r\n\r\n") -> Script:
    return lambda request: [
        _OK
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + size % len(request.body)
        + b"\r\n"
        + request.body
        + b"\r\n"
        + end,
        End.FIN,
    ]


_CHUNK = explained("chunk", "length", "body", "trailer", "header", "name", "line")
_WIRE = [
    _q("chunk-extension-of-20-kb", "chunks", _chunks(b"%x;a=" + b"b" * 20_000), "curl passes over it; or it names a bound.", either(OWN, _CHUNK)),
    _q("chunk-extension-with-8-bit", "chunks", _chunks(b"%x;a=\xe9"), "Passed over.", either(OWN, _CHUNK)),
    _q("chunk-extension-with-quotes", "chunks", _chunks(b'%x;a="1;2\\"3"'), "Passed over (RFC 9112, 7.1.1)."),
    _q("chunk-extension-with-spaces", "chunks", _chunks(b"%x ; a = b"), "Passed over.", either(OWN, _CHUNK)),
    _q("chunk-size-with-a-tab", "chunks", _chunks(b"\t%x"), "Refused, or taken.", either(OWN, _CHUNK)),
    _q("last-chunk-of-many-zeros", "chunks", _chunks(b"%x", b"00000\r\n\r\n"), "Zero, however it is written."),
    _q("last-chunk-with-an-extension", "chunks", _chunks(b"%x", b"0;a=b\r\n\r\n"), "Passed over."),
    _q("trailer-with-framing", "chunks", _chunks(b"%x", b"0\r\nTransfer-Encoding: chunked\r\nContent-Length: 9999\r\nSet-Cookie: a=b\r\n\r\n"), "Trailers frame nothing (RFC 9110, 6.5)."),
    _q("trailer-without-a-colon", "chunks", _chunks(b"%x", b"0\r\nnonsense\r\n\r\n"), "Passed over, or it fails and says so.", either(OWN, _CHUNK)),
    _q("trailer-of-a-private-answer", "A8", _chunks(b"%x", b"0\r\nCache-Control: private\r\n\r\n"), "Trailers decide nothing."),
    _q("length-and-a-space-before-its-colon", "lengths", _head(b"Content-Length : SIZE", b"Content-Length: SIZE"), "The same twice, or refused.", either(OWN, explained("name", "space", "header", "colon", "length"))),
    _q("length-of-the-same-in-three", "lengths", _head(b"Content-Length: SIZE", b"content-length:SIZE", b"CONTENT-LENGTH: SIZE ,SIZE"), "One value (RFC 9110, 8.6).", either(OWN, explained("length"))),
    _q("length-with-a-vertical-tab", "lengths", _head(b"Content-Length: \x0bSIZE"), "Not a length.", explained("length")),
    _q("length-with-a-semicolon", "lengths", _head(b"Content-Length: SIZE;"), "Not a length.", explained("length")),
    _q("connection-names-the-length", "lengths", _head(b"Content-Length: SIZE", b"Connection: content-length"), "A length all the same."),
    _q("103-after-103-with-a-cookie", "1xx", lambda r: [b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n" * 3 + answer(r.body)], "Interim answers come before the final one."),
    _q("100-with-lf-alone", "1xx", lambda r: [b"HTTP/1.1 100 Continue\n\n" + answer(r.body)], "curl takes it.", either(OWN, explained("line", "lf", "crlf"))),
    _q("100-before-a-redirect", "1xx", lambda r: [b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"", "Location: /there", status=b"302 Found")], "Followed.", result(at="/there")),
    _q("103-before-a-204", "1xx", lambda r: [b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"], "As the 204 alone.", result(204, body="")),
    _q("101-as-http-1.0", "1xx", lambda r: [b"HTTP/1.0 101 Switching Protocols\r\n\r\n", End.FIN], "Nobody asked for it.", either(result(101, body=""), explained("101", "switch"))),
    _q("folded-three-times", "A20", plain(b"X-Name: a\r\n\tb\r\n  c\r\n \r\n d"), "Unfolded (RFC 9112, 5.2), or it fails and says so.", either(OWN, explained("fold", "continu", "name", "header", "space", "colon"))),
    _q("folded-coding", "A20", lambda r: [answer(gzip.compress(r.body), b"Content-Encoding:\r\n gzip")], "Unfolded, or it fails and says so.", either(OWN, explained("fold", "continu", "header", "space"))),
    _q("nul-in-the-reason", "A20", lambda r: [answer(r.body, status=b"200 O\0K")], "curl and Chromium fail.", either(OWN, explained("nul", "status", "line", "reason"))),
    _q("colon-alone-and-spaces", "A20", plain(b" : v"), "Not a field.", either(OWN, explained("name", "header", "fold", "continu", "space"))),
    _q("9-kb-name", "A19", plain(b"X-" + b"n" * 9_000 + b": v"), "curl: 100 KB a line."),
    _q("300-cookies", "A19", plain(*(b"Set-Cookie: n%d=%b" % (number, b"v" * 300) for number in range(300))), "curl: 300 KB in all."),
    _q("cookie-with-8-bit-and-quotes", "A1", plain(b'Set-Cookie: n="caf\xe9; \\"x"; Path=/'), "Opaque bytes."),
    _q("8-bit-in-cache-control", "A1", plain(b"Cache-Control: max-age=\xb2"), "Not a number: not fresh."),
]  # fmt: skip


def _text(
    name: str, content: str, data: bytes, text: str, others: str, kind: str = "A10", exact: bool = True
) -> Quirk:
    return _q(
        name,
        kind,
        _says(data, content),
        others,
        (Right(body=text) if exact else Right(has=text),),
        {"body": "text"},
    )


_P, _H = "text/plain; charset=", "text/html"
_TEXTS = [
    _text("x-user-defined", _P + "x-user-defined", b"a\x80\xff", "a\uf780\uf7ff", "Bytes above 127 in the private use area (WHATWG)."),
    _text("iso-8859-16", _P + "iso-8859-16", b"\xaa\xde", "ȘȚ", "The WHATWG's encodings."),
    _text("iso-8859-8-i", _P + "iso-8859-8-i", "שלום".encode("iso8859-8"), "שלום", "As it is written; iso-8859-8 otherwise."),
    _text("windows-1258", _P + "windows-1258", "Việt".encode("cp1258", "ignore"), "Vit", "The WHATWG's encodings.", exact=False),
    _text("label-with-spaces", 'text/plain; charset=" utf-8 "', "é".encode(), "é", "Labels are trimmed (WHATWG Encoding, 4.2)."),
    _q("charset-in-single-quotes", "A10", _says("é", "text/plain; charset='windows-1251'"), "Not a label, strictly.", (Right(body="é"), Right(body="Г©"))),
    _q("charset-with-spaces-around", "A10", _says("é", "text/plain ; charset = windows-1251"), "Not a parameter, strictly (WHATWG MIME Sniffing, 4.4).", (Right(body="é"), Right(body="Г©"))),
    _text("empty-charset", "text/plain; charset=", "é".encode(), "é", "As none."),
    _text("charset-empty-and-again", "text/plain; charset=; charset=windows-1251", "да".encode("cp1251"), "да", "A parameter without a value is none (WHATWG MIME Sniffing, 4.4)."),
    _text("charset-with-an-escape", 'text/plain; charset="windows\\-1251"', "да".encode("cp1251"), "да", "Quoted pairs (RFC 9110, 5.6.4)."),
    _text("meta-in-a-script", _H, b"<script>var a='<meta charset=windows-1251>';</script><p>\xc3\xa9", "<p>Г©", "The prescan of browsers finds it: it knows no scripts.", "A9", False),
    _text("meta-behind-1024", _H, b"<!--" + b" " * 1100 + b"--><meta charset=windows-1251><p>Gr\xc3\xb6\xc3\x9fe", "<p>Größe", "Beyond what the prescan looks at.", "A9", False),
    _text("meta-with-x-user-defined", _H, b"<meta charset=x-user-defined><p>\x80", "<p>€", "windows-1252 (HTML standard).", "A9", False),
    _text("meta-with-slashes", _H, b"<meta/charset='windows-1251'/><p>" + "да".encode("cp1251"), "<p>да", "As browsers read a tag.", "A9", False),
    _text("xml-in-utf-16-without-a-mark", "application/xml", "<?xml version='1.0' encoding='utf-16'?><p>é</p>".encode("utf-16-le"), "<p>é</p>", "By the pattern of its first bytes (XML 1.0, F).", "A9", False),
    _text("xml-declaration-in-html", _H, b"<?xml version='1.0' encoding='windows-1251'?><p>" + "да".encode("cp1251"), "<p>да", "As browsers do since 2021.", "A9", False),
    _text("bom-of-utf-16be-over-utf-16le", _P + "utf-16le", b"\xfe\xff\0h\0i", "hi", "A BOM wins.", exact=False),
    _text("bom-over-shift-jis", _P + "shift_jis", b"\xef\xbb\xbf\xe6\x97\xa5", "日", "A BOM wins.", exact=False),
    _text("bom-twice", _P + "utf-8", b"\xef\xbb\xbf\xef\xbb\xbfhi", "\ufeffhi", "One is the mark, the other a character.", exact=False),
    _text("bom-over-replacement", _P + "iso-2022-kr", b"\xef\xbb\xbfhi", "hi", "A BOM wins.", exact=False),
    _text("odd-utf-16", _P + "utf-16", b"h\0i\0x", "hi\ufffd", "The byte that is left over is replaced."),
    _text("utf-8-beyond-unicode", _P + "utf-8", b"a\xf4\x90\x80\x80b", "a\ufffd\ufffd\ufffd\ufffdb", "One sign for each byte (WHATWG Encoding)."),
    _text("utf-8-overlong", _P + "utf-8", b"a\xc0\xafb", "a\ufffd\ufffdb", "Not UTF-8."),
    _text("gb18030-cut-in-four", _P + "gb18030", b"a\x81\x30\x81", "a\ufffd", "What is not whole at the end is one bad place.", exact=False),
    _text("euc-kr-bad-lead", _P + "euc-kr", b"<b\xff>\xc7\xd1", "<b\ufffd>한", "ASCII is never swallowed."),
    _text("big5-swallowed-bracket", _P + "big5", b"\x81<p>\xa4\xa4", "\ufffd<p>中", "ASCII is never swallowed."),
]  # fmt: skip


def _watch(name: str, kind: str, script: Script, others: str, body: str | None, select: str) -> Quirk:
    expected = (("state", body),) if body is not None else (("error", None),)
    return Quirk(name, kind, script, others, (), watching=Watching((expected,), select))


_J, _X = "application/json", "application/xml"
_FEED = "<feed xmlns:m='urn:m'><entry><m:name>a &amp; b</m:name><title><![CDATA[1 < 2]]></title></entry></feed>"
_DOCUMENTS = [
    _watch("pointer-integer-of-5000-digits", "A18", _says('{"n": ' + "7" * 5000 + "}", _J), "Passed on exactly.", "7" * 5000, "/n"),
    _watch("pointer-negative-zero", "A18", _says('{"n": -0}', _J), "Passed on exactly.", "-0", "/n"),
    _watch("pointer-huge-exponent", "A18", _says('{"n": 1E+400}', _J), "Passed on exactly.", "1E+400", "/n"),
    _watch("pointer-object-with-integers", "A18", _says('{"o": {"b":12345678901234567890124,"a":[1.0,1e2]}}', _J), "Passed on exactly.", '{"b":12345678901234567890124,"a":[1.0,1e2]}', "/o"),
    _watch("pointer-lone-surrogate", "A18", _says('{"s": "a\\ud83dz"}', _J), "Passed on as it was written: half a pair cannot be decoded.", '"a\\ud83dz"', "/s"),
    _watch("pointer-surrogate-pair", "A18", _says('{"s": "\\ud83d\\ude00"}', _J), "Passed on as it was written.", '"\\ud83d\\ude00"', "/s"),
    _watch("pointer-escaped-nul", "A18", _says('{"s": "a\\u0000b"}', _J), "Passed on as it was written.", '"a\\u0000b"', "/s"),
    _watch("pointer-with-a-leading-zero", "A18", _says("[1, 2]", _J), "Not an index (RFC 6901, 4).", None, "/01"),
    _watch("pointer-behind-the-last", "A18", _says("[1, 2]", _J), "Nothing is there (RFC 6901, 4).", None, "/-"),
    _watch("pointer-in-json-with-nan", "A18", _says('{"a": NaN, "b": 1}', _J), "Not JSON.", None, "/b"),
    _watch("pointer-in-json-with-a-comma", "A18", _says('{"a": 1,}', _J), "Not JSON.", None, "/a"),
    _watch("pointer-in-two-documents", "A18", _says('{"a": 1}\n{"a": 2}\n', _J), "Not one document.", None, "/a"),
    _watch("pointer-in-a-problem", "A18", _says('{"status": 404}', "application/problem+json; charset=utf-8"), "JSON by its suffix.", "404", "/status"),
    _watch("pointer-in-latin-1", "A18", _says(json.dumps({"a": "é"}, ensure_ascii=False).encode("latin-1"), _J + "; charset=iso-8859-1"), "As HTTP says, where it is not UTF-8.", '"é"', "/a"),
    _watch("select-xml-prefix", "A16", _says(_FEED, _X), "Names of XML have a prefix.", "a & b", "m|name, name"),
    _watch("select-xml-cdata-with-signs", "A16", _says(_FEED, _X), "CDATA is text.", "1 < 2", "entry > title"),
    _watch("select-xml-own-entity", "A16", _says("<!DOCTYPE a [<!ENTITY e 'x'>]><a><b>1&e;2</b></a>", _X), "The document's own entity is expanded, or left out whole.", "1x2", "b"),
    _watch("select-xml-numeric-entities", "A16", _says("<a><b>&#x41;&#66;&lt;</b></a>", _X), "Characters by number.", "AB<", "b"),
    _watch("select-xml-instruction", "A16", _says("<?xml-stylesheet href='x'?><a><?php 1 ?><b>one</b></a>", _X), "Instructions are not text.", "one", "b"),
    _watch("select-rdf-title", "A16", _says("<rdf:RDF xmlns:rdf='r' xmlns='http://purl.org/rss/1.0/'><item><title>one</title></item></rdf:RDF>", "application/rdf+xml"), "XML by its suffix.", "one", "item > title"),
    _watch("select-svg-title", "A16", _says("<svg xmlns='http://www.w3.org/2000/svg'><title>one</title></svg>", "image/svg+xml"), "XML by its suffix.", "one", "title"),
    _watch("select-noscript", "A17", _says("<p>one<noscript>two</noscript></p>", _H), "As a reader with scripts sees it.", "one", "p"),
    _watch("select-hidden-nonce", "A17", _says("<p>one<script nonce=abc>1</script><style>x{}</style></p>", _H), "Scripts and styles are not text.", "one", "p"),
    _watch("select-table-cells", "A17", _says("<table><tr><th>a<td>1<tr><th>b<td>2</table>", _H), "Cells are apart.", "a 1 b 2", "table"),
]  # fmt: skip


def _twice(name: str, kind: str, *lines: str, cache: tuple[str, ...], others: str) -> Quirk:
    """Ask twice; the outcome of the second."""
    asks = (Ask(), Ask(right=(Right(cache=cache),)))
    return Quirk(name, kind, plain(*lines), others, asks)


_FRESH, _NOT = ("hit",), ("miss", "revalidated")
_CACHING = [
    _twice("max-age-in-quotes", "A22", 'Cache-Control: max-age="60"', cache=(*_FRESH, *_NOT), others="Recipients take both forms (RFC 9111, 5.2)."),
    _twice("private-with-a-field", "A8", 'Cache-Control: private="x-user", max-age=60', cache=_NOT, others="May be taken as private alone."),
    _twice("private-after-a-quoted-comma", "A8", 'Cache-Control: ext="a, max-age=60", private', cache=_NOT, others="A comma in quotes parts nothing."),
    _twice("no-store-upper-case-behind-max-age", "A8", "cache-control: max-age=60", "CACHE-CONTROL: NO-STORE", cache=_NOT, others="One list."),
    _twice("must-understand", "A22", "Cache-Control: no-store, must-understand, max-age=60", cache=(*_NOT, *_FRESH), others="RFC 9111, 5.2.2.3."),
    _twice("max-age-1e3", "A22", "Cache-Control: max-age=1e3", cache=_NOT, others="Not a number."),
    _twice("max-age-with-a-plus", "A22", "Cache-Control: max-age=+60", cache=_NOT, others="Not a number."),
    _twice("max-age-with-a-space", "A22", "Cache-Control: max-age =60", cache=_NOT, others="Not a directive."),
    _twice("vary-cookie", "A8", "Cache-Control: max-age=60", "Vary: Cookie", cache=(*_FRESH, *_NOT), others="Neither sent one."),
    _twice("two-set-cookies", "A8", "Cache-Control: max-age=60", "set-cookie: a=b", "SET-COOKIE: c=d", cache=_NOT, others="A cookie is for one client."),
    _twice("age-with-a-fraction", "A22", "Cache-Control: max-age=60", "Age: 59.9", cache=(*_FRESH, *_NOT), others="Not a number: passed over, or stale."),
    _twice("age-negative", "A22", "Cache-Control: max-age=60", "Age: -70", cache=(*_FRESH, *_NOT), others="Not a number."),
    _twice("expires-in-two-digits", "A22", "Expires: Sunday, 06-Nov-94 08:49:37 GMT", cache=_NOT, others="RFC 850's form (RFC 9110, 5.6.7)."),
    _twice("expires-asctime", "A22", "Expires: Sun Nov  6 08:49:37 1994", cache=_NOT, others="asctime's form, in UTC."),
    _twice("vary-all-in-a-second-line", "A8", "Cache-Control: max-age=60", "Vary: Accept", "Vary: *", cache=_NOT, others="Never the same."),
]  # fmt: skip


def _moved(*locations: bytes, status: bytes = b"302 Found") -> Script:
    return lambda request: [answer(b"", *(b"Location: " + one for one in locations), status=status)]


_MOVES = [
    _q("two-locations-that-differ", "A3", _moved(b"/a", b"/b"), "Refused; browsers too.", explained("location")),
    _q("location-on-a-201", "A3", lambda r: [answer(r.body, "Location: /there", status=b"201 Created")], "Not a redirect.", result(201)),
    _q("location-with-three-slashes", "A3", lambda r: [answer(b"", b"Location: http:///" + (r.header("host") or b"") + b"/there", status=b"302 Found")], "Browsers pass over them (curl #12147).", either(result(at="/there"), fails("invalid_url"))),
    _q("location-with-tabs-behind-a-folder", "A3", _moved(b"/there/" + b"\t" * 40 + b"x"), "Browsers drop tabs (curl #12147).", either(result(at="/there/x"), result(at="/there/" + "%09" * 40 + "x"), fails("invalid_url"))),
    _q("redirect-until-a-cookie-comes", "redirects", lambda r: [answer(r.body)] if r.header("cookie") else [answer(b"", "Location: /q/redirect-until-a-cookie-comes", "Set-Cookie: seen=1", status=b"302 Found")],
       "Cookies are not kept: it ends at the bound (LWP::Protocol::Net::Curl #5, Jackett #15134).", fails("redirects")),
    _q("length-0", "lengths", lambda r: [answer(b"", "X-None:")], "Whole at once (AtomVM #2272).", result(body="")),
    _q("location-dot", "A3", _moved(b"."), "The folder (RFC 3986, 5.4).", result(at="/q/")),
    _q("location-two-dots", "A3", _moved(b".."), "The folder above (RFC 3986, 5.4).", result(at="/")),
    _q("location-parameters-alone", "A3", _moved(b";x=1"), "A relative path (RFC 3986, 5.4.1).", result(at="/q/;x=1")),
    _q("location-query-and-fragment", "A3", _moved(b"/there?a=b#c?d"), "The fragment is not sent.", result(at="/there?a=b", final="/there?a=b#c?d")),
    _q("location-with-a-line-of-lf", "A3", _moved(b"/the\nre"), "Not one header.", either(result(at="/the"), explained("line", "header", "name", "colon"))),
    _q("308-to-itself-and-then-there", "A3", visits(_moved(b"", status=b"308 Perm"), _moved(b"/there", status=b"308 Perm")), "An empty Location leads nowhere.", either(result(308, body=""), result(at="/there"))),
    _q("redirect-with-gzip-that-is-cut", "A5", lambda r: [answer(gzip.compress(_FILL)[:9], "Content-Encoding: gzip", "Location: /there", status=b"301 Moved")], "Its body is not needed.", result(at="/there")),
    _q("303-with-two-lengths", "A20", lambda r: [answer(b"", "Location: /there", "Content-Length: 5", status=b"303 See")], "Framing that contradicts itself.", either(result(at="/there"), explained("length"))),
]  # fmt: skip

QUIRKS = [*_CODINGS, *_WIRE, *_TEXTS, *_DOCUMENTS, *_CACHING, *_MOVES]
