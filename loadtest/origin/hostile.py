"""What no upstream should send, by name: stalls, drips, floods, bombs, lies."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from functools import cache

import brotli

__all__ = ["HOSTILE", "ByteSource"]

ByteSource = Callable[[], AsyncIterator[bytes]]
"""Yields pieces; each waits until the last was taken. After the last the connection is closed."""

_OK = b"HTTP/1.1 200 OK\r\n"
_MIB = 1 << 20
_GIB = 1 << 30


def _once(make: Callable[[], bytes]) -> ByteSource:
    async def answer() -> AsyncIterator[bytes]:
        # A bomb takes a second to make, once: nobody else waits for that.
        yield await asyncio.to_thread(make)

    return answer


def _says(*pieces: bytes) -> ByteSource:
    return _once(lambda: b"".join(pieces))


def _forever(head: bytes, piece: bytes, pause: float) -> ByteSource:
    async def answer() -> AsyncIterator[bytes]:
        yield head
        while True:
            yield piece
            await asyncio.sleep(pause)

    return answer


async def _never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def _encoded(encoding: bytes, body: bytes) -> bytes:
    return _OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)


@cache
def _zeros(size: int, wbits: int) -> bytes:
    """Return that many zeros, packed: one flushed block, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    first = packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * ((size >> 20) - 1)


@cache
def _brotli() -> bytes:
    packed: bytes = brotli.compress(bytes(_GIB >> 2), quality=0)
    return packed


@cache
def _members() -> bytes:
    return zlib.compress(b"", 9, 31) * 50_000


HOSTILE: dict[str, ByteSource] = {
    "never-answers": _never,
    "header-drip": _forever(_OK, b"X", 0.2),
    "byte-drip": _forever(_OK + b"Content-Length: 5000\r\n\r\n", b"x", 0.05),
    "endless-body": _forever(_OK + b"\r\n", bytes(1 << 16), 0),
    "10-gb-body": _forever(_OK + b"Content-Length: 10000000000\r\n\r\n", bytes(1 << 16), 0),
    "gzip-bomb": _once(lambda: _encoded(b"gzip", _zeros(_GIB, 31))),
    "deflate-bomb": _once(lambda: _encoded(b"deflate", _zeros(_GIB, 15))),
    "brotli-bomb": _once(lambda: _encoded(b"br", _brotli())),
    "gzip-members": _once(lambda: _encoded(b"gzip", _members())),
    "nested-encodings": _once(lambda: _encoded(b"gzip, gzip, gzip", zlib.compress(bytes(_MIB), 9, 31))),
    "redirect-loop": _says(b"HTTP/1.1 302 Found\r\nLocation: /hostile/redirect-loop\r\nContent-Length: 0\r\n\r\n"),
    "redirect-inside": _says(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"),
    "redirect-file": _says(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"),
    "bad-chunks": _says(_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "both-lengths": _says(_OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two-lengths": _says(_OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
    "short-body": _says(_OK + b"Content-Length: 50\r\n\r\nabc"),
    "closes": _says(),
    "garbage": _says(bytes(range(256)) * 16),
    "http-0.9": _says(b"hello, this is the body\n"),
    "100-continues": _says(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, _OK, b"Content-Length: 2\r\n\r\nok"),
    "101": _says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "50000-headers": _says(_OK + b"X: y\r\n" * 50_000 + b"\r\n"),
    "huge-header": _says(_OK + b"X: " + b"a" * _MIB + b"\r\n\r\n"),
}
"""By name. ``reset`` is ``/fail``: it sends nothing at all."""
