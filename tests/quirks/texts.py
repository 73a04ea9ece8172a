"""Texts: A9 and A10. What bytes mean is decided by a BOM, HTTP and meta, in the WHATWG's encodings."""

from collections.abc import Mapping

from tests.quirks.model import Ask, Quirk, Request, Right, Step, answer

__all__ = ["QUIRKS"]


def _q(
    name: str,
    kind: str,
    content: str,
    data: bytes,
    text: str,
    others: str,
    options: Mapping[str, object] | None = None,
    exact: bool = True,
) -> Quirk:
    def script(request: Request) -> list[Step]:
        return [answer(data, *([f"Content-Type: {content}"] if content else []))]

    right = Right(body=text) if exact else Right(has=text)
    return Quirk(name, kind, script, others, (Ask(right=(right,), options=options or {}),))


_AS_TEXT = {"body": "text"}
_STANDARD = "The WHATWG's encodings, as browsers decode."
_BOM = "A BOM wins (WHATWG Encoding, 6)."
_META = "The order of the HTML standard: BOM, HTTP, meta."
_P = "text/plain; charset="
_H = "text/html"

QUIRKS = [
    _q("shift-jis-superset", "A10", _P + "shift_jis", b"\x87\x40 \x93\xfa\x96\x7b \xed\x40", "① 日本 纊", _STANDARD),
    _q("shift-jis-with-a-bad-byte", "A10", _P + "shift_jis", b"\x93\xfa\xff\x96\x7b", "日\ufffd本", "Only the bad byte is replaced.", _AS_TEXT),
    _q("x-sjis", "A10", _P + "x-sjis", b"\x93\xfa\x96\x7b", "日本", _STANDARD),
    _q("windows-31j", "A10", _P + "windows-31j", b"\x87\x40", "①", _STANDARD),
    _q("latin-1-as-windows-1252", "A10", _P + "iso-8859-1", b"\x93quoted\x94 \x80", "“quoted” €", _STANDARD),
    _q("ascii-as-windows-1252", "A10", _P + "us-ascii", b"caf\xe9 \x96", "café \u2013", _STANDARD),
    _q("latin-9", "A10", _P + "iso-8859-15", b"\xa4", "€", _STANDARD),
    _q("latin-5-as-windows-1254", "A10", _P + "iso-8859-9", b"\xfe\x80", "ş€", _STANDARD),
    _q("windows-1251", "A10", _P + "windows-1251", "привет".encode("cp1251"), "привет", _STANDARD),
    _q("koi8-u", "A10", _P + "koi8-u", "привіт".encode("koi8-u"), "привіт", _STANDARD),
    _q("thai-as-windows-874", "A10", _P + "tis-620", b"\xca\x85", "ส…", _STANDARD),
    _q("gb2312-as-gbk", "A10", _P + "gb2312", "镕".encode("gbk"), "镕", _STANDARD),
    _q("gbk-with-four-bytes", "A10", _P + "gbk", "㐂".encode("gb18030"), "㐂", _STANDARD),
    _q("gbk-euro", "A10", _P + "gbk", b"\x80", "€", _STANDARD),
    _q("gb18030", "A10", _P + "gb18030", "😀".encode("gb18030"), "😀", _STANDARD),
    _q("big5-hkscs", "A10", _P + "big5", "嘅".encode("big5hkscs"), "嘅", _STANDARD),
    _q("euc-kr-as-cp949", "A10", _P + "euc-kr", "똠".encode("cp949"), "똠", _STANDARD),
    _q("ks-c-5601", "A10", _P + "ks_c_5601-1987", "한글".encode("cp949"), "한글", _STANDARD),
    _q("euc-jp", "A10", _P + "euc-jp", "日本".encode("euc-jp"), "日本", _STANDARD),
    _q("iso-2022-jp", "A10", _P + "iso-2022-jp", "日本".encode("iso2022-jp"), "日本", _STANDARD),
    _q("utf8-without-a-dash", "A10", _P + "utf8", "é".encode(), "é", _STANDARD),
    _q("unicode-1-1-utf-8", "A10", _P + "unicode-1-1-utf-8", "é".encode(), "é", _STANDARD),
    _q("x-mac-roman", "A10", _P + "x-mac-roman", b"\x8e", "é", "macintosh by its old name."),
    _q("utf-16-label", "A10", _P + "utf-16", "é日".encode("utf-16-le"), "é日", "utf-16 is little-endian (WHATWG)."),
    _q("utf-16be-label", "A10", _P + "utf-16be", "é日".encode("utf-16-be"), "é日", _STANDARD),
    _q("utf-16-with-half-a-pair", "A10", _P + "utf-16le", b"a\x00\x00\xd8b\x00", "a\ufffdb", "Only the bad unit is replaced; an event can always be encoded.", _AS_TEXT),
    _q("quoted-charset", "A10", 'text/plain; charset="windows-1251"', "да".encode("cp1251"), "да", "RFC 9110, 5.6.6."),
    _q("charset-in-upper-case", "A10", "TEXT/PLAIN; CHARSET=WINDOWS-1251", "да".encode("cp1251"), "да", "No case."),
    _q("charset-after-others", "A10", "text/plain; format=flowed; charset=windows-1251; delsp=yes", "да".encode("cp1251"), "да", "RFC 9110, 8.3.1."),
    _q("charset-twice", "A10", "text/plain; charset=windows-1251; charset=utf-8", "да".encode("cp1251"), "да", "The first (WHATWG MIME Sniffing, 4.4)."),
    _q("charset-with-a-semicolon", "A10", "text/plain; charset=windows-1251;", "да".encode("cp1251"), "да", "Passed over."),
    _q("unknown-charset", "A10", _P + "nonsense", "é".encode(), "é", "As none."),
    _q("utf-7", "A10", _P + "utf-7", b"+ADw-script+AD4-", "+ADw-script+AD4-", "Nobody decodes it any more."),
    _q("codec-of-python", "A10", _P + "punycode", b"bcher-kva", "bcher-kva", "Python's other codecs are not charsets."),
    _q("codec-that-is-none", "A10", _P + "zlib", b"plain", "plain", "As none."),
    _q("bom-over-latin-1", "A10", _P + "iso-8859-1", b"\xef\xbb\xbfGr\xc3\xb6\xc3\x9fe", "Größe", _BOM, exact=False),
    _q("bom-over-windows-1251", "A10", _P + "windows-1251", b"\xef\xbb\xbf\xd0\xb4", "д", _BOM, exact=False),
    _q("bom-of-utf-16-over-utf-8", "A10", _P + "utf-8", b"\xff\xfeh\x00i\x00\xe9\x00", "hié", _BOM, exact=False),
    _q("bom-of-utf-16be-alone", "A10", "text/plain", b"\xfe\xff\x00h\x00i", "hi", _BOM, exact=False),
    _q("bom-of-utf-8-alone", "A10", "text/plain", b"\xef\xbb\xbfh\xc3\xa9", "hé", _BOM, exact=False),
    _q("bad-byte-in-utf-8", "A10", _P + "utf-8", b"a\xffb\xc3\xa9", "a\ufffdbé", "Only the bad byte is replaced.", _AS_TEXT),
    _q("cut-utf-8", "A10", _P + "utf-8", b"caf\xc3", "caf\ufffd", "Only the bad byte is replaced.", _AS_TEXT),
    _q("cesu-8", "A10", _P + "utf-8", b"\xed\xa0\xbd\xed\xb8\x80", "\ufffd" * 6, "Surrogates are not UTF-8; one sign for each byte.", _AS_TEXT),
    _q("meta-charset", "A9", _H, b"<meta charset=windows-1251><p>" + "привет".encode("cp1251"), "<p>привет", _META, exact=False),
    _q("meta-http-equiv", "A9", _H, b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>' + "да".encode("cp1251"), "<p>да", _META, exact=False),
    _q("meta-in-single-quotes", "A9", _H, b"<META CHARSET='Windows-1251'><p>" + "да".encode("cp1251"), "<p>да", _META, exact=False),
    _q("meta-under-http", "A9", _H + "; charset=utf-8", "<meta charset=windows-1251><p>Größe".encode(), "<p>Größe", _META, exact=False),
    _q("meta-utf-16", "A9", _H, '<meta charset="utf-16"><p>Größe'.encode(), "<p>Größe", "A meta that can be read says utf-16 wrongly: UTF-8.", exact=False),
    _q("meta-in-a-comment", "A9", _H, "<!-- <meta charset=windows-1251> --><p>Größe".encode(), "<p>Größe", _META, exact=False),
    _q("xml-declaration", "A9", "application/xml", "<?xml version='1.0' encoding='windows-1251'?><p>да</p>".encode("cp1251"), "<p>да</p>", "XML 1.0, 4.3.3.", exact=False),
    _q("xml-declaration-under-http", "A9", "text/xml; charset=utf-8", "<?xml version='1.0' encoding='windows-1251'?><p>да</p>".encode(), "<p>да</p>", "HTTP wins (RFC 7303, 3).", exact=False),
    _q("json-with-a-bom", "A18", "application/json", b'\xef\xbb\xbf{"a":1}', '{"a":1}', "Passed over (RFC 8259, 8.1).", exact=False),
    _q("nul-in-a-text", "A10", _P + "utf-8", b"a\0b", "a\0b", "Not text, or a text with a NUL."),
]  # fmt: skip
