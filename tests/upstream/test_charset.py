"""Which encoding a body is in: its mark, HTTP, the document, and what is made of the rest. Byte by byte."""

import codecs
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.upstream.content import encodings
from service.upstream.content.charset import DecodedText, read_text
from service.upstream.content.encodings import decode, encoding_of
from service.upstream.content.labels import LABELS

HTML, XML, PLAIN = "text/html", "application/xml", "text/plain"


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "text"),
    [
        # A byte order mark wins over everything, and does not belong to the text.
        (b"\xef\xbb\xbf\xc3\xa9", "text/html; charset=iso-8859-1", "utf-8", "é"),
        (b"\xff\xfea\0\xe9\0", "text/html; charset=utf-8", "utf-16le", "aé"),
        (b"\xfe\xff\0a\0\xe9", None, "utf-16be", "aé"),
        (b"\xef\xbb\xbf<?xml version='1.0' encoding='latin1'?>\xc3\xa9", XML, "utf-8", "<?xml version='1.0' encoding='latin1'?>é"),
        # Then HTTP.
        (b'<meta charset="utf-8">\xe9', "text/html; charset=latin1", "windows-1252", '<meta charset="utf-8">é'),
        (b"\xc3\xa9", "text/html; charset=UTF8", "utf-8", "é"),
        (b"<?xml version='1.0' encoding='utf-8'?>\xe9", "text/xml;charset=iso-8859-1", "windows-1252", "<?xml version='1.0' encoding='utf-8'?>é"),
        (b"\x80", "text/plain; charset=iso-8859-1", "windows-1252", "€"),
        (b"\x81", "text/plain; charset=ascii", "windows-1252", "\x81"),
        (b"\xfd", "text/plain; charset=iso-8859-9", "windows-1254", "\u0131"),
        (b"\x80\xa1", "text/plain; charset=tis-620", "windows-874", "€ก"),
        (b"\x87\x40", "text/plain; charset=shift_jis", "shift_jis", "①"),
        (b"\x81\x60", "text/plain; charset=sjis", "shift_jis", "\uff5e"),
        (b"\xad\xa1", "text/plain; charset=euc-jp", "euc-jp", "①"),
        (b"\x1b$B-!F|\x1b(B.\x1b(J\\\x1b(IC", "text/plain; charset=iso-2022-jp", "iso-2022-jp", "①日.¥ﾃ"),
        (b"\x80\x81\x30\x81\x30", "text/plain; charset=gb2312", "gbk", "€\x80"),
        (b"\x81\x41", "text/plain; charset=ks_c_5601-1987", "euc-kr", "갂"),
        (b"\x87\x40", "text/plain; charset=big5", "big5", "䏰"),
        (b"a\0\xe9\0", "text/plain; charset=utf-16", "utf-16le", "aé"),
        (b"\x80", "text/plain; charset=x-user-defined", "x-user-defined", "\uf780"),
        # A label that nobody knows says nothing.
        (b"\xc3\xa9", "text/plain; charset=none", "utf-8", "é"),
        (b"+AOk-", "text/plain; charset=utf-7", "utf-8", "+AOk-"),
        # Then the document.
        (b"<meta charset=iso-8859-5>\xe0", HTML, "iso-8859-5", "<meta charset=iso-8859-5>\u0440"),
        # JSON is UTF-8, 16 or 32, even if its headers say otherwise.
        (b'"\xc3\xa9"', "application/json; charset=latin1", "utf-8", '"é"'),
        (b'"\xe9"', "application/json; charset=latin1", "windows-1252", '"é"'),
        (b'"\0\xe9\0"\0', "application/json", "utf-16le", '"é"'),
        (b'\0"\0\xe9\0"', "application/json", "utf-16be", '"é"'),
        (b'\xff\xfe"\0', "application/json", "utf-16le", '"'),
        (b'"\0\0\0\xe9\0\0\0', "application/json", "utf-32le", '"é'),
        (b'\xff\xfe\0\0"\0\0\0', "application/json", "utf-32le", '"'),
        (b'\0\0\xfe\xff\0\0\0"', "application/json", "utf-32be", '"'),
        (b'\xef\xbb\xbf"\xc3\xa9"', "application/json", "utf-8", '"é"'),
        # XML without a mark.
        ("<?xml version='1.0'?>é".encode("utf-16-le"), XML, "utf-16le", "<?xml version='1.0'?>é"),
        ("<a>é".encode("utf-16-be"), XML, "utf-16be", "<a>é"),
        # What says nothing is UTF-8, or else windows-1252, unless hardly any of it is bad.
        (b"\xc3\xa9", HTML, "utf-8", "é"),
        (b"caf\xe9 \x93na\xefve\x94", HTML, "windows-1252", "café “naïve”"),
        (b"caf\xe9", PLAIN, "windows-1252", "café"),
        ("Größe, Maß".encode() + b" \xe9", HTML, "utf-8", "Größe, Maß \ufffd"),
        (b"caf\xe9", None, "utf-8", "caf\ufffd"),
    ],
)  # fmt: skip
def test_which_encoding(body: bytes, content_type: str | None, encoding: str, text: str) -> None:
    read = read_text(body, content_type)
    assert (read.encoding, read.text) == (encoding, text)


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b'<meta charset="koi8-r">', "koi8-r"),
        (b"<META CharSet = 'KOI8-R' >", "koi8-r"),
        (b"<meta/charset=koi8-r/>", None),
        (b"<meta/charset=koi8-r />", "koi8-r"),
        (b"<meta\ncharset=koi8-r>", "koi8-r"),
        (b'<meta name=x charset="koi8-r" charset=utf-8>', "koi8-r"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        (b"<meta content='text/html; charset = \"koi8-r\"' http-equiv=content-type>", "koi8-r"),
        (b'<meta http-equiv=content-type content="charset charset=koi8-r;x">', "koi8-r"),
        (b'<meta content="text/html; charset=koi8-r">', None),
        (b'<meta http-equiv=refresh content="0; charset=koi8-r">', None),
        (b'<meta charset="utf-16">', "utf-8"),
        (b'<meta charset="utf-16be">', "utf-8"),
        (b'<meta charset="x-user-defined">', "windows-1252"),
        (b'<meta charset="none"><meta charset="koi8-r">', "koi8-r"),
        (b'<!-- <meta charset="koi8-r"> -->', None),
        (b'<!--><meta charset="koi8-r">', "koi8-r"),
        (b'<!-- x --><meta charset="koi8-r">', "koi8-r"),
        (b'<!-- never closed <meta charset="koi8-r">', None),
        (b'<a title="<meta charset=koi8-r>">', None),
        (b"<a title='>'><meta charset=koi8-r>", "koi8-r"),
        (b"</a title='<meta charset=koi8-r>'>", None),
        (b"<!doctype '<meta charset=koi8-r'>", None),
        (b"<?php <meta charset=koi8-r ?>", None),
        (b"<metadata charset=koi8-r>", None),
        (b"< meta charset=koi8-r>", None),
        (b"<meta charset=koi8-r", None),
        (b"<p>".ljust(1000) + b"<meta charset=iso-8859-15>", None),
        (b'<meta charset="koi8-r', None),
        (b"<p>" * 300 + b"<meta charset=koi8-r>", "koi8-r"),
        (b"<p>" * 400 + b"<meta charset=koi8-r>", None),
        (b"<?xml version='1.0' encoding='koi8-r'?>", "koi8-r"),
        (b"<?xml encoding='koi8-r'?><meta charset=utf-8>", "utf-8"),
        ("<?xml version='1.0'?>".encode("utf-16-le"), "utf-16le"),
    ],
)  # fmt: skip
def test_what_html_says_of_itself(head: bytes, encoding: str | None) -> None:
    read = read_text(head, HTML)
    assert (read.encoding if read.declared else None) == encoding


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b'<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        (b"<?xml version='1.0' encoding = 'KOI8-R' standalone='yes'?>", "koi8-r"),
        (b"\n<?xml version='1.0' encoding='koi8-r'?>", "koi8-r"),
        (b"<?xml version='1.0' encoding='UTF-16'?>", "utf-8"),
        (b"<?xml version='1.0'?><a encoding='koi8-r'/>", None),
        (b"<?xml version='1.0' encoding='none'?>", None),
        (b"<a/><?xml encoding='koi8-r'?>", None),
        (b'<html><meta charset="koi8-r"/>', None),
    ],
)
def test_what_xml_says_of_itself(head: bytes, encoding: str | None) -> None:
    read = read_text(head, XML)
    assert (read.encoding if read.declared else None) == encoding


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        # One bad place is one U+FFFD, and what follows is read as if it were not there.
        (b"a\xffb\xc3\xa9", "utf-8", "a\ufffdbé"),
        (b"\xe3\x81<\xc3\xa9", "utf-8", "\ufffd<é"),
        (b"\x93\xfa\x81\xad\x96\x7b", "shift_jis", "日\ufffd本"),
        (b"\x93\xfa\x81<b>\x96\x7b", "shift_jis", "日\ufffd<b>本"),
        (b"\x93\xfa\xa0\xfd\x96\x7b", "shift_jis", "日\ufffd\ufffd本"),
        (b"\xc6\xfc\xf5\xa1\xcb\xdc", "euc-jp", "日\ufffd本"),
        (b"\xc6\xfc\x8f\xa1\xa1\xcb\xdc", "euc-jp", "日\ufffd本"),
        (b"\xc6\xfc\xcb\"\xcb\xdc", "euc-jp", "日\ufffd\"本"),
        (b"\x1b$BF|~~K\\\x1b(B\xe9.", "iso-2022-jp", "日\ufffd本\ufffd."),
        (b"\xb0\xa1\xc9\xff\xb0\xa1", "euc-kr", "가\ufffd가"),
        (b"\xa4\xe9\x81\x80\xa5\xbb", "big5", "日\ufffd本"),
        (b"\xc8\xd5\xfe\xff\xb1\xbe", "gb18030", "日\ufffd本"),
        (b"\xc8\xd5\x84\x31\xa5\x31\xb1\xbe", "gb18030", "日\ufffd本"),
        (b"a\0\0\xd8b\0", "utf-16le", "a\ufffdb"),
        (b"\xa1\xd2\xaa", "windows-1253", "΅\u03a2".replace("\u03a2", "\ufffd") + "\ufffd"),
    ],
)  # fmt: skip
def test_the_bad_bytes_alone_are_replaced(body: bytes, encoding: str, text: str) -> None:
    assert decode(body, encoding) == (text, False)


