"""``count``: how often each key comes in the lines of a body; the results of a batch are merged."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec

from service.work.counting import KeyCounts, LineCounter
from service.work.file_counts.decoding import PIECE, Unreadable, decoded
from service.work.line_keys import LineKeys
from service.work.patterns import compile_pattern
from service.work.step import Body, Made, PlannedStep, StepFailed, step

__all__ = ["KEYS", "Count", "count", "summary_of", "top_of"]

KEYS: Final = 50_000
"""Distinct keys up to which the counts of a body, and those of a batch, are exact."""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a line's key is: exactly one of ``field`` and ``regex``."""

    field: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """From 1; ``separator`` is between two fields, or any run of whitespace."""
    regex: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None
    """With one group, which is the key."""
    top: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    separator: Annotated[str, msgspec.Meta(min_length=1, max_length=16)] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError, which clients see, for what does not fit."""
        if (self.field is None) == (self.regex is None):
            raise ValueError("give one of field and regex")
        if self.separator is not None and self.regex is not None:
            raise ValueError("separator: goes with field alone")
        if self.separator is not None and ("\n" in self.separator or "\r" in self.separator):
            raise ValueError("separator: a line break ends the line")
        if self.regex is not None:
            compile_pattern(self.regex)


@step("count", Count, runs="process", merges=True)
def count(body: Body, parameters: Count) -> Made:
    """Return how many lines and distinct keys there are; the counts of the keys are the tally.

    A gzip or zstd body is decompressed, as ``sluice count`` does with files.
    """
    separator = parameters.separator.encode() if parameters.separator is not None else None
    keys = LineKeys(parameters.field, parameters.regex, separator)
    counter = LineCounter(keys.finder(), KeyCounts(KEYS))
    try:
        for piece in decoded(_reader(body.data)):
            counter.feed(piece)
    except Unreadable as error:
        raise StepFailed(f"the body {error.why}") from None
    counter.finish()
    counted = counter.counts.summary(1)
    return Made({"lines": counted["lines"], "keys": counted["keys"]}, tally=b"\n".join(counter.counts.pieces()))


def _reader(data: memoryview | bytes) -> Callable[[], bytes]:
    """Return a function that reads a body piece by piece, and returns nothing at its end."""
    pieces = (bytes(data[at : at + PIECE]) for at in range(0, len(data), PIECE))
    return lambda: next(pieces, b"")


def top_of(steps: Iterable[PlannedStep]) -> int:
    """Return how many keys are listed of what a list of steps has counted."""
    return next((one.parameters.top for one in steps if isinstance(one.parameters, Count)), Count(field=1).top)


def summary_of(steps: Iterable[PlannedStep], tally: bytes) -> dict[str, Any]:
    """Return what was counted in one body."""
    counts = KeyCounts(KEYS)
    for _ in counts.merge_pieces(KeyCounts.read(tally)):
        pass
    return counts.summary(top_of(steps))
