"""Reading the database at the start: topics, their messages, keys and watches, and what is damaged.

A message whose record is damaged leaves a hole in its topic, of which readers get a ``gap``. Whose message it was
is certain where one bit has flipped, as the checksum says which; other kinds of records are repaired so. Else the
record's head says it, if that fits what comes before and after it. What then remains may have been the newest
message of any topic, or the WAL has lost its end: nobody can say any more which offsets have been given away, and
all topics begin new epochs, or a position that a client holds would get another content.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf, nan
from time import time
from typing import Any, Final, NamedTuple
from zlib import crc32

import apsw

from service.core.owner import Owner
from service.core.ports import KeptKey, KeptMessage, KeptWatch, PublishKey
from service.storage.damage import DamageLog
from service.storage.database import Changes, Database
from service.storage.kept_topics import KeptTopicRows, KeptTopics, TopicRow
from service.storage.key_rows import KeyRow, KeyRows
from service.storage.records import (
    HEAD_SIZE,
    LATEST,
    Damaged,
    Mended,
    Message,
    guess_message,
    mend,
    pack_row,
    read_head,
    read_message,
    read_row,
)
from service.storage.statistics import Recovered
from service.storage.tables import FILLER_ROW, Table
from service.storage.wall_clock import WallClock
from service.storage.watch_rows import WatchRow

__all__ = ["Contents", "recover"]

_log = logging.getLogger("sluice.storage")

_Rows = Sequence[tuple[int, bytes]]
_PROGRESS: Final = 200_000
_MENDED: Final = 100
"""Damaged records in which a flipped bit is looked for."""
_HOLE: Final = 10_000
"""Messages that may be missing between two of one topic; beyond that the older ones are given up."""


class Contents(NamedTuple):
    """What the database has."""

    topics: KeptTopics
    keys: KeyRows
    watches: list[tuple[int, str, KeptWatch]]
    found: Recovered


class _Reading:
    """One pass over the database."""

    def __init__(self, clock: WallClock, now: float) -> None:
        self.topics = KeptTopics()
        self.found = Recovered()
        self.damage = DamageLog()
        self.keys = KeyRows()
        self.watches: list[tuple[int, str, KeptWatch]] = []
        self.discarded: dict[Table, Any] = {table: array("q") for table in Table}
        """Rows that are of no use."""
        self.repaired: list[tuple[Table, Mended]] = []
        """Rows that are to be put as they were."""
        self.newest_damaged = 0
        """Damaged messages that may have been the newest of any topic."""
        self._oldest: dict[int, int] = {}
        """By topic: the offset of what may have been its oldest message, if the next one follows it."""
        self._clock = clock
        self._now = now
        self._newest = -inf
        """The latest time of any message so far, by the hub's clock."""
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

    def _add_message(self, row: int, record: bytes) -> None:
        """Take in a message, the next one of its topic."""
        message = read_message(row, record)
        self._place(row, message, message.data)
        self.found.messages += 1

    def _following(self, rows: _Rows, start: int) -> int:
        """Take in messages as long as each is whole and the next one of its topic; return which one is not.

        That is nearly all of them, so it is written out: a message takes half the time that ``_add_message`` needs.
        """
        topic_with, last_at, hub_at = self.topics.by_id.get, nan, self._newest
        new, crc, pack, head = tuple.__new__, crc32, pack_row, read_head  # names of modules cost more
        index = start
        for index in range(start, len(rows)):
            row, record = rows[index]
            if len(record) < HEAD_SIZE:
                break
            checksum, topic, offset, at = head(record)
            kept = topic_with(topic)
            if kept is None or offset != kept.head + 1 or not kept.rows:
                break
            if checksum != crc(record[4:], crc(pack(row))):
                break
            if at != last_at:
                # Not before any other, and so not before those of its topic.
                now = self._clock.to_hub(at)
                if not (hub_at <= now and at <= LATEST):
                    break
                last_at, hub_at = at, now
            kept.head = offset
            kept.rows.append(row)
            kept.messages.append(new(KeptMessage, (record[HEAD_SIZE:], hub_at)))
        else:
            index = len(rows)
        self.found.messages += index - start
        self._newest = hub_at
        return index

    def _place(self, row: int, message: Message, data: bytes | None) -> None:
        """Put a message at its place in its topic."""
        kept = self.topics.by_id.get(message.topic)
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
            self._confirm_oldest(kept, message.offset)
            self.discarded[Table.MESSAGES].extend(kept.rows)
            kept.rows, kept.messages = array("q"), []
        elif missing:
            self.newest_damaged -= missing
            kept.rows.extend([-1] * missing)
            kept.messages.extend([KeptMessage(None, at)] * missing)
        self._add(kept, row, message.offset, data, at)

    def _add(self, kept: KeptTopicRows, row: int, offset: int, data: bytes | None, at: float) -> None:
        if kept.messages and at < kept.messages[-1].at:
            at = kept.messages[-1].at
        self._newest = max(self._newest, at)
        kept.head = offset
        kept.rows.append(row)
        kept.messages.append(KeptMessage(data, at))

    def _confirm_oldest(self, kept: KeptTopicRows, offset: int) -> None:
        """Record which message follows a damaged one that seemed to be the oldest of its topic."""
        if self._oldest.pop(kept.id, offset - 1) != offset - 1:
            self.newest_damaged += 1

    def _damaged(self, table: Table, row: int, record: bytes, error: Damaged) -> Mended | None:
        """Count a damaged record, log the first of them, and return it as it was, where that can be found out."""
        self.damage.report(table, error)
        return mend(row, record) if self.damage.count <= _MENDED else None

    def rows(self, table: Table, take: Callable[[int, bytes], None], rows: _Rows) -> None:
        """Take in rows of a table; of those that are damaged repair what can be, and have the others deleted."""
        for row, record in rows:
            try:
                take(row, record)
            except Damaged as error:
                mended = self._damaged(table, row, record, error)
                if mended is None or mended.row != row:
                    self.discarded[table].append(row)
                if mended is not None:
                    with suppress(Damaged):  # what it says cannot be; it was reported already
                        take(*mended)
                        self.repaired.append((table, mended))

    def messages(self, rows: _Rows) -> None:
        """Take in rows of messages; one that is damaged leaves a hole."""
        start = 0
        while (start := self._following(rows, start)) < len(rows):
            row, record = rows[start]
            start += 1
            try:
                self._add_message(row, record)
            except Damaged as error:
                self._damaged_message(row, record, self._damaged(Table.MESSAGES, row, record, error))

    def _damaged_message(self, row: int, record: bytes, mended: Mended | None) -> None:
        """Leave a hole where it was, if that can be found out."""
        if mended is not None:
            self._place(row, read_message(*mended), None)
        elif not self._place_by_guess(row, guess_message(record)):
            self.discarded[Table.MESSAGES].append(row)
            self.newest_damaged += 1

    def _place_by_guess(self, row: int, guess: Message | None) -> bool:
        """Believe the head of a damaged record where it fits the messages before; return whether it does."""
        kept = None if guess is None else self.topics.by_id.get(guess.topic)
        if guess is None or kept is None:
            return False
        if kept.rows:
            if guess.offset != kept.head + 1:
                return False
            self._add(kept, row, guess.offset, None, self._clock.to_hub(self._now))
            return True
        before = self._oldest.get(kept.id)
        if guess.offset <= kept.head if before is None else guess.offset != before + 1:
            return False
        self.discarded[Table.MESSAGES].append(row)
        self._oldest[kept.id] = guess.offset
        return True

    def renew(self, new_epoch: Callable[[], str], changes: Changes) -> None:
        """Begin new epochs where offsets may have been given away that nobody knows of."""
        every = self.found.lost_commits or self.newest_damaged > 0
        for kept in self.topics:
            if every or kept.id in self._oldest:
                kept.epoch = new_epoch()
                kept.write(changes)
                self.found.renewed += 1

    def key(self, row: int, record: bytes) -> None:
        """Take in a key."""
        read = read_row(row, record, KeyRow)
        kept = self.topics.by_id.get(read.topic)
        if kept is not None:
            key = PublishKey(Owner(read.owner), read.key)
            kept.keys.append(KeptKey(key, read.offset, self._clock.to_hub(read.at)))
        self.keys.read(row, min(read.at, self._now))
        self.found.keys += 1

    def watch(self, row: int, record: bytes) -> None:
        """Take in what is kept of a watch, if there are messages that it belongs to."""
        read = read_row(row, record, WatchRow)
        kept = self.topics.get(read.topic)
        if kept is None or not kept.rows:
            self.discarded[Table.WATCHES].append(row)
            return
        self.watches.append((row, read.topic, KeptWatch(read.state, read.conditions)))
        self.found.watches += 1