@pytest.mark.parametrize(
    ("text", "encoding", "codec"),
    [
        ("aé日😀", "utf-8", "utf-8"), ("aé日😀", "utf-16le", "utf-16-le"), ("a日本語", "shift_jis", "cp932"),
        ("a日本語", "euc-jp", "euc_jp"), ("a日本語", "iso-2022-jp", "iso2022_jp"), ("a한국어", "euc-kr", "cp949"),
        ("a中文𠀀", "gb18030", "gb18030"), ("a中文", "big5", "big5"),
    ],
)  # fmt: skip
def test_a_body_may_be_cut_anywhere(text: str, encoding: str, codec: str) -> None:
    body = text.encode(codec)
    for end in range(len(body)):
        read, exact = decode(body[:end], encoding, cut=True)
        assert exact
        assert text.startswith(read)
        assert len(read) >= len(body[:end].decode(codec, "ignore"))


def test_every_label_has_a_decoder_and_no_other_name_has() -> None:
    for label, name in LABELS.items():
        assert encoding_of(f"\t{label.upper()} ") == name
        if name != "replacement":
            assert decode(b"a" * 4, name)[0]
    for label in ("idna", "punycode", "unicode_escape", "rot13", "zlib", "utf-7", "utf-32", "../x", "", "x" * 9999):
        assert encoding_of(label) is None
    assert encoding_of(None) is None


