"""Bodies in JSON: text where it is text, base64 where it is not, and always something that can be written."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.upstream.bodies import encode_body


def test_text_by_its_charset() -> None:
    assert encode_body("é".encode("latin-1"), "auto", "ISO-8859-1") == ("iso-8859-1", "é")
    assert encode_body("é".encode(), "auto", None) == ("utf-8", "é")
    assert encode_body("日本".encode("shift_jis"), "auto", "Shift_JIS") == ("shift_jis", "日本")


def test_what_is_no_text_is_base64() -> None:
    assert encode_body(b"\xff\x00", "auto", None) == ("base64", "/wA=")
    assert encode_body(b"a\x00b", "auto", "utf-8") == ("base64", "YQBi")


def test_the_asker_decides() -> None:
    assert encode_body(b"abc", "none", None) == (None, None)
    assert encode_body(b"abc", "base64", None) == ("base64", "YWJj")
    assert encode_body(b"a\xff", "text", None) == ("utf-8", "a\ufffd")


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "rot13", "zlib", "unicode_escape", "../../x", "utf-8-sig", ""]
)
def test_a_header_cannot_choose_just_any_codec(charset: str) -> None:
    assert encode_body(b"abc", "auto", charset) == ("utf-8", "abc")


@given(
    body=st.binary(max_size=200),
    mode=st.sampled_from(["auto", "text", "base64"]),
    charset=st.sampled_from(
        [None, "utf-8", "utf-16", "utf-16le", "latin-1", "gb18030", "iso-2022-jp", "cp9999", "x"]
    ),
)
def test_whatever_comes_can_be_written(body, mode, charset) -> None:  # type: ignore[no-untyped-def]
    encoding, text = encode_body(body, mode, charset)
    assert text is not None
    orjson.dumps(text)
    if encoding == "base64":
        assert base64.b64decode(text) == body