async def recover(database: Database, clock: WallClock, new_epoch: Callable[[], str]) -> Contents:
    """Read everything in slices; the loop turns between them."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    reading = _Reading(clock, time())
    found = reading.found
    await _read(database, Table.TOPICS, partial(reading.rows, Table.TOPICS, reading.topic))
    await _read(database, Table.MESSAGES, reading.messages)
    await _read(database, Table.KEYS, partial(reading.rows, Table.KEYS, reading.key))
    await _read(database, Table.WATCHES, partial(reading.rows, Table.WATCHES, reading.watch))
    found.lost_commits = database.lost_commits
    found.damaged = reading.damage.count + database.damage.count
    changes = Changes(database.next_row)
    for table, rows in reading.discarded.items():
        changes.delete(table, rows)
    if await asyncio.to_thread(database.rows.get, Table.STATE, FILLER_ROW) is not None:
        # A trial of the writer that a kill has cut short.
        changes.delete(Table.STATE, array("q", [FILLER_ROW]))
    for table, mended in reading.repaired:
        changes.replace(table, *mended)
    reading.renew(new_epoch, changes)
    if changes.put or changes.deleted or database.damage.count:
        await asyncio.to_thread(database.write, changes)
    found.seconds = round(loop.time() - began, 3)
    return Contents(reading.topics, reading.keys, reading.watches, found)


async def _read(database: Database, table: Table, take: Callable[[_Rows], None]) -> None:
    count, chunks = 0, database.rows.chunks(table)
    while rows := await asyncio.to_thread(next, chunks, None):
        take(rows)
        count += len(rows)
        if count // _PROGRESS > (count - len(rows)) // _PROGRESS:
            _log.info("reading the data directory", extra={"table": table.value, "rows": count})
    if count != await asyncio.to_thread(database.rows.count, table):
        raise apsw.CorruptError(f"the rows of {table} are not in order")
