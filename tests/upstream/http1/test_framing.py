"""Where a body ends and for how long its connection is kept, decided from the head alone."""

import pytest

from service.upstream.http1.errors import ProtocolError
from service.upstream.http1.head import Head, parse_head
from service.upstream.http1.reader import CHUNKED, UNTIL_CLOSE, framing_of


def head(*lines: str, status: int = 200, minor: int = 1) -> Head:
    return parse_head("\r\n".join((f"HTTP/1.{minor} {status} X", *lines, "", "")).encode())


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ((), (UNTIL_CLOSE, 0.0, ())),
        (("Content-Length: 5",), (5, 15.0, ())),
        (("Content-Length: 5, 05",), (5, 15.0, ())),
        (("Content-Length: 0",), (0, 15.0, ())),
        (("Transfer-Encoding: chunked",), (CHUNKED, 15.0, ())),
        (("Transfer-Encoding: gzip, chunked",), (CHUNKED, 15.0, ("gzip",))),
        (("Transfer-Encoding: identity",), (UNTIL_CLOSE, 0.0, ())),
        (("Transfer-Encoding: gzip",), (UNTIL_CLOSE, 0.0, ("gzip",))),
        (("Content-Length: 5", "Connection: close"), (5, 0.0, ())),
        (("Content-Length: 5", "Connection: x, CLOSE"), (5, 0.0, ())),
        (("Content-Length: 5", "Connection: upgrade"), (5, 15.0, ())),
        (("Content-Length: 5", "Keep-Alive: timeout=5, max=9"), (5, 4.0, ())),
        (("Content-Length: 5", "Keep-Alive: timeout=0"), (5, 0.0, ())),
        (("Content-Length: 5", "Keep-Alive: timeout=900"), (5, 15.0, ())),
        (("Content-Length: 5", "Keep-Alive: max=9"), (5, 15.0, ())),
    ],
)
def test_what_the_head_says(lines: tuple[str, ...], found: tuple[int, float, tuple[str, ...]]) -> None:
    assert framing_of(head(*lines), bodiless=False) == found


@pytest.mark.parametrize(
    ("lines", "kept"), [((), 0.0), (("Connection: Keep-Alive",), 15.0), (("Connection: x, keep-alive",), 15.0)]
)
def test_a_server_of_http_1_0_has_to_say_that_it_keeps_a_connection(lines: tuple[str, ...], kept: float) -> None:
    assert framing_of(head("Content-Length: 5", *lines, minor=0), bodiless=False) == (5, kept, ())


def test_what_a_server_of_http_1_0_says_of_chunks_is_read_and_its_connection_is_not_kept() -> None:
    lines = ("Transfer-Encoding: chunked", "Connection: keep-alive")
    assert framing_of(head(*lines, minor=0), bodiless=False) == (CHUNKED, 0.0, ())


@pytest.mark.parametrize(("status", "bodiless", "kept"), [(204, False, 15.0), (304, False, 15.0), (200, True, 15.0), (103, False, 0.0)])  # fmt: skip
def test_answers_without_a_body_have_none(status: int, bodiless: bool, kept: float) -> None:
    assert framing_of(head("Content-Length: 5", status=status), bodiless=bodiless) == (0, kept, ())


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("Content-Length: 5", "Transfer-Encoding: chunked"), "both"),
        (("Transfer-Encoding: chunked, gzip",), "last"),
        (("Transfer-Encoding: chunked, chunked",), "last"),
        (("Content-Length: 5, 6",), "different"),
        (("Content-Length: -5",), "not a number"),
        (("Content-Length: 5,",), "not a number"),
        (("Content-Length: " + "9" * 19,), "larger than any"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[str, ...], named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        framing_of(head(*lines), bodiless=False)
