"""Reading the database at the start: topics, their messages and keys, and what is damaged.

A message whose record is damaged leaves a hole in its topic, of which readers get a ``gap``. Where such a message
was the newest of its topic, or the WAL has lost its end, nobody can say any more which offsets have been given
away: all topics then begin new epochs, or a position that a client holds would get another content.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from time import time
from typing import Any, Final

from service.core.owner import Owner
from service.core.ports import KeptKey, KeptMessage, PublishKey
from service.storage.database import Changes, Database
from service.storage.kept_topics import KeptTopicRows, KeptTopics, TopicRow
from service.storage.key_rows import KeyRow, KeyRows
from service.storage.records import Damaged, guess_message, read_message, read_row
from service.storage.tables import Table
from service.storage.wall_clock import WallClock

__all__ = ["Recovered", "recover"]

_log = logging.getLogger("sluice.storage")

_Take = Callable[[int, bytes], None]
_PROGRESS: Final = 200_000
_REPORTED: Final = 10
_HOLE: Final = 10_000
"""Messages that may be missing between two of one topic; beyond that the older ones are given up."""


@dataclass(slots=True)
class Recovered:
    """What was found. Numbers of rows, but for ``seconds``."""

    topics: int = 0
    messages: int = 0
    keys: int = 0
    damaged: int = 0
    """Records that are not what was written; they are passed over."""
    lost_commits: int = 0
    renewed: bool = False
    """Whether all topics have new epochs, because positions could no longer be trusted."""
    seconds: float = 0.0


class _Reading:
    """One pass over the database."""

    def __init__(self, clock: WallClock, now: float) -> None:
        self.topics = KeptTopics()
        self.found = Recovered()
        self.keys = KeyRows()
        self.discarded: dict[Table, Any] = {table: array("q") for table in Table}
        """Rows that are of no use."""
        self.newest_damaged = 0
        self._clock = clock
        self._now = now
        self._at, self._hub_at = nan, 0.0
        """When the last message was appended, in seconds since 1970 and by the hub's clock."""

    def topic(self, row: int, record: bytes) -> None:
        """Take in the row of a topic."""
        read = read_row(row, record, TopicRow)
        if read.name in self.topics:
            raise Damaged(f"row {row} is of the topic of another row")
        kept = KeptTopicRows(row, read.name, read.owner, read.epoch, read.head)
        kept.used = min(read.used or self._now, self._now)
        kept.stored = True
        self.topics.add(kept)
        self.found.topics += 1

    def message(self, row: int, record: bytes) -> None:
        """Take in a message, the next one of its topic."""
        message = read_message(row, record)
        kept = self.topics.with_id(message.topic)
        if kept is None or message.offset <= kept.head:
            self.discarded[Table.MESSAGES].append(row)
            return
        if message.at != self._at:
            # Messages of one moment share it, as they did when they were published.
            self._at, self._hub_at = message.at, self._clock.to_hub(message.at)
        at = self._hub_at
        missing = message.offset - kept.head - 1
        if missing > _HOLE or not kept.rows:
            # The first that is kept: those before it were given up.
            self.discarded[Table.MESSAGES].extend(kept.rows)
            kept.rows, kept.messages = array("q"), []
        elif missing:
            self.newest_damaged -= missing
            kept.rows.extend([-1] * missing)
            kept.messages.extend([KeptMessage(None, at)] * missing)
        kept.head = message.offset
        kept.rows.append(row)
        kept.messages.append(KeptMessage(message.data, at))
        self.found.messages += 1

    def _add(self, kept: KeptTopicRows, row: int, offset: int, message: KeptMessage) -> None:
        kept.head = offset
        kept.rows.append(row)
        kept.messages.append(message)

    def report(self, table: Table, error: Damaged) -> None:
        """Count a damaged record, and log the first of them."""
        self.found.damaged += 1
        if self.found.damaged <= _REPORTED:
            _log.error("a damaged record is passed over", extra={"table": table.value, "why": str(error)})

    def damaged(self, table: Table, row: int, record: bytes) -> None:
        """Have a damaged record deleted."""
        self.discarded[table].append(row)

    def damaged_message(self, table: Table, row: int, record: bytes) -> None:
        """Find out whose message it was: its head may be whole, or the next message of its topic shows a hole."""
        guess = guess_message(record)
        kept = None if guess is None else self.topics.with_id(guess.topic)
        if guess is not None and kept is not None and kept.rows and guess.offset == kept.head + 1:
            self._add(kept, row, guess.offset, KeptMessage(None, self._clock.to_hub(self._now)))
        else:
            self.damaged(table, row, record)
            self.newest_damaged += 1

    def key(self, row: int, record: bytes) -> None:
        """Take in a key."""
        read = read_row(row, record, KeyRow)
        kept = self.topics.with_id(read.topic)
        if kept is not None:
            key = PublishKey(Owner(read.owner), read.key)
            kept.keys.append(KeptKey(key, read.offset, self._clock.to_hub(read.at)))
        self.keys.read(row, read.at)
        self.found.keys += 1


async def recover(
    database: Database, clock: WallClock, new_epoch: Callable[[], str]
) -> tuple[KeptTopics, KeyRows, Recovered]:
    """Read everything in slices; the loop turns between them."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reading = _Reading(clock, time())
    found = reading.found
    await _read(database, Table.TOPICS, reading, reading.topic, reading.damaged)
    await _read(database, Table.MESSAGES, reading, reading.message, reading.damaged_message)
    await _read(database, Table.KEYS, reading, reading.key, reading.damaged)
    found.lost_commits = database.lost_commits
    found.renewed = bool(found.lost_commits or reading.newest_damaged > 0)
    changes = Changes(database.next_row)
    for table, rows in reading.discarded.items():
        changes.delete(table, rows)
    if found.renewed:
        for kept in reading.topics:
            kept.epoch = new_epoch()
            kept.write(changes)
    if changes.put or changes.deleted:
        await asyncio.to_thread(database.write, changes)
    found.seconds = round(loop.time() - began, 3)
    return reading.topics, reading.keys, found


async def _read(
    database: Database,
    table: Table,
    reading: _Reading,
    take: _Take,
    take_damaged: Callable[[Table, int, bytes], None],
) -> None:
    after, count = -1, 0
    while rows := await asyncio.to_thread(database.rows.read, table, after):
        for row, record in rows:
            try:
                take(row, record)
            except Damaged as error:
                reading.report(table, error)
                take_damaged(table, row, record)
        after, count = rows[-1][0], count + len(rows)
        if count // _PROGRESS > (count - len(rows)) // _PROGRESS:
            _log.info("reading the data directory", extra={"table": table.value, "rows": count})
