"""What the careful client has seen in some time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

from bench.tenants.verdict import Times, bound

__all__ = ["Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Times in milliseconds by what was done; what went wrong how often; what was for nobody else."""

    took: dict[str, list[float]]
    wrong: dict[str, int]
    serials: frozenset[str]

    @classmethod
    def of(cls, reported: dict[str, Any]) -> Self:
        """Return what the client printed."""
        took = {name: sorted(values) for name, values in reported["took"].items()}
        return cls(took, reported["wrong"], frozenset(reported["serials"]))

    @classmethod
    def joined(cls, several: Iterable[Self]) -> Self:
        """Return what was seen in several times, as if it had been one."""
        took: dict[str, list[float]] = {}
        wrong: Counter[str] = Counter()
        serials: set[str] = set()
        for one in several:
            wrong.update(one.wrong)
            serials |= one.serials
            for name, values in one.took.items():
                took[name] = sorted(took.get(name, []) + values)
        return cls(took, wrong, frozenset(serials))

    def as_before(self, usual: Times) -> bool:
        """Return whether nothing went wrong, none is missing, and each p99 within the bound of the usual one."""
        times = self.summary()
        return not self.wrong and all(
            name in times and times[name][1] <= bound(p99) for name, (_, p99) in usual.items()
        )

    def summary(self) -> Times:
        """Return p50 and p99 of each, by nearest rank."""
        return {
            name: (values[ceil(len(values) * 0.5) - 1], values[ceil(len(values) * 0.99) - 1])
            for name, values in self.took.items()
        }
