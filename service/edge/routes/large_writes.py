"""Large answers: written in parts, in turns with those of others.

A write copies what it is given, 0.4 ms for a MB, and everybody waits meanwhile. What has not been written yet is
the message in its topic itself, and no copy.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

from aiohttp import web

from service.core.owner import Owner
from service.runtime.per_turn import PerTurn

__all__ = ["LARGE", "in_parts", "write_parts"]

LARGE: Final = 64 << 10
"""Bytes of a part at most; messages up to this size are written at once."""


async def write_parts(
    response: web.StreamResponse, pieces: Iterable[bytes | memoryview], turn: PerTurn, owner: Owner
) -> AsyncIterator[int]:
    """Write pieces that follow each other, and yield the bytes of each part that was written.

    A part waits for its turn, and until the peer has taken what was written before.
    """
    for part in in_parts(pieces):
        await turn.wait(owner, len(part))
        await response.write(part)
        yield len(part)


def in_parts(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield what pieces consist of, in parts of at most :data:`LARGE` bytes: small pieces are joined."""
    small: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if size and size + len(piece) > LARGE:
            yield b"".join(small)
            small, size = [], 0
        if len(piece) > LARGE:
            view = memoryview(piece)
            for at in range(0, len(piece), LARGE):
                yield view[at : at + LARGE]
        else:
            small.append(piece)
            size += len(piece)
    if size:
        yield b"".join(small)
