"""The messages of one topic as lines, as the service streams them over HTTP: ``{"offset", "data"}``, and gaps."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from service.core.topics.wire import Encoding, gap_chunk, message_line
from service.storage.errors import StorageUnusable
from service.storage.kept_topics import TopicRow
from service.storage.reader import DatabaseReader
from service.storage.records import Damaged, guess_message, read_message, read_row
from service.storage.tables import Table

__all__ = ["lines_of"]


def lines_of(reader: DatabaseReader, name: str) -> Iterator[bytes]:
    """Yield the lines of a topic, some at a time; raise StorageUnusable where it is not kept.

    Each step is a read of its own, because the reader of the lines may take any time. Messages that are given up
    meanwhile are a gap.
    """
    topic = _find(reader, name)
    for rows in reader.rows.chunks(Table.MESSAGES):
        yield b"".join([topic.line(row, record) for row, record in rows])
    yield topic.end()


def _find(reader: DatabaseReader, name: str) -> "_Lines":
    for rows in reader.rows.chunks(Table.TOPICS):
        for row, record in rows:
            with suppress(Damaged):  # it is another one, or `sluice check` names it
                topic = read_row(row, record, TopicRow)
                if topic.name == name:
                    return _Lines(row, name, topic.head)
    raise StorageUnusable(f"{reader.path} does not have the topic {name!r}")


@dataclass(slots=True)
class _Lines:
    """One topic; messages begin somewhere after ``head``, which is the last offset that has its line."""

    id: int
    name: str
    head: int
    lost: int = 0
    """Damaged messages since that."""
    begun: bool = False

    def line(self, row: int, record: bytes) -> bytes:
        """Return the line of a message, after a gap where some are missing; nothing for other topics."""
        guess = guess_message(record)
        if guess is None or guess.topic != self.id:
            return b""
        try:
            message = read_message(row, record)
        except Damaged:
            self.lost += 1
            return b""
        if message.offset <= self.head:
            return b""
        if not self.begun:
            self.head = max(self.head, message.offset - 1 - self.lost)
        gap = self._gap(message.offset - 1)
        self.head, self.lost, self.begun = message.offset, 0, True
        return b"".join((gap, *message_line(message.offset, message.data)))

    def end(self) -> bytes:
        """Return the gap of the newest messages, where these are damaged."""
        return self._gap(self.head + self.lost)

    def _gap(self, last: int) -> bytes:
        return gap_chunk(Encoding.LINES, self.name, "", self.head + 1, last) if last > self.head else b""
