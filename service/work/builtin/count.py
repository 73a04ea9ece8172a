"""``count``: how often each key comes in the lines of a body; the results of a batch are merged."""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Annotated, Any, Final

import msgspec

from service.work.counting import Counts, LineCounter, by_field, by_regex
from service.work.step import Body, Made, PlannedStep, step

__all__ = ["KEYS", "Count", "compile_pattern", "count", "summary_of", "top_of"]

KEYS: Final = 50_000
"""Distinct keys up to which the counts of a body, and those of a batch, are exact."""
_PIECE: Final = 1 << 20


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
    """Return how many lines and distinct keys there are; the counts of the keys are the tally."""
    separator = parameters.separator
    if parameters.regex is None:
        keys = by_field(parameters.field or 1, separator.encode() if separator is not None else None)
    else:
        keys = by_regex(compile_pattern(parameters.regex))
    counter = LineCounter(keys, Counts(KEYS))
    for at in range(0, len(body.data), _PIECE):
        counter.feed(body.data[at : at + _PIECE])
    counter.finish()
    counted = counter.counts.summary(1)
    return Made({"lines": counted["lines"], "keys": counted["keys"]}, tally=b"\n".join(counter.counts.pieces()))


def top_of(steps: Iterable[PlannedStep]) -> int:
    """Return how many keys are listed of what a list of steps has counted."""
    return next((one.parameters.top for one in steps if isinstance(one.parameters, Count)), Count(field=1).top)


def summary_of(steps: Iterable[PlannedStep], tally: bytes) -> dict[str, Any]:
    """Return what was counted in one body."""
    counts = Counts(KEYS)
    for _ in counts.merge_pieces(Counts.read(tally)):
        pass
    return counts.summary(top_of(steps))


@lru_cache(maxsize=64)
def compile_pattern(text: str) -> Any:
    """Return a pattern that matches bytes in linear time where the extra ``count`` is installed, or else Python's.

    Raises ValueError, for the client, where it does not compile or has not exactly one group.
    """
    pattern = _linear(text) if find_spec("re2") is not None else _backtracking(text)
    if pattern.groups != 1:
        raise ValueError(f"regex: has {pattern.groups} groups, and needs exactly one")
    return pattern


def _linear(text: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors, options.encoding = False, re2.Options.Encoding.LATIN1
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(f"regex: {error.args[0].decode('utf-8', 'replace')}") from None


def _backtracking(text: str) -> "re.Pattern[bytes]":
    try:
        return re.compile(text.encode())
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regex: {error}") from None