@pytest.mark.parametrize("label", ["iso-2022-kr", "hz-gb-2312", "iso-2022-cn", "replacement"])
def test_what_is_not_safe_to_read_is_not_read(label: str) -> None:
    assert read_text(b"~{<:Ky2;~}", f"text/html; charset={label}") == DecodedText(
        "replacement", "\ufffd", False, True
    )


def test_many_bad_places_cost_no_more_than_the_codec_takes() -> None:
    for encoding in ("shift_jis", "euc-jp", "euc-kr", "big5", "gb18030"):
        text, exact = decode(b"\xa0\xff" * 20_000, encoding)
        assert not exact
        assert "\ufffd" in text
    assert not decode(b"\x1b$B\x1b(B\xff" * 20_000, "iso-2022-jp")[1]


@given(
    body=st.binary(max_size=60),
    encoding=st.sampled_from(sorted(set(LABELS.values()) - {"replacement"})),
    cut=st.booleans(),
)
def test_any_bytes_decode_to_a_text(body: bytes, encoding: str, cut: bool) -> None:
    text, exact = decode(body, encoding, cut=cut)
    assert exact == ("\ufffd" not in text) or (encoding.startswith(("utf", "gb")) and exact)
    text.encode()  # without lone surrogates


def test_the_standards_own_example_of_two_marks() -> None:
    assert read_text(codecs.BOM_UTF8 * 2 + b"a", None).text == "\ufeffa"


