"""What a trial is, and the outcome of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Outcome", "Scene", "Trial", "Window", "words"]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and how large: a trial listens on ``port`` and the nine ports after it."""

    port: int = 18800
    scale: float = 1.0

    def many(self, full: int, least: int = 1) -> int:
        """Return a count at this scale."""
        return max(least, round(full * self.scale))

    def seconds(self, full: float, least: float = 3.0) -> float:
        """Return a duration at this scale."""
        return max(least, full * self.scale)


@dataclass(frozen=True, slots=True)
class Window:
    """What the control group received between two looks; milliseconds from the intended time of each message."""

    received: int
    repeated: int
    p50: float
    p99: float
    worst: float


@dataclass
class Outcome:
    """One row of the table."""

    load: str
    """What was held, in words with numbers."""
    checks: dict[str, bool]
    """Rules, and whether they held."""
    figures: dict[str, Any] = field(default_factory=dict)
    stock: str = ""
    """What a plain aiohttp server did in the same trial, where that was tried."""
    control: tuple[Window, Window, Window] | None = None
    """Before, during and after."""
    lost: int = 0
    """Messages that the control group should have had and has not, and those it got twice."""
    recovered: float | None = None
    """Seconds until descriptors, memory and latency were back, or None."""
    more_resident_mib: float = 0.0
    more_kernel_mib: float = 0.0
    lag_ms: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every rule held."""
        return all(self.checks.values())


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault: its number in docs/reliability.md, its name for ``--only``, and what tries it."""

    number: int
    name: str
    rule: str
    """What has to hold, for the table."""
    run: Callable[[Scene], Outcome]


def words(counts: Mapping[Any, int]) -> str:
    """Return counts as a cell of the table has them."""
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
