"""The order of tests for several workers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["dealt"]

_Item = TypeVar("_Item")


def dealt(items: Sequence[_Item], seconds: Callable[[_Item], float], workers: int) -> list[_Item]:
    """Return the items in one piece for each worker, which begins with its share of the longest.

    xdist gives each worker such a piece, and has those that are done take from the ends of the others' pieces.
    Items of 0 seconds stay in their order: those of one module share what they have made.
    """
    long = sorted(filter(seconds, items), key=seconds, reverse=True)
    others = [item for item in items if not seconds(item)]
    order: list[_Item] = []
    for number in range(workers):
        share = long[number::workers]
        # As xdist divides: a long test at the end of another piece would be the last to run.
        size = (len(items) - len(order)) // (workers - number)
        rest = max(0, size - len(share))
        order += [*share, *others[:rest]]
        del others[:rest]
    return order
