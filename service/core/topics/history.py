"""What a topic has left to its store: read back a page at a time for the readers that are so far behind.

Theory of operation. A reader whose next message is not in memory asks for a page of messages after its cursor. The
store reads that when it can; then the topic is visited, and the reader takes the page as it takes a chunk of the
ring. Pages of all topics share one bound, and the one that was used longest ago goes first: readers that go on
at the same pace need each page once. A page that cannot be read ends its readers, who come back.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from service.core.containment import Containment
from service.core.pending import Pending
from service.core.topics.topic import Topic
from service.core.topics.wire import Encoding

__all__ = ["Pages", "ReadLog", "StoredHistory"]

ReadLog = Callable[[int], Pending[Sequence[bytes | None]]]
"""Reads the messages that follow an offset, some and at least one; None stands for one that is damaged."""

_PAGES: Final = 32 << 20


class _Page(NamedTuple):
    frames: list[bytes]
    lost: set[int]
    size: int


class Pages:
    """The pages of all topics that are in memory."""

    def __init__(self, contain: Containment, wake: Callable[[Topic], None], bound: int = _PAGES) -> None:
        self.size = 0
        self.read = 0
        """Messages that were read back since the start."""
        self.contain = contain
        self.wake = wake
        self._bound = bound
        self._pages: OrderedDict[tuple[Topic, int], _Page] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Pages {len(self._pages)}, {self.size} B>"

    def get(self, topic: Topic, after: int) -> _Page | None:
        """Return the page that follows an offset, if it is here."""
        page = self._pages.get((topic, after))
        if page is not None:
            self._pages.move_to_end((topic, after))
        return page

    def put(self, topic: Topic, after: int, messages: Sequence[bytes | None]) -> None:
        """Take in a page; others make room for it."""
        frames, lost = topic.ring.frames_of(messages, after + 1)
        page = self._pages[topic, after] = _Page(frames, lost, sum(map(len, frames)))
        self.size += page.size
        self.read += len(frames)
        while self.size > self._bound and len(self._pages) > 1:
            self.size -= self._pages.popitem(last=False)[1].size

    def drop(self, topic: Topic, after: int) -> None:
        """Forget a page, if it is here."""
        page = self._pages.pop((topic, after), None)
        self.size -= 0 if page is None else page.size


class StoredHistory:
    """What one topic has in its store."""

    def __init__(self, topic: Topic, read: ReadLog, pages: Pages) -> None:
        self._topic = topic
        self._read = read
        self._pages = pages
        self._loading: set[int] = set()
        self._taken: set[int] = set()
        """Offsets after which pages have been read; some are forgotten again."""

    def __repr__(self) -> str:
        return f"<StoredHistory of {self._topic!r}, {len(self._loading)} pages are read>"

    def is_loading(self, after: int) -> bool:
        """Return whether the page that follows an offset is being read."""
        return after in self._loading

    def chunk(self, after: int, encoding: Encoding) -> tuple[bytes, int]:
        """Return the page that follows an offset, and the last offset in it; nothing while it is being read."""
        page = self._pages.get(self._topic, after)
        if page is not None:
            chunk = self._topic.ring.render(page.frames, after + 1, encoding, page.lost)
            return chunk, after + len(page.frames)
        if after not in self._loading:
            self._loading.add(after)
            self._read(after).on_settled(partial(self._loaded, after))
        return b"", after

    def end(self) -> None:
        """Forget what was read: the topic is gone."""
        self._topic.history = None
        for after in self._taken:
            self._pages.drop(self._topic, after)

    def _loaded(self, after: int, messages: Sequence[bytes | None] | Exception) -> None:
        self._loading.discard(after)
        topic = self._topic
        if topic.history is None:
            return
        if isinstance(messages, Exception):
            for reader in [reader for reader in topic.readers if reader.offset == after]:
                self._pages.contain(reader.cut)
            return
        self._taken.add(after)
        self._pages.put(topic, after, messages)
        self._pages.wake(topic)
