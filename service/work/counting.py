"""How often each key comes in lines of text: exact up to a bound of distinct keys, then within a known error.

Theory of operation. :class:`LineCounter` cuts bytes into lines, takes a key out of each, and adds them to
:class:`KeyCounts`. Up to the bound of distinct keys, the counts are exact. Beyond it, the table is cut to
its more frequent half: the largest count that is dropped is subtracted from all that stay, and added to the error
bound. This is Misra and Gries's summary, which is equivalent to Space-Saving; as many keys are dropped at a time, a
line costs the same on average (Agarwal and others, "Mergeable Summaries", 2012). Two tables merge
by addition; over all lines the error stays below lines / (bound / 2).

Everything here computes, and belongs in a process of its own where there is much of it. It needs the standard
library alone, except for tallies: executors of Spark have nothing else.
"""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from heapq import nlargest, nsmallest
from typing import Any, Final

__all__ = [
    "LONGEST_KEY",
    "LONGEST_LINE",
    "KeyCounts",
    "Keys",
    "LineCounter",
    "Piece",
    "by_field",
    "by_regex",
    "text_of",
]

LONGEST_LINE: Final = 1 << 20
"""Bytes; a longer line counts as skipped."""
LONGEST_KEY: Final = 1024
"""Bytes; a line with a longer key counts as skipped."""
_USUAL: Final = 64
"""Bytes of a key: longer ones on the average lower the bound, so that memory is bounded, too."""
_PIECE: Final = 1000
"""Keys that are written, or merged, at once: 0.3 ms."""

Keys = Callable[[Sequence[bytes]], list[bytes]]
"""Finds the keys of lines, in order; a line without one has none in the result."""

Piece = tuple[Sequence[int], dict[Any, int]]
"""Of a table: how many lines, skipped lines, error, and distinct keys; and the counts of some keys."""


def by_field(number: int, separator: bytes | None = None) -> Keys:
    """Return what finds the field of this number, from 1; runs of whitespace separate fields, or a separator."""
    at = number - 1

    def keys(lines: Sequence[bytes]) -> list[bytes]:
        try:
            # Nearly all lines of nearly all files have the field, and this takes half the time.
            return [line.split(separator, number)[at] for line in lines if line]
        except IndexError:
            return [parts[at] for line in lines if line and len(parts := line.split(separator, number)) > at]

    return keys


def by_regex(pattern: "re.Pattern[bytes]") -> Keys:
    """Return what finds the first match in a line: its one group, if that took part in the match.

    A compiled pattern of another module, such as google-re2's, does as well.
    """
    search = pattern.search

    def keys(lines: Sequence[bytes]) -> list[bytes]:
        found = (match[1] for line in lines if (match := search(line)) is not None)
        return [key for key in found if key is not None]

    return keys


