"""Reading the database at the start: topics, their messages, keys and watches, and what is damaged.

A message whose record is damaged leaves a hole in its topic, of which readers get a ``gap``. Whose message it was
is certain where one bit has flipped, as the checksum says which; other kinds of records are repaired so. Else the
record's head says it, if that fits what comes before and after it. What then remains may have been the newest
message of any topic, or the WAL has lost its end: nobody can say any more which offsets have been given away, and
all topics begin new epochs, or a position that a client holds would get another content.
"""

from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf, nan
from struct import error as StructError
from time import time
from typing import Any, Final, NamedTuple
from zlib import crc32

from service.core.owner import Owner
from service.core.ports import KeptKey, KeptWatch, PublishKey
from service.storage.kept_topics import KeptTopicRows, KeptTopics, TopicRow
from service.storage.key_rows import KeyRow, KeyRows
from service.storage.records import (
    HEAD_SIZE,
    LATEST,
    Damaged,
    MessageRecord,
    guess_message,
    pack_row,
    read_head,
    read_message,
    read_row,
)
from service.storage.scan import SLICE, Scan
from service.storage.statistics import Recovered
from service.storage.tables import FILLER_ROW, Table, disordered
from service.storage.wall_clock import WallClock
from service.storage.watch_rows import WatchRow

__all__ = ["DatabaseContents", "recover"]

_HOLE: Final = 10_000
"""Messages that may be missing between two of one topic; beyond that the older ones are given up."""


class DatabaseContents(NamedTuple):
    """What the database has."""

    topics: KeptTopics
    keys: KeyRows
    watches: list[tuple[int, str, KeptWatch]]
    found: Recovered


