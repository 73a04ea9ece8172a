"""What the stages of pipelines are doing, for the topic ``_stats``."""

from collections.abc import Callable, Iterator
from typing import Any

from service.work.pipelines.figures import StageStatistics
from service.work.pipelines.pipelines import Pipelines

__all__ = ["StageRates"]


class StageRates:
    """Looks at all stages about once a second; rates are those since the look before."""

    def __init__(self, pipelines: Pipelines, clock: Callable[[], float]) -> None:
        self._pipelines = pipelines
        self._clock = clock
        self._at = 0.0
        self._before: dict[tuple[str, str], tuple[int, float]] = {}
        """Of each stage, how many items it had had, and for how many seconds."""

    def forget(self) -> None:
        """Drop what the next look would be compared with: it is too old."""
        self._before = {}

    def document(self) -> list[dict[str, Any]]:
        """Return the stages of all pipelines that have clients."""
        now = self._clock()
        passed, self._at = now - self._at, now
        before, self._before = self._before, {}
        return [
            self._line(key, found, before.get(key), passed)
            for name, pipeline in self._pipelines.declared.items()
            if pipeline.runs
            for key, found in _keyed(name, pipeline.statistics())
        ]

    def _line(
        self, key: tuple[str, str], found: StageStatistics, before: tuple[int, float] | None, passed: float
    ) -> dict[str, Any]:
        figures = found.figures
        counts = self._before[key] = sum(figures.outcomes.values()), figures.seconds.sum
        items, seconds = (counts[0] - before[0], counts[1] - before[1]) if before else (0, 0.0)
        return {
            "pipeline": key[0],
            "stage": key[1],
            "waiting": found.waiting,
            "running": figures.running,
            "per_second": round(items / passed, 1) if items else 0.0,
            "ms": round(1000 * seconds / items, 1) if items else None,
        }


def _keyed(name: str, stages: dict[str, StageStatistics]) -> Iterator[tuple[tuple[str, str], StageStatistics]]:
    for stage, found in stages.items():
        yield (name, stage), found
