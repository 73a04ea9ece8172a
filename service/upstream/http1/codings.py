"""Content codings: several, in steps of bounded size, so that no bomb gets further than its first step."""

import sys
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import brotli

from service.upstream.http1.errors import ProtocolError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ACCEPTED", "Decoding", "codings_of", "transfer_codings"]

ACCEPTED: Final = "gzip, deflate, br, zstd"
_STEP: Final = 64 << 10
"""Bytes that one step yields, about, and so what lies between two codings."""
_MOST_CODINGS: Final = 5
_MOST_MEMBERS: Final = 1000
"""Members of gzip and frames of zstd in one body; each costs 10 us."""
_SLICE: Final = 16 << 10
"""Bytes that a decoder is given at once: what follows a member is copied for each."""


class _Decoder(Protocol):
    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """Take some of the data; return what it makes of it, and what it left."""
        ...

    @property
    def starved(self) -> bool:
        """Whether without more data no step yields anything."""
        ...

    @property
    def whole(self) -> bool:
        """Whether what it was given may be all."""
        ...


class _Zlib:
    """Gzip, in members that follow each other, with zeros after them; or deflate, with and without a frame."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inner = zlib.decompressobj(wbits)
        self._members = 0
        self._fresh = True
        self.starved = True

    @property
    def whole(self) -> bool:
        return self._fresh

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        if self._fresh and self._members:
            data = data.lstrip(b"\0")
            if data and self._wbits != 31:
                raise ProtocolError("there is data after its end")
        if not data and self.starved:
            return b"", b""
        self._fresh = False
        try:
            made = self._inner.decompress(data, _STEP)
        except zlib.error as error:
            raise ProtocolError(str(error).rpartition(": ")[2]) from None
        if not self._inner.eof:
            self.starved = len(made) < _STEP
            return made, self._inner.unconsumed_tail
        rest = self._inner.unused_data
        self._members = _counted(self._members)
        self._inner = zlib.decompressobj(self._wbits)
        self._fresh = self.starved = True
        return made, rest


class _Deflate:
    """What is called deflate: the zlib format (RFC 9110, section 8.4.1.2), or without its frame, as some send."""

    def __init__(self) -> None:
        self._begin = b""
        self._inner: _Zlib | None = None

    @property
    def starved(self) -> bool:
        return self._inner is None or self._inner.starved

    @property
    def whole(self) -> bool:
        return not self._begin if self._inner is None else self._inner.whole

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        if self._inner is None:
            data, self._begin = self._begin + data, b""
            if len(data) < 2:
                self._begin = data
                return b"", b""
            framed = data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._inner = _Zlib(15 if framed else -15)
        return self._inner.step(data)


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self._begun = False
        self.starved = True

    @property
    def whole(self) -> bool:
        return not self._begun or self._inner.is_finished()

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        accepts = self._inner.can_accept_more_data()
        given = data if accepts else b""
        self._begun = self._begun or bool(given)
        try:
            made = self._inner.process(given, output_buffer_limit=_STEP)
        except brotli.error:
            raise ProtocolError("the data are malformed") from None
        self.starved = self._inner.can_accept_more_data() and len(made) < _STEP
        return made, b"" if accepts else data


class _Zstd:
    """Frames that follow each other; a window of 8 MiB at most (RFC 9659)."""

    def __init__(self) -> None:
        self._inner = self._new()
        self._frames = 0
        self._fresh = True
        self.starved = True

    @staticmethod
    def _new() -> Any:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})

    @property
    def whole(self) -> bool:
        return self._fresh

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        if not data and self.starved:
            return b"", b""
        self._fresh = False
        try:
            made = self._inner.decompress(data, _STEP)
        except zstd.ZstdError as error:
            raise ProtocolError(str(error).rpartition(": ")[2].removesuffix(".")) from None
        if not self._inner.eof:
            self.starved = self._inner.needs_input
            return made, b""
        rest = self._inner.unused_data
        self._frames = _counted(self._frames)
        self._inner = self._new()
        self._fresh = self.starved = True
        return made, rest


_KNOWN: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: _Zlib(31), "x-gzip": lambda: _Zlib(31), "deflate": _Deflate, "br": _Brotli, "zstd": _Zstd,
}  # fmt: skip


class _Stage:
    """One coding, and what waits to go through it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.decoder = _KNOWN[name]()
        self.waiting = b""

    @property
    def idle(self) -> bool:
        return not self.waiting and self.decoder.starved

    def step(self) -> bytes:
        given, kept = self.waiting[:_SLICE], self.waiting[_SLICE:]
        try:
            made, left = self.decoder.step(given)
        except ProtocolError as error:
            raise ProtocolError(f"the body is not in the content coding {self.name} as it says: {error}") from None
        self.waiting = left + kept if left else kept
        return made


class Decoding:
    """Takes off all codings of one body."""

    def __init__(self, codings: tuple[str, ...]) -> None:
        """``codings`` are in the order in which they were applied."""
        self._stages = [_Stage(name) for name in reversed(codings)]

    @property
    def hungry(self) -> bool:
        """Whether no step makes anything until more is given."""
        return all(stage.idle for stage in self._stages)

    def feed(self, data: bytes) -> None:
        """Take in more of the coded body; only when hungry."""
        self._stages[0].waiting = data

    def step(self) -> bytes:
        """Take one step, the last that is possible first, and return what comes out at the end."""
        for number in range(len(self._stages) - 1, -1, -1):
            if not self._stages[number].idle:
                made = self._stages[number].step()
                if number == len(self._stages) - 1:
                    return made
                self._stages[number + 1].waiting = made
                return b""
        return b""

    def finish(self) -> None:
        """Raise ProtocolError where a coding waits for what never came."""
        for stage in self._stages:
            if not stage.decoder.whole:
                raise ProtocolError(f"the body is cut off within its content coding {stage.name}")


def codings_of(value: str | None) -> tuple[str, ...]:
    """Return what a ``Content-Encoding`` says was applied, in that order; empty where one of them is unknown.

    Servers write much there that is not a coding (``utf-8``, ``none``). Browsers leave such a body as it is.
    """
    if value is None:
        return ()
    names = [name.strip(" \t").lower() for name in value.split(",")]
    names = [name for name in names if name and name != "identity"]
    if len(names) > _MOST_CODINGS:
        raise ProtocolError(f"the body has more than {_MOST_CODINGS} content codings")
    return tuple(names) if all(name in _KNOWN for name in names) else ()


def transfer_codings(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the transfer codings beside chunked, none of which was asked for; raise where one is unknown."""
    for name in names:
        if name not in _KNOWN:
            raise ProtocolError(f"the transfer coding {name[:40]!a} is not supported")
    return names


def _counted(members: int) -> int:
    if members >= _MOST_MEMBERS:
        raise ProtocolError(f"it has more than {_MOST_MEMBERS:,} members")
    return members + 1
