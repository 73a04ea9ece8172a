"""What the executors of a cluster do: count one part of a file, and merge and rank what all parts have.

It needs the standard library alone, and so does what it imports: executors have nothing else of ours.
"""

import os
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import Final, NamedTuple

from service.work.counting import KeyCounts, Keys, LineCounter, text_of
from service.work.file_counts.decoding import Unreadable
from service.work.file_counts.reading import pieces_of
from service.work.line_keys import LineKeys
from service.work.patterns import has_re2

__all__ = ["MODULES", "TABLE", "FilePart", "KeyRanking", "count_part", "rank"]

MODULES: Final = (
    "__init__", "work/__init__", "work/counting", "work/line_keys", "work/patterns", "work/file_counts/__init__",
    "work/file_counts/decoding", "work/file_counts/partitions", "work/file_counts/reading",
)  # fmt: skip
"""Below ``service``: what executors are sent."""
TABLE: Final = 150_000
"""Keys of a table that is passed on when it is full: 20 MiB."""
_KEY, _LINES, _SKIPPED, _FAILED = b"k", b"l", b"s", b"f"
"""How what is counted begins: keys, and the figures beside them."""


class FilePart(NamedTuple):
    """A part of a file that every executor can open; without an end, all of it."""

    path: str
    start: int
    end: int | None


class KeyRanking(NamedTuple):
    """What a share of all keys has; those of shares that have no key in common add up."""

    lines: int
    skipped: int
    keys: int
    top: list[tuple[int, str]]
    """The most frequent first: counts below zero, so that it is sorted, and texts."""
    failed: dict[str, str]
    """Why files were not read to their end, by their paths."""


def count_part(part: FilePart, keys: LineKeys, re2: bool) -> Iterator[tuple[bytes, int]]:
    """Yield how often each key comes in a part, some keys several times; ``re2`` says what patterns mean."""
    pending: list[tuple[bytes, int]] = []
    counts = KeyCounts(TABLE, spill=lambda: pending.extend(_drained(counts)))
    failed = ""
    try:
        counter = LineCounter(_finder(keys, re2), counts)
        descriptor = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for data in pieces_of(descriptor, part.start, part.end, lambda size: None):
                counter.feed(data)
                yield from pending
                pending.clear()
            counter.finish()
        finally:
            os.close(descriptor)
    except Unreadable as error:
        failed = str(error)
    except OSError as error:
        failed = error.strerror or str(error)
    yield from pending
    yield from _drained(counts)
    if failed:
        yield _FAILED + os.fsencode(f"{part.path}\n{failed}"), 1


def _finder(keys: LineKeys, re2: bool) -> Keys:
    if keys.regex is not None and has_re2() != re2:
        ours = "has google-re2, and this machine does not" if has_re2() else "does not have google-re2"
        raise Unreadable(f"was not read: a machine of the cluster {ours}, so that patterns could differ")
    return keys.finder()


def _drained(counts: KeyCounts) -> Iterator[tuple[bytes, int]]:
    (lines, skipped, _, _), part = counts.drain()
    yield _LINES, lines
    yield _SKIPPED, skipped
    for key, count in part.items():
        yield _KEY + key, count


def rank(counted: Iterable[tuple[bytes, int]], top: int) -> Iterator[KeyRanking]:
    """Yield the ranking of what was counted; each key comes once."""
    figures = {_LINES: 0, _SKIPPED: 0, _KEY: 0}
    failed: dict[str, str] = {}

    def keys() -> Iterator[tuple[int, str]]:
        for name, count in counted:
            if name[:1] == _KEY:
                figures[_KEY] += 1
                yield -count, text_of(name[1:])
            elif name[:1] == _FAILED:
                path, _, why = os.fsdecode(name[1:]).rpartition("\n")
                failed[path] = why
            else:
                figures[name] += count

    best = nsmallest(top, keys())
    yield KeyRanking(figures[_LINES], figures[_SKIPPED], figures[_KEY], best, failed)