class KeyCounts:
    """A table of keys, which are bytes or texts, at most ``bound`` of them (at least 2).

    With ``spill`` nothing is cut off: it is called when the table is full, and has to :meth:`take` what is there.
    """

    def __init__(self, bound: int = 1_000_000, spill: Callable[[], None] | None = None) -> None:
        self.lines = 0
        """All that were looked at."""
        self.skipped = 0
        """Those without a key."""
        self.error_bound = 0
        """By how much a count may be too low at most."""
        self._bound = bound
        self._spill = spill
        self._table: Counter[Any] = Counter()
        self._distinct = 0
        """The most distinct keys that there were at a time."""
        self._weighed = 0
        """How many keys there were when their bytes were last added up."""

    def __repr__(self) -> str:
        return f"<KeyCounts {len(self._table)} keys of {self.lines} lines, within {self.error_bound}>"

    def __len__(self) -> int:
        return len(self._table)

    @property
    def exact(self) -> bool:
        """Whether nothing was cut off."""
        return not self.error_bound

    def add(self, keys: Iterable[Any], lines: int) -> None:
        """Count the keys that were found in this many lines."""
        found = list(keys)
        self.lines += lines
        self.skipped += lines - len(found)
        self._table.update(found)
        self._fit()

    def merge(self, other: "KeyCounts") -> None:
        """Add another table, which is not needed any more."""
        for _ in self.merge_pieces(other.pieces_of()):
            pass

    def drain(self) -> Piece:
        """Return all of it as one piece for :meth:`merge_pieces`, and be empty."""
        part, self._table = self._table, Counter()
        head = (self.lines, self.skipped, self.error_bound, max(self._distinct, len(part)))
        self.lines = self.skipped = self.error_bound = self._distinct = self._weighed = 0
        return head, part

    def pieces(self) -> Iterator[bytes]:
        """Return all of it as JSON, some keys at a time, for :meth:`merge_pieces` with :meth:`read`."""
        import orjson

        for head, part in self.pieces_of():
            texts = Counter[str]()
            for key, count in part.items():
                texts[text_of(key)] += count  # what is not UTF-8 may be written like something that is
            yield orjson.dumps([head, texts])

    def pieces_of(self) -> Iterator[Piece]:
        """Return all of it as values, some keys at a time."""
        items = list(self._table.items())
        head = (self.lines, self.skipped, self.error_bound, max(self._distinct, len(items)))
        for at in range(0, max(len(items), 1), _PIECE):
            yield head, dict(items[at : at + _PIECE])
            head = (0, 0, 0, head[3])

    def merge_pieces(self, pieces: Iterable[Piece]) -> Generator[None, None, None]:
        """Add the pieces of another table one by one; the next step need not follow at once."""
        for (lines, skipped, error, distinct), part in pieces:
            self.lines += lines
            self.skipped += skipped
            self.error_bound += error
            self._distinct = max(self._distinct, distinct)
            self._table.update(part)
            self._fit()
            yield

    @staticmethod
    def read(lines: bytes) -> Iterator[Piece]:
        """Read pieces that were written one a line."""
        import orjson

        for line in lines.splitlines():
            head, part = orjson.loads(line)
            yield head, part

    def summary(self, top: int) -> dict[str, Any]:
        """Return the counts in the form of the contract, the most frequent keys first.

        ``keys`` is at least the number of distinct keys that were seen, where that is not exact.
        """
        return {
            "lines": self.lines,
            "skipped": self.skipped,
            "keys": max(self._distinct, len(self._table)),
            "exact": self.exact,
            "error_bound": self.error_bound,
            "top": [{"key": key, "count": count} for key, count in self._top(top)],
        }

    def _top(self, most: int) -> list[tuple[str, int]]:
        """Return the most frequent, by count and then by key; a table of many equal counts is not sorted whole."""
        counts = nlargest(most, self._table.values())
        if not counts:
            return []
        least = counts[-1]
        above = [(text_of(key), count) for key, count in self._table.items() if count > least]
        equal = nsmallest(most - len(above), (text_of(key) for key, count in self._table.items() if count == least))
        above.sort(key=lambda item: (-item[1], item[0]))
        return above + [(key, least) for key in equal]

    def _fit(self) -> None:
        """Cut the table where it has more keys than it may have, or longer ones than usual."""
        if len(self._table) > self._bound:
            self._reduce(self._bound // 2)
        elif len(self._table) - self._weighed > self._bound >> 4:
            self._weighed = len(self._table)
            if sum(map(len, self._table)) > self._bound * _USUAL:
                self._reduce(len(self._table) // 2)

    def _reduce(self, most: int) -> None:
        if self._spill is not None:
            self._spill()
        else:
            self._cut(most)

    def _cut(self, most: int) -> None:
        self._distinct = max(self._distinct, len(self._table))
        table = self._table
        # In place: a second table of this size would be what takes most memory.
        cut = sorted(table.values(), reverse=True)[most]
        for key in [key for key, count in table.items() if count <= cut]:
            del table[key]
        for key in table:
            table[key] -= cut
        self._weighed = len(table)
        self.error_bound += cut


class LineCounter:
    """Counts the keys of lines that come as bytes, cut anywhere."""

    def __init__(self, keys: Keys, counts: KeyCounts) -> None:
        self.counts = counts
        self._keys = keys
        self._rest: list[bytes] = []
        """The line that is not complete."""
        self._held = 0
        self._long = False
        """Whether it is too long already, and the rest of it is dropped."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes; a mebibyte at a time is right."""
        data = bytes(data)
        end = data.rfind(b"\n")
        if end < 0:
            self._hold(data)
            return
        first = data.find(b"\n")
        self._hold(data[:first])
        self.finish(whole=True)
        self._count(data[first + 1 : end + 1])
        self._hold(data[end + 1 :])

    def finish(self, *, whole: bool = False) -> None:
        """Count the last line, which may lack its end."""
        if self._long:
            self.counts.add((), 1)
        elif self._held or whole:
            self._count(b"".join(self._rest) + b"\n")
        self._rest, self._held, self._long = [], 0, False

    def _hold(self, data: bytes) -> None:
        if not data or self._long:
            return
        self._rest.append(data)
        self._held += len(data)
        if self._held > LONGEST_LINE:
            self._long, self._rest = True, []

    def _count(self, data: bytes) -> None:
        """Count whole lines."""
        if b"\r" in data:  # a single byte is found many times as fast as two
            data = data.replace(b"\r\n", b"\n")
        lines = data.split(b"\n")
        lines.pop()
        found = self._keys(lines)
        if max(map(len, found), default=0) > LONGEST_KEY:
            found = [key for key in found if len(key) <= LONGEST_KEY]
        self.counts.add(found, len(lines))


def text_of(key: Any) -> str:
    """Return a key as it is shown: what is not UTF-8 is escaped."""
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key
