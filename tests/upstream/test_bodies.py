"""Bodies in JSON: text where it is text, base64 where it is not, and always something that can be written."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.fetching.outcome import Fetched
from service.upstream.content.result_events import encode_body, result_event
from tests.upstream.servers import policy_for, target_of

GZIP = bytes.fromhex("1f8b0800a0b1c2d302034b4c4a0600c2412435")


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "text"),
    [
        (b"\xe9", "text/plain; charset=ISO-8859-1", "windows-1252", "é"),
        (b"\xc3\xa9", None, "utf-8", "é"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "shift_jis", "日本"),
        (b"", None, "utf-8", ""),
        (b"\x01\x02", "application/octet-stream", "utf-8", "\x01\x02"),
        # A text with bad bytes is a text, as in a browser, where it is said to be one.
        (b"a\xffb", "text/plain; charset=utf-8", "utf-8", "a\ufffdb"),
        (b'{"a":"\xff"}', "application/json", "utf-8", '{"a":"\ufffd"}'),
        (b"<a>\xff</a>", "application/rss+xml; charset=utf-8", "utf-8", "<a>\ufffd</a>"),
        (b"<meta charset=utf-8>\xff", "text/html", "utf-8", "<meta charset=utf-8>\ufffd"),
        (b"caf\xe9", "text/plain", "windows-1252", "café"),
    ],
)
def test_text_is_sent_as_text(body: bytes, content_type: str | None, encoding: str, text: str) -> None:
    assert encode_body(body, "auto", content_type) == (encoding, text)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff\x00", None),
        (b"a\x00b", "text/plain; charset=utf-8"),
        (b"a\x00b", None),
        (b"\xff\xfea\0\0\0", None),
        (b"caf\xe9", None),
        (b"caf\xe9", "image/png; charset=utf-8"),
        (b"caf\xe9", "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\x89PNG\r\n\x1a\n", "image/png; charset=iso-8859-1"),
        (GZIP.replace(b"\0", b"\1"), "text/plain"),
        (GZIP, "text/html; charset=utf-8"),
        (b"\xff\xfe\xd8", None),
        (b"~{<:Ky2;~}", "text/plain; charset=hz-gb-2312"),
    ],
)
def test_bytes_that_are_not_text_are_sent_as_base64(body: bytes, content_type: str | None) -> None:
    assert encode_body(body, "auto", content_type) == ("base64", base64.b64encode(body).decode())


@pytest.mark.parametrize("charset", ["utf-8", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "utf-16le"])
def test_where_a_body_is_cut_makes_no_other_kind_of_it(charset: str) -> None:
    body = ("a\u4e00" * 3).encode(charset if charset != "euc-kr" else "cp949")
    for end in range(len(body)):
        for content_type in (f"text/plain; charset={charset}", *([None] if charset == "utf-8" else [])):
            encoding, text = encode_body(body[:end], "auto", content_type, cut=True)
            assert (encoding, text) == (charset, ("a\u4e00" * 3)[: len(text or "")])


def test_a_result_that_is_cut_in_a_character_is_a_text() -> None:
    target = target_of("http://127.0.0.1:8080/", policy_for(8080))
    for truncated, reported in ((True, ("utf-8", "a")), (False, ("base64", "YcM="))):
        fetched = Fetched(200, target, {}, b"a\xc3", truncated=truncated)
        event = result_event(0, "http://127.0.0.1:8080/", fetched, "auto", 1, "miss", 0.0)
        assert (event["encoding"], event["body"]) == reported


def test_the_asker_decides() -> None:
    assert encode_body(b"abc", "none", None) == (None, None)
    assert encode_body(b"abc", "base64", "text/plain") == ("base64", "YWJj")
    assert encode_body(b"a\xff", "text", None) == ("utf-8", "a\ufffd")
    assert encode_body(b"a\0", "text", None) == ("utf-8", "a\0")
    assert encode_body(b"a\xff", "text", "text/plain; charset=iso-2022-kr") == ("utf-8", "a\ufffd")


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "rot13", "zlib", "unicode_escape", "../../x", "utf-8-sig", ""]
)
def test_a_header_cannot_choose_just_any_codec(charset: str) -> None:
    assert encode_body(b"abc", "auto", f"text/plain; charset={charset}") == ("utf-8", "abc")


@given(
    body=st.binary(max_size=200),
    mode=st.sampled_from(["auto", "text", "base64"]),
    kind=st.sampled_from(["text/html", "text/xml", "application/json", "image/png", ""]),
    charset=st.sampled_from(["", "utf-8", "utf-16", "latin-1", "gb18030", "iso-2022-jp", "euc-jp", "cp9999", "x"]),
    cut=st.booleans(),
)
def test_any_result_can_be_written(body, mode, kind, charset, cut) -> None:  # type: ignore[no-untyped-def]
    encoding, text = encode_body(body, mode, f"{kind};charset={charset}", cut=cut)
    assert text is not None
    orjson.dumps(text)
    if encoding == "base64":
        assert base64.b64decode(text) == body