class _Reading:
    """One pass over the database."""

    def __init__(self, scan: Scan, clock: WallClock, now: float) -> None:
        self.topics = KeptTopics()
        self.found = Recovered()
        self.keys = KeyRows()
        self.watches: list[tuple[int, str, KeptWatch]] = []
        self.newest_damaged = 0
        """Damaged messages that may have been the newest of any topic."""
        self._oldest: dict[int, int] = {}
        """By topic: the offset of what may have been its oldest message, if the next one follows it."""
        self._scan = scan
        self._clock = clock
        self._now = now
        self._unread: Iterator[tuple[int, Any]] = scan.database.rows.cursor(Table.MESSAGES)
        self._last = -1
        """The row that was read last."""
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

    def messages(self) -> int:
        """Take in some more messages; one that is damaged leaves a hole. Return how many were read."""
        rows, odd = islice(self._unread, SLICE), 0
        before = self.found.messages
        while (next_row := self._following(rows)) is not None:
            odd += 1
            if self._restore_message(*next_row):
                self.found.messages += 1
                odd -= 1
        return self.found.messages - before + odd

    def _following(self, rows: Iterator[tuple[int, Any]]) -> tuple[int, bytes] | None:
        """Take in messages as long as each is whole and the next one of its topic; return one that is not.

        That is nearly all of them, so it is written out: a message takes half the time that ``_message`` needs.
        """
        topic_with, last, last_at, hub_at, count = self.topics.by_id.get, self._last, nan, self._newest, 0
        crc, pack, head = crc32, pack_row, read_head  # names of modules cost more
        odd = None
        for row, record in rows:
            try:
                checksum, topic, offset, at = head(record)
            except (StructError, TypeError):
                odd = row, record if isinstance(record, bytes) else b""
                break
            kept = topic_with(topic)
            if kept is None or offset != kept.head + 1 or not kept.rows or row <= last:
                odd = row, record
                break
            if checksum != crc(record[4:], crc(pack(row))):
                odd = row, record
                break
            if at != last_at:
                # Not before any other, and so not before those of its topic.
                now = self._clock.to_hub(at)
                if not (hub_at <= now and at <= LATEST):
                    odd = row, record
                    break
                last_at, hub_at = at, now
            kept.head = offset
            kept.rows.append(row)
            kept.messages.append(record[HEAD_SIZE:])
            kept.times.append(hub_at)
            last = row
            count += 1
        self.found.messages += count
        self._last, self._newest = last, hub_at
        return odd

    def _restore_message(self, row: int, record: bytes) -> bool:
        """Take in a message, or leave a hole where one was; return whether it is whole."""
        if row <= self._last:
            raise disordered(Table.MESSAGES)
        self._last = row
        try:
            message = read_message(row, record)
        except Damaged as error:
            mended = self._scan.mend(Table.MESSAGES, row, record, error)
            if mended is not None:
                self._place(row, read_message(*mended), None)
            elif not self._place_by_guess(row, guess_message(record)):
                self._scan.discard(Table.MESSAGES, row)
                self.newest_damaged += 1
            return False
        self._place(row, message, message.data)
        return True

    def _place(self, row: int, message: MessageRecord, data: bytes | None) -> None:
        """Put a message at its place in its topic."""
        kept = self.topics.by_id.get(message.topic)
        if kept is None or message.offset <= kept.head:
            self._scan.discard(Table.MESSAGES, row)
            return
        if message.at != self._at:
            # Messages of one moment share it, as they did when they were published.
            self._at, self._hub_at = message.at, self._clock.to_hub(message.at)
        at = self._hub_at
        missing = message.offset - kept.head - 1
        if missing > _HOLE or not kept.rows:
            # The first that is kept: those before it were given up.
            self._confirm_oldest(kept, message.offset)
            self._scan.changes.delete(Table.MESSAGES, kept.rows)
            kept.rows, kept.messages, kept.times = array("q"), [], []
        elif missing:
            self.newest_damaged -= missing
            kept.rows.extend([-1] * missing)
            kept.messages.extend([None] * missing)
            kept.times.extend([at] * missing)
        self._add(kept, row, message.offset, data, at)

    def _add(self, kept: KeptTopicRows, row: int, offset: int, data: bytes | None, at: float) -> None:
        if kept.times and at < kept.times[-1]:
            at = kept.times[-1]
        self._newest = max(self._newest, at)
        kept.head = offset
        kept.rows.append(row)
        kept.messages.append(data)
        kept.times.append(at)

    def _confirm_oldest(self, kept: KeptTopicRows, offset: int) -> None:
        """Record which message follows a damaged one that seemed to be the oldest of its topic."""
        if self._oldest.pop(kept.id, offset - 1) != offset - 1:
            self.newest_damaged += 1

    def _place_by_guess(self, row: int, guess: MessageRecord | None) -> bool:
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
        self._scan.discard(Table.MESSAGES, row)
        self._oldest[kept.id] = guess.offset
        return True

    def renew(self, new_epoch: Callable[[], str]) -> None:
        """Begin new epochs where offsets may have been given away that nobody knows of."""
        every = self._scan.database.lost_commits or self.newest_damaged > 0
        for kept in self.topics:
            if every or kept.id in self._oldest:
                kept.epoch = new_epoch()
                kept.write(self._scan.changes)
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
            self._scan.discard(Table.WATCHES, row)
            return
        self.watches.append((row, read.topic, KeptWatch(read.state, read.conditions)))
        self.found.watches += 1


async def recover(scan: Scan, clock: WallClock, new_epoch: Callable[[], str]) -> DatabaseContents:
    """Read everything but batches in slices; the loop turns between them."""
    reading = _Reading(scan, clock, time())
    await scan.read(Table.TOPICS, reading.topic)
    await scan.read_slices(Table.MESSAGES, reading.messages)
    await scan.read(Table.KEYS, reading.key)
    await scan.read(Table.WATCHES, reading.watch)
    if scan.database.rows.get(Table.STATE, FILLER_ROW) is not None:
        # A probe of the writer that a kill has cut short.
        scan.discard(Table.STATE, FILLER_ROW)
    reading.renew(new_epoch)
    return DatabaseContents(reading.topics, reading.keys, reading.watches, reading.found)