@pytest.mark.parametrize("encoding", ["big5", "euc-jp", "euc-kr", "gb18030", "shift_jis"])
def test_a_body_with_thousands_of_bad_places_is_not_mended_in_each_of_them(encoding: str) -> None:
    repair = encodings._REPAIRS[encoding]
    few, many = b"\x81\n" * 1_500, b"\x81\n" * 100_000
    assert encodings.decode(few, encoding) == ("\ufffd\n" * 1_500, False)
    assert repair.calls == 1_500
    assert encodings.decode(many, encoding) == ("\ufffd\n" * 100_000, False)
    assert repair.calls <= 2_001
    assert repair.bad <= 2_000


def test_iso_2022_jp_with_thousands_of_escapes_and_a_bad_byte_is_read_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces = Counter[str]()
    read = encodings._PairDecoder.decode

    def counted(decoder: encodings._PairDecoder, piece: bytes, *, final: bool) -> tuple[str, bool]:
        pieces[decoder._encoding] += 1
        return read(decoder, piece, final=final)

    monkeypatch.setattr(encodings._PairDecoder, "decode", counted)
    kana = b"\x1b$B$\x22\x1b(B"
    assert encodings.decode(kana * 700 + b"\xff", "iso-2022-jp") == ("\u3042" * 700 + "\ufffd", False)
    assert pieces.total() == 700
    assert encodings.decode(kana * 5000 + b"\xff", "iso-2022-jp") == ("\u3042" * 5000 + "\ufffd", False)
    assert pieces.total() == 700


@pytest.mark.parametrize("encoding", ["big5", "euc-jp", "euc-kr", "gb18030", "gbk", "shift_jis"])
@pytest.mark.parametrize("count", [1_498, 1_499, 1_500, 1_501, 1_502])
def test_as_many_bad_places_as_are_mended_and_half_a_character_at_the_end(encoding: str, count: int) -> None:
    text, exact = encodings.decode(b"\xff " * count + b"\x8f", encoding)
    assert not exact
    assert text.count("\ufffd") == count + 1
