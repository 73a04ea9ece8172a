"""Verifying a database: the checksum of every record of every table, and what is kept.

Memory is bounded by the number of topics, 17 bytes each; messages are read and forgotten.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import apsw

from service.storage.kept_topics import TopicRow
from service.storage.key_rows import KeyRow
from service.storage.reader import DatabaseReader
from service.storage.records import Damaged, guess_message, read_message, read_row, unseal
from service.storage.tables import Table, reason

__all__ = ["DamagedRow", "Verified", "verify"]

_LISTED: Final = 1000
"""Damaged rows that are named; more are counted."""
_UNSOUND: Final = 5
"""Faults of the file itself that are named."""

_Handle = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A record that is not what was written. Whose message it was is read from the record, so it may be wrong."""

    table: str
    id: int
    topic: str | None = None
    offset: int | None = None


@dataclass(slots=True)
class Verified:
    """What was found. Times are seconds since 1970."""

    format: int
    size: int
    wal: int
    commits: int
    lost_commits: int
    """How many of the last commits are missing."""
    rows: dict[str, int] = field(default_factory=dict)
    """Records of each table, the damaged ones among them."""
    bytes: dict[str, int] = field(default_factory=dict)
    oldest: float | None = None
    newest: float | None = None
    """When the first and the last message that is kept was published."""
    missing: int = 0
    """Messages that are missing between others of their topic."""
    damaged: int = 0
    listed: list[DamagedRow] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    """What SQLite says is wrong with the file."""

    @property
    def sound(self) -> bool:
        """Whether all of it is what was written, as far as anybody can know."""
        return not (self.damaged or self.missing or self.lost_commits or self.unsound)


def verify(reader: DatabaseReader, progress: Callable[[int, int], None]) -> Verified:
    """Read every record of one moment; ``progress`` is called with how many were read, and how many there are."""
    counted = reader.counted_commits()
    with reader.snapshot():
        size, commits = reader.path.stat().st_size, reader.commits
        # Where the count itself is damaged, nobody knows.
        lost = max(0, counted - commits) if commits else 0
        found = Verified(reader.version, size, reader.wal_size(), commits, lost)
        _Verification(reader, found, progress).run()
    return found


class _Verification:
    """One pass over all tables."""

    def __init__(self, reader: DatabaseReader, found: Verified, progress: Callable[[int, int], None]) -> None:
        self._rows = reader.rows
        self._reader = reader
        self._found = found
        self._progress = progress
        self._done = 0
        self._ids, self._heads, self._seen = array("q"), array("q"), bytearray()
        """Of each topic, in order of ids: where it stands, and whether a message of it was met."""

    def run(self) -> None:
        """Read all of it, and what SQLite can say of the file."""
        self._all = sum(map(self._span, Table))
        handlers: dict[Table, _Handle] = {
            Table.TOPICS: self._topic,
            Table.MESSAGES: self._verify,
            Table.KEYS: _key,
        }
        # Topics are needed for their messages.
        for table in sorted(filter(self._rows.has, Table), key=lambda table: table is not Table.TOPICS):
            try:
                self._read(table, handlers.get(table, _check))
            except apsw.Error as error:
                self._found.unsound.append(f"{table}: {reason(error, self._reader.path)}")
        self._check_file()

    def _span(self, table: Table) -> int:
        try:
            return self._rows.span(table)
        except apsw.Error:  # reading it says why
            return 0

    def _check_file(self) -> None:
        try:
            answers = self._reader.connection.execute(f"PRAGMA integrity_check({_UNSOUND})").fetchall()
        except apsw.Error as error:
            answers = [(reason(error, self._reader.path),)]
        # A long text of several lines is one fault.
        self._found.unsound += [str(text).splitlines()[-1] for (text,) in answers if text != "ok"]

    def _read(self, table: Table, handle: _Handle) -> None:
        found = self._found
        found.rows[table] = found.bytes[table] = 0
        for rows in self._rows.chunks(table):
            for row, record in rows:
                found.bytes[table] += len(record)
                try:
                    handle(row, record)
                except Damaged:
                    self._damaged(table, row, record)
            self._reader.check_growth("the check takes too long", "check a backup, or at a calmer time")
            found.rows[table] += len(rows)
            self._done += len(rows)
            self._progress(self._done, max(self._done, self._all))

    def _topic(self, row: int, record: bytes) -> None:
        topic = read_row(row, record, TopicRow)
        self._ids.append(row)
        self._heads.append(topic.head)
        self._seen.append(0)

    def _verify(self, row: int, record: bytes) -> None:
        message = read_message(row, record)
        found = self._found
        found.oldest = message.at if found.oldest is None else min(found.oldest, message.at)
        found.newest = message.at if found.newest is None else max(found.newest, message.at)
        self._place(message.topic, message.offset)

    def _place(self, topic: int, offset: int) -> bool:
        """Note how far a topic goes; return False where the message is not the next, or one after it."""
        place = bisect_left(self._ids, topic)
        if place == len(self._ids) or self._ids[place] != topic or offset <= self._heads[place]:
            return False
        if self._seen[place]:
            self._found.missing += offset - self._heads[place] - 1
        self._heads[place], self._seen[place] = offset, 1
        return True

    def _damaged(self, table: Table, row: int, record: bytes) -> None:
        found, guess = self._found, guess_message(record) if table is Table.MESSAGES else None
        found.damaged += 1
        if guess is not None and self._follows(guess.topic, guess.offset):
            # It is damaged, and not missing as well.
            self._place(guess.topic, guess.offset)
        if len(found.listed) < _LISTED:
            name = self._name(guess.topic) if guess is not None else None
            offset = guess.offset if guess is not None and name is not None else None
            found.listed.append(DamagedRow(table.value, row, name, offset))

    def _follows(self, topic: int, offset: int) -> bool:
        place = bisect_left(self._ids, topic)
        return place < len(self._ids) and self._ids[place] == topic and offset == self._heads[place] + 1

    def _name(self, topic: int) -> str | None:
        with suppress(Damaged, apsw.Error):  # that is counted itself
            record = self._rows.get(Table.TOPICS, topic)
            return read_row(topic, record, TopicRow).name if record is not None else None
        return None


def _key(row: int, record: bytes) -> None:
    read_row(row, record, KeyRow)


def _check(row: int, record: bytes) -> None:
    unseal(row, record)
