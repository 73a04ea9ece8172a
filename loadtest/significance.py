"""How likely a difference is by chance: the exact Mann-Whitney test, and Holm's correction for many of them."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

__all__ = ["fewest_rounds", "holm", "likely", "ranked"]

_WAYS = 200_000


def ranked(values: Sequence[float]) -> tuple[float, ...]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    order = sorted(values)
    first = {value: order.index(value) for value in set(order)}
    times = Counter(order)
    return tuple(first[value] + (times[value] + 1) / 2 for value in values)


def likely(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the two-sided p-value of the exact Mann-Whitney test (the normal approximation for many rounds)."""
    ranks = ranked((*before, *after))
    size, total = len(before), len(ranks)
    mean = size * (total + 1) / 2
    seen = abs(sum(ranks[:size]) - mean)
    if math.comb(total, size) > _WAYS:
        ties = sum(times**3 - times for times in Counter(ranks).values())
        variance = size * (total - size) / 12 * ((total + 1) - ties / (total * (total - 1)))
        return math.erfc(max(seen - 0.5, 0.0) / math.sqrt(variance) / math.sqrt(2)) if variance > 0 else 1.0
    ways = [abs(sum(some) - mean) >= seen - 1e-9 for some in combinations(ranks, size)]
    return sum(ways) / len(ways)


def holm(chances: Sequence[float], families: Sequence[object]) -> list[float]:
    """Return the p-values corrected for their number (Holm, 1979); those of one family are one question.

    Figures whose rounds are in the same order have the same answer in every comparison, so they count once.
    """
    least: dict[object, float] = {}
    for chance, family in zip(chances, families, strict=True):
        least[family] = min(chance, least.get(family, 1.0))
    corrected, highest = {}, 0.0
    for place, family in enumerate(sorted(least, key=least.__getitem__)):
        highest = max(highest, min(1.0, least[family] * (len(least) - place)))
        corrected[family] = highest
    return [max(chance, corrected[family]) for chance, family in zip(chances, families, strict=True)]


def fewest_rounds(questions: int, certain: float) -> int:
    """Return how many rounds a side need, so that a difference can be certain among so many questions."""
    rounds = 2
    while 2 / math.comb(2 * rounds, rounds) * questions >= certain:
        rounds += 1
    return rounds
