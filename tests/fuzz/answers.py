"""The reader of upstreams' answers, fed with anything in pieces of any size.

Any input is an answer or a declared failure, the same for every way to cut it. What is well-formed is what
it was made from, and what ``http.client`` reads in it.
"""

import http.client
import io
import re
import zlib
from dataclasses import dataclass

from service.upstream.http1.codings import Decoding, codings_of
from service.upstream.http1.errors import ProtocolError, ServerDisconnected
from service.upstream.http1.reader import ResponseReader

__all__ = ["answers"]

_STRICT = re.compile(
    rb"HTTP/1\.[01] [2-5]\d\d [ -~]*\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[!-~](?:[ -~]*[!-~])?\r\n)*\r\n"
)
_FRAMING = re.compile(rb"(?i)^(?:content-length|transfer-encoding): ?(.*)\r$", re.MULTILINE)
_STEPS = 2000


@dataclass
class Read:
    """What happened to the bytes."""

    status: int = 0
    headers: dict[str, str] | None = None
    body: bytes = b""
    keep: float = 0.0
    whole: bool = False
    failed: type[Exception] | None = None


def answers(data: bytes) -> None:
    """The first byte says how to cut the rest, the second whether it is bytes or a plan for an answer."""
    if len(data) < 2:
        return
    if data[1] & 1:
        data, expected = made_from(data[2:])
    else:
        data, expected = data[2:], None
    found = read(data, len(data) or 1)
    for size in (1, sum(data[:3]) % 13 + 2):
        assert read(data, size) == found, "the pieces make a difference"
    if expected is not None:
        assert found.failed is None
        assert (found.body, found.whole) == (expected, True)
    elif found.whole:
        compare(data, found)
    decode(found)


def read(data: bytes, size: int) -> Read:
    """Feed pieces of this size; at their end the server closes the connection."""
    reader, found, body = ResponseReader(), Read(), []
    try:
        for at in range(0, len(data), size):
            more = reader.feed(data[at : at + size])
            while more:
                more = reader.feed(b"")
            assert reader.size == sum(map(len, reader.pieces))
            body.append(reader.read())
        ended = reader.done
        reader.end(whole=True)
        found.whole = reader.done
        # Whether an end without its last empty line is noticed before the connection ends is not the same.
        found.keep = reader.keep if ended else 0.0
    except (ProtocolError, ServerDisconnected) as failure:
        found.failed = type(failure)
        return found
    assert reader.head is not None
    found.status, found.headers, found.body = reader.head.status, reader.head.headers, b"".join(body)
    assert 100 <= found.status <= 999
    assert all(name and name == name.strip(" \t") for name in found.headers)
    assert not any(set(name + value) & set("\r\n\0") for name, value in found.headers.items())
    return found


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def compare(data: bytes, found: Read) -> None:
    """Have ``http.client`` read what is strictly right, and find the same."""
    head = _STRICT.match(data)
    if head is None:
        return
    framing = _FRAMING.findall(head[0])
    if len(framing) > 1 or (framing and not (framing[0].isdigit() or framing[0].lower() == b"chunked")):
        return
    if found.status in (204, 304) and framing:
        # No body comes with these (RFC 9112, section 6.3), and http.client reads chunks all the same.
        return
    answer = http.client.HTTPResponse(_Socket(data), method="GET")  # type: ignore[arg-type]
    try:
        answer.begin()
        body = answer.read()
    except http.client.IncompleteRead as broken:
        body = broken.partial
    assert (answer.status, body) == (found.status, found.body), (body, found.body)


def made_from(plan: bytes) -> tuple[bytes, bytes]:
    """Make an answer as the bytes say, and return it with its body."""
    plan += bytes(6)
    framing, coding, interim, cut, spare = plan[0] % 3, plan[1] % 3, plan[2] % 4, plan[3] + 1, plan[4]
    body = plan[6:]
    coded, lines = body, [b"HTTP/1.1 %d x" % (200 + plan[5] % 4), b"X-Spare: " + b"v" * spare]
    if coding and body:
        packer = zlib.compressobj(wbits=31 if coding == 1 else 15)
        coded = packer.compress(body) + packer.flush()
        lines.append(b"Content-Encoding: gzip" if coding == 1 else b"Content-Encoding: deflate")
    if framing == 0:
        lines.append(b"Content-Length: %d" % len(coded))
    elif framing == 1:
        lines.append(b"Transfer-Encoding: chunked")
        pieces = [coded[at : at + cut] for at in range(0, len(coded), cut)]
        coded_chunks = (
            b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: x\r\n\r\n"
        )
    end = b"\n" if interim & 1 else b"\r\n"
    early = b"HTTP/1.1 103 Early" + end + b"Link: x" + end + end if interim & 2 else b""
    return early + end.join(lines) + end + end + (coded_chunks if framing == 1 else coded), coded


def decode(found: Read) -> None:
    """Take the codings off: a bounded step at a time, up to a failure that is declared."""
    if found.headers is None:
        return
    try:
        codings = codings_of(found.headers.get("content-encoding"))
        if not codings:
            return
        decoding = Decoding(codings)
        decoding.feed(found.body)
        for _ in range(_STEPS):
            if decoding.hungry:
                break
            assert len(decoding.step()) <= 256 << 10
        else:
            return
        decoding.finish()
    except ProtocolError as failure:
        if not str(failure):
            raise
