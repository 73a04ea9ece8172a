"""What the careful client has seen in some time."""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Self

__all__ = ["Seen"]

_NOISE_MS: Final = 5.0
"""By which a p99 may differ before its factor counts: below that the machine decides."""


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

    def within(self, before: Self, factor: float, more: float = _NOISE_MS) -> bool:
        """Return whether each p99 is at most so many times what it was, and so much more; and none is missing."""
        times = self.summary()
        return all(
            name in times and times[name][1] <= p99 * factor + more for name, (_, p99) in before.summary().items()
        )

    def summary(self) -> dict[str, tuple[float, float]]:
        """Return p50 and p99 of each, by nearest rank."""
        return {
            name: (values[ceil(len(values) * 0.5) - 1], values[ceil(len(values) * 0.99) - 1])
            for name, values in self.took.items()
        }
