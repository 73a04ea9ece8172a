"""The figures of overload, and of what is done about it."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.metrics.families import Counter, Gauge
from service.pressure import Pressure

__all__ = ["LoadFigures"]


class LoadFigures(Collector):
    """How much is too much, and whom that cost what."""

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        level = "What is done about overload: 0 nothing, 1 fetches slowed, 2 connections refused, 3 readers shed."
        yield Gauge("sluice_overload_level", level, self._pressure.level)
        yield Counter("sluice_shed", "Readers that were cut because of overload.", self._pressure.shed)
