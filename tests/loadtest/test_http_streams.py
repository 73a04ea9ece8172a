"""Streams over HTTP: chunks cut anywhere, events in any spelling, and the short cut that agrees with the parser."""

import asyncio
from argparse import Namespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.body import ArrivingBody, BadBody
from loadtest.endpoint import endpoint_of
from loadtest.http_streams import EventStream, LineStream, Stream
from loadtest.payloads import MARKER, Payloads, payload
from loadtest.read_cache import ReadCache

RUN = "0123abcd"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True


def opened(kind: type[Stream], reads: ReadCache) -> tuple[Stream, list[int], list[bytes]]:
    plain = Namespace(
        url="http://h:81", header=[], token="", ca="", cert="", key="", insecure=False, sni="", compress=False
    )
    stream = kind(endpoint_of(plain), "/events?x=1", (), reads)
    numbers: list[int] = []
    texts: list[bytes] = []
    stream.on_run = lambda first, count, now: numbers.extend(range(first, first + count))
    stream.on_text = lambda _, text: texts.append(text)
    stream.connection_made(cast("asyncio.BaseTransport", Transport()))
    return stream, numbers, texts


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int, end: bytes = b"\n") -> bytes:
    return end.join((b"id: %d" % number, b"data: " + payload(RUN, number, 5.0, 100), b"", b""))


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.integers(1, 9))
def test_chunks_are_taken_off_wherever_reads_end(parts: list[bytes], step: int) -> None:
    data, body = b"".join(map(chunk, parts)) + b"0\r\n\r\n", ArrivingBody(chunked=True)
    content = b"".join(body.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert content == b"".join(parts)
    assert body.ended


@pytest.mark.parametrize("data", [b"x\r\n", b"1" * 2000, b"-5\r\nabc"])
def test_invalid_chunks_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(BadBody):
        ArrivingBody(chunked=True).feed(data)


@given(step=st.integers(1, 400), end=st.sampled_from([b"\n", b"\r\n"]))
def test_events_are_found_wherever_reads_end(step: int, end: bytes) -> None:
    reads = ReadCache(Payloads(MARKER, run=RUN))
    for _ in range(2):
        stream, numbers, texts = opened(EventStream, reads)
        data = HEAD % b"text/event-stream; charset=utf-8" + chunk(b": hello" + end * 2)
        data += b"".join(chunk(event(number, end)) for number in range(1, 6)) + chunk(event(6, end) + event(7, end))
        for at in range(0, len(data), step):
            stream.data_received(data[at : at + step])
        assert numbers == [1, 2, 3, 4, 5, 6, 7]
        assert texts == [b": hello"]


def test_a_known_read_is_not_taken_inside_another() -> None:
    reads = ReadCache(Payloads(MARKER, run=RUN))
    first, numbers, _ = opened(EventStream, reads)
    first.data_received(HEAD % b"text/event-stream")
    first.data_received(chunk(event(1)))
    assert reads.small[chunk(event(1))] == (1, 1)
    second, numbers, _ = opened(EventStream, reads)
    second.data_received(HEAD % b"text/event-stream" + b"%x\r\ndata:" % (len(chunk(event(1))) + 7))
    assert second.rest
    second.data_received(chunk(event(1)) + b"\n\n\r\n")
    assert numbers == [1]


def test_lines_are_messages() -> None:
    stream, numbers, texts = opened(LineStream, ReadCache(Payloads(MARKER, run=RUN)))
    body = payload(RUN, 1, 5.0, 80) + b"\n" + payload(RUN, 2, 5.0, 80) + b"\r\n" + b'{"event":"ping"}\n'
    stream.data_received(HEAD % b"application/x-ndjson" + chunk(body))
    assert (numbers, texts) == ([1, 2], [b'{"event":"ping"}'])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "text/html"),
        (b"SSH-2.0\r\n\r\n", "refused"),
    ],
)
async def test_other_answers_are_refusals(answer: bytes, said: str) -> None:
    stream, _, _ = opened(EventStream, ReadCache(Payloads(MARKER)))
    stream._ready = asyncio.get_running_loop().create_future()
    stream.data_received(answer)
    assert said in str(stream._ready.exception())


def test_the_request_has_its_headers() -> None:
    stream, _, _ = opened(EventStream, ReadCache(Payloads(MARKER)))
    written = cast("Transport", stream.transport).written
    assert written.startswith(b"GET /events?x=1 HTTP/1.1\r\nHost: h:81\r\nAccept: text/event-stream\r\n")
