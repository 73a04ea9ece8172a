"""What the stages of a pipeline have done, over all of its runs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from service.core.histogram import Histogram

__all__ = ["PipelineFigures", "StageFigures", "StageStatistics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


@dataclass(slots=True)
class StageFigures:
    """Of one stage."""

    running: int = 0
    """Items that are in it now, or wait for a thread or a process of it."""
    outcomes: Counter[str] = field(default_factory=lambda: Counter(ok=0, failed=0))
    seconds: Histogram = field(default_factory=lambda: Histogram(_SECONDS))
    """How long each item was in it."""


@dataclass(slots=True)
class PipelineFigures:
    """Of one pipeline."""

    stages: dict[str, StageFigures]
    dropped: int = 0
    """Items that were dropped at the entrance."""
    cut: int = 0
    """Clients that took none of their outputs."""


@dataclass(frozen=True, slots=True)
class StageStatistics:
    """A snapshot of one stage."""

    waiting: int
    figures: StageFigures
