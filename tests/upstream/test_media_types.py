"""Values of Content-Type: those of the standards, and others that servers send."""

import pytest

from service.upstream.content.media_types import media_type


@pytest.mark.parametrize(
    ("written", "essence", "charset"),
    [
        (None, "", None),
        ("", "", None),
        ("text/html", "text/html", None),
        ("Text/HTML;Charset=UTF-8", "text/html", "UTF-8"),
        ('text/html; Charset="ISO-8859-1"', "text/html", "ISO-8859-1"),
        (r'text/html; charset="utf\-8"', "text/html", "utf-8"),
        ("text/html; charset='utf-8'", "text/html", "utf-8"),
        ("text/html ; charset = utf-8 ", "text/html", "utf-8"),
        ("text/html;charset=utf-8;charset=latin1", "text/html", "utf-8"),
        ("text/html; charset=; charset=utf-8", "text/html", "utf-8"),
        ("text/html;;; ;x; charset=utf-8;", "text/html", "utf-8"),
        ('multipart/mixed; boundary="; charset=latin1"; charset=utf-8', "multipart/mixed", "utf-8"),
        ('text/plain; x="a\\"; charset=latin1', "text/plain", None),
        ('text/plain; charset="utf-8', "text/plain", "utf-8"),
        ("text/plain; xcharset=latin1; charset-x=latin1", "text/plain", None),
        # Several, in one line or joined from many: the last counts, and keeps the charset of its like.
        ("text/html; charset=utf-8, text/html", "text/html", "utf-8"),
        ("text/html, text/html; charset=utf-8", "text/html", "utf-8"),
        ("text/plain; charset=latin1, text/html", "text/html", None),
        ("text/html; charset=utf-8, */*", "text/html", "utf-8"),
        ('text/html; x=","; charset=utf-8', "text/html", "utf-8"),
        # A malformed type still says its charset.
        ("charset=utf-8", "", None),
        ("; charset=utf-8", "", "utf-8"),
        ("html; charset=utf-8", "", "utf-8"),
        ("text/html/x; charset=utf-8", "", "utf-8"),
        ("text/h\xe9; charset=utf-8", "", "utf-8"),
        ("text/html; charset=\xe9\x00", "text/html", "\xe9\x00"),
    ],
)
def test_what_is_written(written: str | None, essence: str, charset: str | None) -> None:
    assert media_type(written) == (essence, charset)


@pytest.mark.parametrize(
    ("essence", "kinds"),
    [
        ("text/html", "html text"), ("application/xhtml+xml", "xml text"), ("image/svg+xml", "xml text"),
        ("text/xml", "xml text"), ("application/rss+xml", "xml text"), ("application/json", "json text"),
        ("application/ld+json", "json text"), ("text/json", "json text"), ("text/csv", "text"),
        ("application/javascript", "text"), ("image/png", ""), ("application/octet-stream", ""), ("", ""),
    ],
)  # fmt: skip
def test_of_which_kind_it_is(essence: str, kinds: str) -> None:
    kind = media_type(essence)
    assert [name for name in ("html", "xml", "json", "text") if getattr(kind, name)] == kinds.split()


@pytest.mark.parametrize("part", ['"', "\\", '"\\', ";", ",", "=", "'", "a/b;c=", '";="', " ,"])
def test_a_long_one_takes_no_time_to_speak_of(part: str) -> None:
    media_type(part * 16_000)
