"""Answers as servers really send them, in pieces of any size: what is read is the same, and so is what is refused."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from service.upstream.http1.errors import ProtocolError, ServerDisconnected
from service.upstream.http1.head import _LINES, _NAMES, LONGEST_HEAD, LONGEST_LINE, MOST_FIELDS, parse_head
from service.upstream.http1.reader import ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
KEPT = 15.0


@dataclass
class Read:
    """What happened to one answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep: float
    done: bool


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Yield the same bytes in pieces of several sizes."""
    yield [data]
    for size in (1, 2, 3, 7) if len(data) < 5000 else (1000, 4099):
        yield [data[at : at + size] for at in range(0, len(data), size)]


def read_in(pieces: list[bytes], *, end: bool, head: bool) -> Read:
    reader, body = ResponseReader(bodiless=head), b""
    for piece in pieces:
        more = reader.feed(piece)
        while more:
            more = reader.feed(b"")
        body += reader.read()
    if end:
        reader.end(whole=True)
    assert reader.head is not None, "no head"
    assert reader.size == 0
    return Read(reader.head.status, reader.head.headers, body, reader.keep, reader.done)


def read(data: bytes, *, end: bool = False, head: bool = False) -> Read:
    """Return what is read, the same for all pieces."""
    first, *others = [read_in(pieces, end=end, head=head) for pieces in cuts(data)]
    assert all(other == first for other in others)
    return first


def refused(data: bytes, *, end: bool = False) -> str:
    """Return why it is refused, the same for all pieces."""
    texts = set()
    for pieces in cuts(data):
        with pytest.raises(ProtocolError) as caught:
            read_in(pieces, end=end, head=False)
        texts.add(str(caught.value))
    return min(texts)


# Heads.


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200 OK", 200),
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.1 200 ", 200),
        (b"HTTP/1.1  404  Not   Found", 404),
        (b"HTTP/1.1\t503\tx", 503),
        (b"http/1.1 200 OK", 200),
        (b"HTTP/1.1 200 \xe9t\xe9 \xff\x01", 200),
        (b"HTTP/1.9 200 OK", 200),
        (b"HTTP/1.1 999 What", 999),
        (b"\r\n\r\nHTTP/1.1 200 OK", 200),
    ],
)
def test_a_status_line_is_read_as_browsers_read_it(line: bytes, status: int) -> None:
    for end in (b"\r\n", b"\n"):
        found = read(line + end + b"Content-Length: 2" + end + end + b"ok")
        assert (found.status, found.body, found.done) == (status, b"ok", True)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"220 mail.example ESMTP\r\n", "FTP or SMTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS alert: it expects https"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", "HTTP/2"),
        (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00", "HTTP/2"),
        (b"<html>hello</html>", "HTTP/0.9"),
        (b"hello\n", "does not begin with HTTP/ but with 'hello"),
        (b"ICY 200 OK\r\n", "does not begin with HTTP/"),
        (b"HTTPS/1.1 200 OK\r\n\r\n", "does not begin with HTTP/"),
        (b"\r\n" * 20, "empty lines"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "status line is malformed: 'HTTP/1.1 abc OK'"),
        (b"HTTP/1.1\r\n\r\n", "status line is malformed"),
        (b"HTTP/1.1 20\r\n\r\n", "status line is malformed"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "status line is malformed"),
        (b"HTTP/1.1 -20 OK\r\n\r\n", "status line is malformed"),
        (b"HTTP/1.1 099 Low\r\n\r\n", "below 100"),
        (b"HTTP/2 200\r\n\r\n", "status line is malformed"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "the answer is in HTTP/2.0"),
        (OK + b"X: a\0b\r\n\r\n", "NUL"),
        (OK + b"X\0Y: a\r\n\r\n", "NUL"),
    ],
)
def test_what_is_not_an_answer_is_refused_with_the_reason(data: bytes, text: str) -> None:
    reasons = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        with pytest.raises(ProtocolError) as caught:
            read_in(pieces, end=False, head=False)
        reasons.append(str(caught.value))
    assert text in reasons[0]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"X-Name: r\xe9n\xff", "x-name", "r\xe9n\xff"),
        ('X-Name: "€1"'.encode(), "x-name", '"€1"'.encode().decode("latin-1")),
        (b"X:", "x", ""),
        (b"X:a", "x", "a"),
        (b"X: \t a b \t", "x", "a b"),
        (b"X: a:b", "x", "a:b"),
        (b"X : a", "x", "a"),
        (b"X\t: a", "x", "a"),
        (b"X Y: a", "x y", "a"),
        (b"X\xc9\xe9: a", "x\xc9\xe9", "a"),
        (b"X(y): a", "x(y)", "a"),
        (b"X: a\r\n b\r\n\t c", "x", "a b c"),
        (b"X:\r\n a", "x", "a"),
        (b"X: a\r\n \t", "x", "a"),
        (b"X: a\rb", "x", "a b"),
        (b"X: a\x01\x7f", "x", "a\x01\x7f"),
        (b"X: a\r\nx: b\r\nX: c", "x", "a, b, c"),
    ],
)
def test_a_field_keeps_what_its_bytes_say(line: bytes, name: str, value: str) -> None:
    found = read(OK + line + b"\r\nContent-Length: 2\r\n\r\nok")
    assert found.headers == {name: value, "content-length": "2"}
    assert found.body == b"ok"


@pytest.mark.parametrize("line", [b"no colon here", b": no name", b" : b", b"\t folded onto nothing"])
def test_a_line_without_a_name_is_passed_over(line: bytes) -> None:
    found = read(OK + line + b"\r\nContent-Length: 2\r\n\r\nok")
    assert (found.headers, found.body) == ({"content-length": "2"}, b"ok")


def test_an_end_of_line_that_is_lf_alone_is_one_and_the_first_empty_line_ends_the_head() -> None:
    assert read(b"HTTP/1.1 200 OK\nA: b\r\nContent-Length: 5\n\nb: c\n").body == b"b: c\n"
    assert read(b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 5\n\r\nb\r\n\r\n").body == b"b\r\n\r\n"


def test_every_header_is_there_up_to_bounds_that_are_named() -> None:
    line, fields = b"v" * (LONGEST_LINE - 10), b"".join(b"x-%d: y\r\n" % n for n in range(MOST_FIELDS - 1))
    assert len(read(OK + b"X: " + line + b"\r\nContent-Length: 0\r\n\r\n").headers["x"]) == LONGEST_LINE - 10
    assert len(read(OK + fields + b"Content-Length: 0\r\n\r\n").headers) == MOST_FIELDS
    assert "more than 5,000 header fields" in refused(OK + fields + b"A: b\r\nContent-Length: 0\r\n\r\n")
    for tail in (b"", b"\r\n\r\n"):
        assert "line in the head of the answer is longer than 100 KiB" in refused(OK + b"X: " + line * 2 + tail)
        many = (b"X: " + b"v" * 900 + b"\r\n") * (LONGEST_HEAD // 900)
        assert "head of the answer is longer than 300 KiB" in refused(OK + many + tail)


def test_a_head_that_comes_byte_by_byte_costs_no_more_than_its_size() -> None:
    reader = ResponseReader()
    head = OK + b"X: " + b"v" * 90_000 + b"\r\nContent-Length: 0\r\n\r\n"
    for at in range(len(head)):
        reader.feed(head[at : at + 1])
    assert reader.done


def test_repeated_fields_cost_no_more_than_their_size() -> None:
    found = read(OK + b"x: yy\r\n" * 4000 + b"Content-Length: 0\r\n\r\n")
    assert found.headers["x"] == ", ".join(["yy"] * 4000)


# Answers before the answer.


def test_interim_answers_are_passed_over_up_to_a_bound() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n"
    found = read(early + OK + b"Content-Length: 2\r\n\r\nok")
    assert (found.status, found.body, found.keep) == (200, b"ok", KEPT)
    assert "answers of 1xx" in refused(b"HTTP/1.1 100 Continue\r\n\r\n" * 101)
    assert "answers of 1xx" in refused((b"HTTP/1.1 100 C\r\nX: " + b"v" * 9000 + b"\r\n\r\n") * 40)


def test_a_switch_of_protocols_is_an_answer_and_ends_the_connection() -> None:
    found = read(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    assert (found.status, found.done, found.keep) == (101, True, 0.0)


# Bodies.


@pytest.mark.parametrize(("status", "head"), [(204, False), (304, False), (200, True), (404, True)])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_some_answers_have_no_body_and_what_comes_after_them_ends_the_connection(
    status: int, head: bool, framing: bytes
) -> None:
    answer = b"HTTP/1.1 %d x\r\n" % status + framing + b"\r\n"
    found = read(answer, head=head)
    assert (found.body, found.done, found.keep) == (b"", True, KEPT)
    late = read(answer + b"hello", head=head)
    assert (late.body, late.done, late.keep) == (b"", True, 0.0)


@pytest.mark.parametrize(
    "length", [b"5", b"05", b"5, 5", b"5 ,\t5", b"5\r\nContent-Length: 5", b"5\r\ncontent-length: 005", b" 5 "]
)
def test_a_declared_length_is_taken_and_more_ends_the_connection(length: bytes) -> None:
    answer = OK + b"Content-Length: " + length + b"\r\n\r\nhello"
    assert read(answer) == Read(200, read(answer).headers, b"hello", KEPT, True)
    more = read(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nWRONG")
    assert (more.body, more.done, more.keep) == (b"hello", True, 0.0)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (b"-5", "not a number: '-5'"),
        (b"+5", "not a number"),
        (b"0x5", "not a number"),
        (b"5.0", "not a number"),
        (b"5 5", "not a number"),
        (b"", "not a number"),
        (b"5,", "not a number"),
        (b"\xb2", "not a number"),
        (b"5, 6", "different values"),
        (b"5\r\nContent-Length: 6", "different values"),
        (b"99999999999999999999", "larger than any body"),
        (b"9" * 5000, "larger than any body"),
    ],
)
def test_a_length_that_is_not_certain_is_refused(length: bytes, text: str) -> None:
    assert text in refused(OK + b"Content-Length: " + length + b"\r\n\r\nhello")


def test_both_framings_at_once_are_refused() -> None:
    both = OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert "both Transfer-Encoding and Content-Length" in refused(both)


def test_a_body_that_is_cut_short_is_refused_and_says_what_is_missing() -> None:
    assert "broke off, 45 bytes before its end" in refused(OK + b"Content-Length: 50\r\n\r\nhello", end=True)
    for cut in (b"", b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0"):
        assert "broke off" in refused(OK + b"Transfer-Encoding: chunked\r\n\r\n" + cut, end=True)


def test_a_body_without_length_ends_with_the_connection_and_not_by_its_breaking() -> None:
    found = read(OK + b"\r\nto the end", end=True)
    assert (found.body, found.done, found.keep) == (b"to the end", True, 0.0)
    reader = ResponseReader()
    reader.feed(OK + b"\r\nhalf")
    with pytest.raises(ProtocolError, match="the body broke off: the connection broke"):
        reader.end(whole=False, why="the connection broke")


def test_an_end_before_the_head_tells_whether_anything_came() -> None:
    for data, silent in (
        (b"", True),
        (b"\r\n", True),
        (b"H", False),
        (OK, False),
        (b"HTTP/1.1 100\r\n\r\n", False),
    ):
        reader = ResponseReader()
        reader.feed(data)
        with pytest.raises(ServerDisconnected) as caught:
            reader.end(whole=True)
        assert caught.value.silent is silent


# Chunks.

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n",
        b'5 ;a="b"\r\nhello\r\n0\r\n\r\n',
        b"5  \r\nhello\r\n0 \r\n\r\n",
        b"0000000000000000000005\r\nhello\r\n000\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-Trailer: a\r\nno colon\r\n\r\n",
    ],
)
def test_chunks_are_put_together(chunks: bytes) -> None:
    found = read(CHUNKED + chunks)
    assert (found.body, found.done, found.keep) == (b"hello", True, KEPT)
    assert "x-trailer" not in found.headers
    assert read(CHUNKED + chunks + b"H").keep == 0.0


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        (b"zz\r\n", "size is malformed"),
        (b"-5\r\nhello\r\n", "size is malformed"),
        (b"0x5\r\nhello\r\n", "size is malformed"),
        (b" 5\r\nhello\r\n", "size is malformed"),
        (b"\r\n", "size is malformed"),
        (b";a\r\n", "size is malformed"),
        (b"5 5\r\nhello\r\n", "size is malformed"),
        (b"5\rx\r\nhello\r\n", "size is malformed"),
        (b"fffffffffffffffff\r\nhello\r\n", "size is malformed"),
        (b"5\r\nhelloworld\r\n0\r\n\r\n", "longer than its size says"),
        (b"5\r\nhello0\r\n\r\n", "longer than its size says"),
        (b"5;" + b"x" * 20_000 + b"\r\nhello\r\n", "longer than 16 KiB"),
        ((b"1;" + b"x" * 5000 + b"\r\nh\r\n") * 30, "longer than their data"),
        (b"0\r\n" + (b"X: " + b"v" * 5000 + b"\r\n") * 30, "trailers are longer than 64 KiB"),
    ],
)
def test_chunks_that_are_not_are_refused(chunks: bytes, text: str) -> None:
    assert text in refused(CHUNKED + chunks)


def test_a_last_chunk_is_the_end_even_where_the_connection_ends_too() -> None:
    for cut in (b"0\r\n", b"0\r\n\r", b"0\r\nX: y\r\n"):
        found = read(CHUNKED + b"5\r\nhello\r\n" + cut, end=True)
        assert (found.body, found.done, found.keep) == (b"hello", True, 0.0)


def test_a_size_alone_adds_no_piece() -> None:
    """A reader takes an empty piece for the end of the body."""
    reader = ResponseReader()
    for data in (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n", b""):
        reader.feed(data)
        assert reader.pieces == []
    reader.feed(b"hello")
    assert (reader.read(), reader.done) == (b"hello", False)


def test_small_chunks_are_read_in_turns() -> None:
    reader, turns = ResponseReader(), 1
    more = reader.feed(CHUNKED + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n")
    while more:
        more = reader.feed(b"")
        turns += 1
    assert (reader.read(), reader.done, turns > 2) == (b"x" * 10_000, True, True)


@pytest.mark.parametrize(
    ("value", "end"), [(b"identity", True), (b"", True), (b"Chunked", False), (b",chunked", False)]
)
def test_transfer_codings_that_are_usual(value: bytes, end: bool) -> None:
    body = b"hello" if end else b"5\r\nhello\r\n0\r\n\r\n"
    assert read(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body, end=end).body == b"hello"


@pytest.mark.parametrize("value", [b"chunked, gzip", b"chunked, chunked", b"chunked\r\nTransfer-Encoding: chunked"])
def test_chunked_is_last_and_once(value: bytes) -> None:
    assert "chunked must be last" in refused(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n")


# Whether the connection is kept.


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\n", KEPT),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nConnection: closed\r\n", KEPT),
        (b"HTTP/1.0 200 OK\r\n", 0),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", KEPT),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\n", 4),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: max=3, Timeout = 1\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\n", KEPT),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: nonsense\r\n", KEPT),
    ],
)
def test_a_connection_is_kept_as_the_server_says(head: bytes, keep: float) -> None:
    assert read(head + b"Content-Length: 2\r\n\r\nok").keep == keep


def test_chunks_of_http_1_0_are_read_and_end_the_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = read(head + b"5\r\nhello\r\n0\r\n\r\n")
    assert (found.body, found.done, found.keep) == (b"hello", True, 0.0)


def test_names_that_only_one_server_has_are_kept_to_a_bound_and_usual_ones_always() -> None:
    """As faraday 1698 has it: who sends new names for ever must not fill the memory."""
    for number in range(0, 6000, 100):
        fields = "".join(f"X-{one}: {one}\r\n" for one in range(number, number + 100))
        head = parse_head(f"HTTP/1.1 200 OK\r\n{fields}{'X' * 100}: long\r\nETag: e\r\n".encode())
        assert (head.headers[f"x-{number}"], head.headers["x" * 100], head.headers["etag"]) == (
            str(number),
            "long",
            "e",
        )
    assert len(_NAMES) <= 2000
    assert "X" * 100 not in _NAMES
    assert _NAMES["ETag"] == "etag"


def test_lines_that_come_again_are_read_once_and_remembered_to_a_bound() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Same:  a \r\nX-Other: %d\r\nX-Long: %b"
    first, second = (parse_head(head % (number, b"v" * 300)).headers for number in range(2))
    assert first == {"x-same": "a", "x-other": "0", "x-long": "v" * 300}
    assert second == first | {"x-other": "1"}
    assert second["x-same"] is first["x-same"]
    for number in range(0, 3000, 50):
        lines = "".join(f"X: {number}\r\n" if not one else f"X-{one}: {number}\r\n" for one in range(50))
        assert len(parse_head(f"HTTP/1.1 200 OK\r\n{lines}Y: z".encode()).headers) == 51
    assert len(_LINES) <= 1000
    assert not any(len(line) > 200 for line in _LINES)


@pytest.mark.parametrize("odd", ["X", ": v", " X: folded", "X : v", "X:v", "X: a\rb", "X: a\nY: b", "X: \x85"])
def test_a_line_that_is_not_plainly_a_field_is_read_as_it_was_the_first_time(odd: str) -> None:
    texts = [f"HTTP/1.1 200 OK\r\nA: b\r\n{odd}".encode("latin-1")] * 2
    first, second = map(parse_head, texts)
    assert first.headers == second.headers
    assert first.headers["a"].startswith("b")
    assert "" not in first.headers
