"""Rows of a data directory that are not what the service wrote, some of them with a right checksum.

The start reads on past any of them: what it cannot use is damaged and counted, and no topic ends up with messages
that are not in order.
"""

import asyncio
import itertools
import json
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from service.storage.recovery import recover
from service.storage.scan import Scan
from service.storage.tables import Rows, Table
from service.storage.wall_clock import WallClock

__all__ = ["rows"]

_TABLES = {"t": Table.TOPICS, "m": Table.MESSAGES, "k": Table.KEYS, "s": Table.STATE}
_LOOP = asyncio.new_event_loop()


class _Database:
    """What recovery reads."""

    all = Rows.all
    lost_commits = 0
    next_row = 1000

    def __init__(self, records: dict[Table, list[tuple[int, bytes]]]) -> None:
        self.rows = self
        self._records = records

    def cursor(self, table: Table) -> Iterator[tuple[int, bytes]]:
        return iter(self._records.get(table, []))

    def get(self, table: Table, row: int) -> bytes | None:
        return dict(self._records.get(table, [])).get(row)


def rows(data: bytes) -> None:
    """Each line is a row: a letter for its table, one for its checksum (right or not), and what it has."""
    records: dict[Table, list[tuple[int, bytes]]] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        table = _TABLES.get(line[:1].decode("latin-1"))
        if table is not None:
            records.setdefault(table, []).append((number, _record(number, table, line[1:2], line[2:])))
    database: Any = _Database(records)
    epochs = map(str, itertools.count())
    clock = WallClock(lambda: 0.0, lambda: 1000.0)
    scan = Scan(database)
    topics, *_ = _LOOP.run_until_complete(recover(scan, clock, lambda: next(epochs)))
    assert scan.damage.count <= sum(map(len, records.values()))
    for kept in topics:
        assert kept.head >= len(kept.rows) == len(kept.messages) == len(kept.times)
        assert all(at <= 0.0 for at in kept.times)
        json.dumps([kept.name, kept.owner, kept.epoch])
        for key in kept.keys:
            hash(key.key)


def _record(row: int, table: Table, seal: bytes, content: bytes) -> bytes:
    if table is Table.MESSAGES and seal == b"n":
        # Numbers that are likely: few topics, offsets near to each other.
        numbers = dict(enumerate(content[:3]))
        content = (
            struct.pack("<QQd", numbers.get(0, 0) % 8, numbers.get(1, 0), float(numbers.get(2, 0))) + content[3:]
        )
    if seal == b"x":
        return content
    return struct.pack("<I", crc32(content, crc32(struct.pack("<q", row)))) + content
